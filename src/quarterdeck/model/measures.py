"""How long things took, in buckets that are the same everywhere, so that counts of many processes can be added up."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

MILLISECONDS: Final = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0)
"""Upper bounds, each included; whatever took longer is in one bucket more."""
BUCKETS: Final = len(MILLISECONDS) + 1
KINDS: Final = ("ask", "tell", "publish", "task")
"""What a message is to its receiver."""


@dataclass(slots=True)
class Histogram:
    """`counts` by bucket, not yet added up; `micros` is the sum of all in whole microseconds, so that a JSON number carries it exactly."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    micros: int = 0

    def add(self, milliseconds: float) -> None:
        """One more. Clocks that were set back in between make nothing negative."""
        taken = max(milliseconds, 0.0)
        self.counts[bisect_left(MILLISECONDS, taken)] += 1
        self.micros += round(taken * 1000)

    def grow(self, counts: tuple[int, ...], micros: int) -> None:
        """Add what somebody else counted."""
        self.counts = [old + more for old, more in zip(self.counts, counts, strict=True)]
        self.micros += micros


@dataclass(frozen=True, slots=True)
class Delivered:
    """Messages of one kind from one cluster to another: how long each was on its way, see `Histogram`."""

    source: str
    destination: str
    kind: str
    counts: tuple[int, ...]
    micros: int
