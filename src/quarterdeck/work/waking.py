"""Who is to be told that there is something to do: agents with work in the queue, replicas that wait for some. Memory only.

It may be wrong in either direction: a word too many costs a look, and one that was missed is made up for by the next sweep. Times are
monotonic seconds.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Protocol

from quarterdeck.model.work import Holder, Target

STALE: Final = 1.0
"""Seconds after which an agent with tasks in the queue and nobody known to be idle is woken as a whole."""


class Tell(Protocol):
    """Says "talk to the ledger now" to a replica (`n` given) or to any one of an agent; a word may be lost."""

    def __call__(self, target: Target, n: int | None) -> None:  # noqa: D102
        ...


@dataclass(slots=True)
class Waking:
    """`hungry`: agents with something to claim, and since when nobody came for it."""

    tell: Tell
    hungry: dict[Target, float] = field(default_factory=dict)
    _queued: Counter[Target] = field(default_factory=Counter)
    _idle: dict[Target, dict[int, Holder]] = field(default_factory=dict)
    _later: list[tuple[float, int, Target]] = field(default_factory=list)
    _count: int = 0

    def queue(self, target: Target, now: float, wait: float = 0.0) -> None:
        """Something of an agent may be claimed, now or after so many seconds: one that is idle is told."""
        if wait > 0:
            self._count += 1
            heapq.heappush(self._later, (now + wait, self._count, target))
            return
        self._queued[target] += 1
        self.hungry.setdefault(target, now)
        idle = self._idle.get(target)
        if idle:
            self.tell(target, idle.popitem()[0])

    def mark(self, target: Target) -> int:
        """To be taken before a claim, for `empty`."""
        return self._queued[target]

    def empty(self, target: Target, mark: int) -> None:
        """A claim found nothing more; what was queued since `mark` it may not have seen."""
        if self._queued[target] == mark:
            self.hungry.pop(target, None)
            del self._queued[target]

    def idle(self, holder: Holder, free: int) -> None:
        """A replica has so many places for which there was nothing."""
        if free > 0:
            self._idle.setdefault(holder.target, {})[holder.n] = holder
        else:
            self._idle.get(holder.target, {}).pop(holder.n, None)

    def ready(self, holder: Holder) -> None:
        """A replica began to answer."""
        self.idle(holder, 1)
        if holder.target in self.hungry:
            self.tell(holder.target, holder.n)

    def gone(self, holder: Holder) -> None:
        """A replica has ended; its successor may be known already."""
        idle = self._idle.get(holder.target, {})
        if idle.get(holder.n) == holder:
            del idle[holder.n]

    def sweep(self, now: float) -> None:
        """What time brings."""
        while self._later and self._later[0][0] <= now:
            self.queue(heapq.heappop(self._later)[2], now)
        for target, since in list(self.hungry.items()):
            if now - since >= STALE:
                self.hungry[target] = now
                self.tell(target, None)
