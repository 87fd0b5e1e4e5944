"""Times as people write them in the address of a page: how long ago, or when."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from quarterdeck.clock import iso
from quarterdeck.spec.quantities import moment as epoch
from quarterdeck.web.inner import Refused

HINT: Final = "write for example 10m for ten minutes ago, or 2026-11-28T18:00 (UTC)"
_DATE: Final = len("2026-11-28")


def moment(text: str, now: float) -> str | None:
    """The ISO time of `10m` (that long before `now`, epoch seconds) or of an ISO 8601 time, UTC where it names no zone; None for no text.

    Raises Refused for anything else.
    """
    if not text:
        return None
    try:
        return iso(epoch(text, now))
    except (ValueError, OverflowError) as error:
        raise Refused(400, f"{text[:64]!r} is no time", HINT) from error


def spelt(text: str) -> str:
    """The same for `qd`, where a time without a zone is one of the reader's machine: what is meant as UTC says so."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if at.tzinfo else f"{text}Z" if len(text) > _DATE else f"{text}T00:00Z"
