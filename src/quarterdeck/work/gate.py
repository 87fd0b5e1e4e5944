"""The gate in front of submission: what is let in is finished in time, whatever is offered; the rest is told when to come again.

A tenant has a token bucket, a system a bound of tasks that have not ended, retries a budget. A key that is known already always passes: its
task exists, and costs nothing more. Nothing of a refused order is stored.

The adaptive limit and the CoDel queue of `admission` have no place here: submissions that wait are written a thousand at once, so their
latency says nothing about how many should be let in, and none waits behind another. What can pile up is work: it is bounded by number, and
for who gives a deadline by time, because what is begun too late takes the place of what could still be done.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.clock import Clock
from quarterdeck.model.desired import Intake
from quarterdeck.model.work import Order, Overloaded, Submitted
from quarterdeck.store.fairness import Line as Place
from quarterdeck.store.turn import Turn
from quarterdeck.work.admission import Admission, Quota
from quarterdeck.work.gathering import Gathering
from quarterdeck.work.lines import Line

KEYS_AT_ONCE: Final = 500
"""Keys of refused orders that are looked for at once: in a storm, one look each would cost more than the refusal."""
MOST_EARLY: Final = 1000
"""Tasks that may have been begun before we hear that they were written."""
COUNT_EVERY: Final = 10.0
"""Seconds after which the unfinished tasks are counted anew; in between every turn says what it made and ended."""
FULL_FOR: Final = 1.0
"""Seconds after which a place may be free again."""
WAITED: Final = 0.5
"""The part of the time until its deadline that an order may wait for its turn: the rest is for the work, and for being wrong."""


@dataclass(slots=True)
class _Open:
    """Unfinished tasks of a system, as far as we have heard; `coming` were let in and are not written yet."""

    known: int = 0
    coming: int = 0
    counted: float | None = None


@dataclass(slots=True)
class Gate:
    """One for a control plane, on the doors' loop. `count` counts the unfinished tasks of a system in the store, `knows` finds keys there.

    `refused` counts refusals by reason: rate, retries, full, deadline, wait, door.
    """

    clock: Clock
    intake: Callable[[str], Intake]
    count: Callable[[str], int]
    knows: Callable[[str, Sequence[str]], AbstractSet[str]]
    refused: Counter[str] = field(default_factory=Counter)
    _doors: dict[str, Admission] = field(default_factory=dict)
    _open: dict[str, _Open] = field(default_factory=dict)
    _lines: dict[Place, Line] = field(default_factory=dict)
    """Only those in which somebody waits."""
    _waiting: dict[str, tuple[Place, str]] = field(default_factory=dict)
    """Where, and of which tenant, each task waits."""
    _begun: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """The newest tasks that wait no more and were not known to wait: that word may be here before the one that they were written."""
    _known: Gathering[tuple[str, str], bool] = field(init=False)

    def __post_init__(self) -> None:
        async def look(keys: Sequence[tuple[str, str]]) -> Sequence[bool]:
            known = {
                (system, key)
                for system in {system for system, _ in keys}
                for key in await asyncio.to_thread(self.knows, system, [key for of, key in keys if of == system])
            }
            return [one in known for one in keys]

        self._known = Gathering(look, KEYS_AT_ONCE)

    async def admit(self, order: Order, tenant: str, *, retry: bool = False) -> Order | Overloaded:
        """The order, or why it has to come again. Say `written` of one that passed, whatever became of it."""
        system = order.target.system
        await self._counted(system)
        refusal = self.late(order) or self._in_vain(order) or self._refusal(system, tenant, retry=retry)
        if refusal is not None and (order.key is None or not (await self._known.ask([(system, order.key)]))[0]):
            self.refused[refusal[0]] += 1
            return refusal[1]
        self._open[system].coming += 1
        if _in_line(order):
            self._lines.setdefault(_place(order), Line()).join(order.tenant, self.clock.monotonic())
        return order

    def written(self, order: Order, made: object) -> None:
        """An order that passed is on disk, or refused elsewhere."""
        self._open[order.target.system].coming -= 1
        if not _in_line(order):
            return
        if isinstance(made, Submitted) and made.created and made.task.id not in self._begun:
            self._waiting[made.task.id] = _place(order), order.tenant
        else:
            self._left(_place(order), order.tenant, None)

    def late(self, order: Order) -> tuple[str, Overloaded] | None:
        """Whether nobody waits for it any more."""
        if order.deadline is None or order.deadline > self.clock.now():
            return None
        return "deadline", Overloaded("its deadline has passed, nobody waits for it any more", after=FULL_FOR, hint="give it more time")

    def heard(self, turn: Turn) -> None:
        """Count what a turn made and ended."""
        for target in turn.made:
            self._of(target.system).known += 1
        for task in turn.ended:
            self._of(task.target.system).known -= 1
        for name in turn.claimed:
            self._waits_no_more(name, self.clock.monotonic())
        for task in turn.ended:
            self._waits_no_more(task.id, None)

    def _waits_no_more(self, task: str, begun: float | None) -> None:
        waited = self._waiting.pop(task, None)
        if waited is not None:
            self._left(*waited, begun)
            return
        self._begun[task] = None
        if len(self._begun) > MOST_EARLY:
            self._begun.popitem(last=False)

    def _left(self, place: Place, tenant: str, begun: float | None) -> None:
        line = self._lines[place]
        line.leave(tenant, begun)
        if not line.waiting:
            del self._lines[place]

    def _in_vain(self, order: Order) -> tuple[str, Overloaded] | None:
        """Whether its turn would come too late for its deadline."""
        line = self._lines.get(_place(order))
        if line is None or order.deadline is None or not _in_line(order):
            return None
        wait, left = line.wait(order.tenant, self.clock.monotonic()), order.deadline - self.clock.now()
        if wait <= left * WAITED:
            return None
        message = f"{order.target.name} begins in about {wait:.1f} s what it is given now, too late for a deadline in {left:.1f} s"
        return "wait", Overloaded(message, after=wait - left * WAITED, hint="come again after Retry-After, or give it more time")

    def _refusal(self, system: str, tenant: str, *, retry: bool) -> tuple[str, Overloaded] | None:
        intake, now, there = self.intake(system), self.clock.monotonic(), self._open[system]
        quota = Quota(intake.rate, float(intake.burst))
        door = self._doors.get(system, Admission(quota))
        door = door if door.quota == quota else Admission(quota)
        if there.known + there.coming >= intake.open:
            message = f"{system} has {there.known + there.coming:,} unfinished tasks, and takes no more than {intake.open:,}"
            return "full", Overloaded(message, after=FULL_FOR, hint="spec.admission.open sets how many; qd get tasks lists them")
        retries, granted = door.retries.take(now, retry=retry)
        if not granted:
            return "retries", Overloaded("too much of what arrives is a retry", after=FULL_FOR, hint="wait longer between two attempts")
        charged, wait = door.charged(tenant, now)
        if wait:
            message = f"{tenant or 'this tenant'} gives more than {intake.rate:g} tasks a second"
            return "rate", Overloaded(message, after=wait, hint="spec.admission sets rate and burst; come again after Retry-After")
        self._doors[system] = replace(charged, retries=retries)
        return None

    async def _counted(self, system: str) -> None:
        there, now = self._of(system), self.clock.monotonic()
        if there.counted is None or now - there.counted >= COUNT_EVERY:
            there.counted = now
            there.known = await asyncio.to_thread(self.count, system)

    def _of(self, system: str) -> _Open:
        return self._open.setdefault(system, _Open())


def _place(order: Order) -> Place:
    return order.target, order.priority


def _in_line(order: Order) -> bool:
    """Whether it may be begun as soon as it has its turn, rather than at some time or after another task."""
    return not order.after and order.lane is None
