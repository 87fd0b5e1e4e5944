"""The only door to time and randomness of the host.

Everything else takes a `Clock` (or plain numbers) as an argument, so that tests run on a virtual clock.
The lint forbids `time.time`, `datetime.now` and friends outside this file and the node's own loop.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for display and expiry dates, monotonic time for leases and timeouts; both in seconds."""

    def now(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()


@dataclass(slots=True)
class VirtualClock:
    """A clock that moves only when told to."""

    wall: float = 1_700_000_000.0
    steady: float = field(default=0.0)

    def now(self) -> float:
        """The wall time set so far, in seconds since the Unix epoch."""
        return self.wall

    def monotonic(self) -> float:
        """The steady time set so far, in seconds."""
        return self.steady

    def advance(self, seconds: float) -> None:
        """Move both times forward."""
        self.wall += seconds
        self.steady += seconds


def iso(at: float) -> str:
    """RFC 3339 text in UTC with milliseconds, e.g. `2026-11-24T16:12:01.250Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
