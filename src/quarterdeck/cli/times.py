"""Times as people write them on a command line: `90s`, `2h`, `18:00`, `2026-11-24T18:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from quarterdeck.cli.usage import UsageError

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?: ?(UTC|Z))?")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def duration(text: str) -> float:
    """Seconds of `250ms`, `90s`, `1h30m`; a bare number is seconds. Raises UsageError."""
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise UsageError(f"{text!r} is no duration", hint="write for example 90s, 10m or 2h")
    return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text))


def lasting(text: str) -> float:
    """Seconds of a time for which somebody waits. Raises UsageError for none at all."""
    seconds = duration(text)
    if seconds <= 0:
        raise UsageError(f"{text!r} is no time to wait", hint="write for example 10s or 2m")
    return seconds


def instant(text: str, now: float) -> float:
    """Epoch seconds of a duration from now, of the next `18:00` here, or of a date and time (ISO 8601). Raises UsageError.

    What names no zone is meant in that of this machine, as all times are printed; what a control plane says of a time has `UTC` behind it.
    """
    if _DURATION.fullmatch(text):
        return now + duration(text)
    return _told(text, now, following=True)


def past(text: str, now: float) -> float:
    """Epoch seconds of a duration before now, of the last `18:00` here, or of a date and time; zones as above. Raises UsageError."""
    if _DURATION.fullmatch(text):
        return max(0.0, now - duration(text))
    return max(0.0, _told(text, now, following=False))


def _told(text: str, now: float, *, following: bool) -> float:
    try:
        if clock := _CLOCK.fullmatch(text):
            here = datetime.fromtimestamp(now, UTC if clock[3] else None)  # without a zone, so that a day later is the same hour
            then = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            day = timedelta(days=1)
            return (then if (then > here) is following else then + day if following else then - day).timestamp()
        return datetime.fromisoformat(re.sub(r" ?UTC$", "+00:00", text)).astimezone().timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no time", hint="write for example 2h, 18:00 or 2026-11-24T18:00") from error
