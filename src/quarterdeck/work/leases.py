"""Who may work on which task, and until when: the ledger's memory, on the monotonic clock. Pure.

Nothing is kept on disk: the fence in the database is what stops a holder whose time is over. A ledger that starts grants everybody a full
term, so that nobody suffers from its absence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.model.work import Holder, Target

TERM: Final = 15.0
"""Seconds without a renewal after which a task is taken from its holder."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`until` is monotonic seconds."""

    task: str
    fence: int
    holder: Holder
    until: float


@dataclass(slots=True)
class Leases:
    """Times are monotonic seconds."""

    term: float = TERM
    _by_task: dict[str, Lease] = field(default_factory=dict)
    _of: dict[Holder, set[str]] = field(default_factory=dict)

    def grant(self, task: str, fence: int, holder: Holder, now: float) -> None:
        """A full term; an older fence never replaces a newer one."""
        known = self._by_task.get(task)
        if known is None or known.fence <= fence:
            self._put(Lease(task, fence, holder, now + self.term))

    def renew(self, holder: Holder, held: Iterable[tuple[str, int]], now: float) -> frozenset[str]:
        """Give those a full term again; the tasks that are not this holder's under that fence."""
        lost = set()
        for task, fence in held:
            lease = self._by_task.get(task)
            if lease is not None and (lease.fence, lease.holder) == (fence, holder):
                self._put(Lease(task, fence, holder, now + self.term))
            else:
                lost.add(task)
        return frozenset(lost)

    def drop(self, task: str) -> None:
        """Nobody works on it any more."""
        lease = self._by_task.pop(task, None)
        if lease is not None:
            self._of[lease.holder].discard(task)
            if not self._of[lease.holder]:
                del self._of[lease.holder]

    def get(self, task: str) -> Lease | None:
        """Who works on it."""
        return self._by_task.get(task)

    def of(self, holder: Holder) -> tuple[Lease, ...]:
        """What one holder works on."""
        return tuple(self._by_task[task] for task in sorted(self._of.get(holder, ())))

    def before(self, holder: Holder) -> tuple[Holder, ...]:
        """Earlier incarnations of a replica that hold something."""
        return tuple(o for o in self._of if (o.system, o.replica) == (holder.system, holder.replica) and o.incarnation < holder.incarnation)

    def at(self, target: Target) -> tuple[str, ...]:
        """The tasks that the replicas of an agent work on."""
        return tuple(task for holder, held in self._of.items() if holder.target == target for task in sorted(held))

    def over(self, now: float) -> tuple[Lease, ...]:
        """Those whose term is over."""
        return tuple(lease for lease in self._by_task.values() if lease.until <= now)

    def _put(self, lease: Lease) -> None:
        known = self._by_task.get(lease.task)
        if known is not None and known.holder != lease.holder:
            self.drop(lease.task)
        self._by_task[lease.task] = lease
        self._of.setdefault(lease.holder, set()).add(lease.task)

    def __len__(self) -> int:
        return len(self._by_task)
