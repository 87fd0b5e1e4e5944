"""Times as people write them on a command line: `90s`, `2h`, `18:00`, `2026-11-24T18:00`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from quarterdeck.cli.usage import UsageError

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
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
    """Epoch seconds of a duration from now, of the next `18:00` here, or of an ISO 8601 time. Raises UsageError."""
    if _DURATION.fullmatch(text):
        return now + duration(text)
    here = datetime.fromtimestamp(now).astimezone()
    clock = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
    try:
        if clock:
            then = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            return (then if then > here else then + timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as error:
        raise UsageError(f"{text!r} is no time", hint="write for example 2h, 18:00 or 2026-11-24T18:00") from error
