"""How long one more order would wait for its turn, judged by how fast those before it had theirs (Little's law). Pure.

A line is what waits for one agent at one priority, where tenants take turns (store/fairness.py). Only what came in through the doors is in
it: whatever else the agent is given shows in how slowly the line moves. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

FEW: Final = 16
"""Turns that a line is believed to have had at least: its first ones come late, when somebody has been told that there is work."""
KEPT: Final = 128
"""Newest turns by which the pace is judged; what is slow is judged over a long time, and what is fast over a short one."""


@dataclass(slots=True)
class Line:
    """`waiting` counts by tenant. It knows nothing of the time before nobody waited: a line that empties now and then is no overload."""

    waiting: Counter[str] = field(default_factory=Counter)
    _turns: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT + 1))
    """When the newest turns were had, before them the moment from which on they are counted."""

    def join(self, tenant: str, now: float) -> None:
        """One more waits."""
        if not self.waiting:
            self._turns.clear()
            self._turns.append(now)
        self.waiting[tenant] += 1

    def leave(self, tenant: str, begun: float | None = None) -> None:
        """One waits no more; `begun`: since when it is worked on, if it is."""
        self.waiting[tenant] -= 1
        if self.waiting[tenant] <= 0:
            del self.waiting[tenant]
        if begun is not None:
            self._turns.append(begun)

    def wait(self, tenant: str, now: float) -> float:
        """Seconds that one more of a tenant would wait."""
        if not self.waiting:
            return 0.0
        turns = self.waiting[tenant] + 1
        ahead = sum(min(count, turns) for count in self.waiting.values())
        return ahead * (now - self._turns[0]) / max(len(self._turns) - 1, FEW)
