"""What a replica waits for, so that the ledger can see who waits for whom: asks under way, delegations, and asks queued for a place here.

The runtime notes all of it, agents declare nothing. What is open for a while is reported; a deadlock that the ledger found in the reports
of many replicas is broken here, by failing one wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from quarterdeck.agents.activity import Activity, Deadlock
from quarterdeck.bus.asks import Asks
from quarterdeck.bus.chores import Chores
from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model import ops
from quarterdeck.model.loops import Loop

log = logging.getLogger(__name__)

OPEN_AFTER: Final = 0.25
"""Seconds after which a wait is worth telling."""
CHANGES_EVERY: Final = 0.5
"""Seconds between reports of something new."""
AGAIN_EVERY: Final = 5.0
"""Seconds between reports of the same."""
WITHIN: Final = 5.0
"""Seconds for the ledger to answer a report."""
_LAST: Final = 2
"""Reports in a row that the ledger may ask for: one that says what is, and one that proves it still is."""


class Wait:
    """`with` around something that is waited for: on leaving, a wait that was broken raises Deadlock.

    `on` names what has to end, and is empty while nothing has; `since` is epoch seconds.
    """

    __slots__ = ("_broken", "_cancelling", "_task", "_waits", "kind", "on", "since", "to", "waiter")

    def __init__(self, waits: Waits, waiter: Activity, kind: ops.WaitKind, to: str) -> None:
        self.waiter = waiter
        self.kind = kind
        self.to = to
        self.on = ""
        self.since = 0.0
        self._waits = waits
        self._broken = ""
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._waits.open[self] = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._waits.open[self]
        if self._broken and self._task is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Deadlock(self._broken) from None

    def attempt(self, on: str) -> Attempt:
        """`with` around one attempt."""
        return Attempt(self, on)

    def begin(self, on: str) -> None:
        """From now on this is waited for."""
        self.on, self.since = on, self._waits.clock.now()
        self._waits.stir()

    def end(self, told: str) -> None:
        """Break it, once."""
        if not self._broken and self._task is not None:
            self._broken = told
            self._task.cancel()


class Attempt:
    """One attempt at what is waited for: outside of it, between two, nobody is waited for."""

    __slots__ = ("_on", "_wait")

    def __init__(self, wait: Wait, on: str) -> None:
        self._wait = wait
        self._on = on

    def __enter__(self) -> None:
        self._wait.begin(self._on)

    def __exit__(self, *_: object) -> None:
        self._wait.on = ""


class Waits:
    """All of one replica. `stir` is called when there is something new; it costs nothing while nobody listens."""

    def __init__(self, clock: Clock, asks: Asks | None = None) -> None:
        self.clock = clock
        self.asks = Asks(clock) if asks is None else asks
        self.open: dict[Wait, None] = {}
        self.places = 0
        self.reporter: Reporter | None = None
        self.asks.queued = self.stir

    def on(self, waiter: Activity, kind: ops.WaitKind, to: str) -> Wait:
        """A wait of somebody for agent `to` (`cluster/agent`)."""
        return Wait(self, waiter, kind, to)

    def stir(self) -> None:
        """Something may be worth telling soon."""
        if self.reporter is not None:
            self.reporter.stir()

    @property
    def idle(self) -> bool:
        """Whether nothing waits at all."""
        return not self.open and all(ask.held for ask in self.asks)

    def told(self) -> tuple[tuple[ops.AskOpen, ...], tuple[ops.WaitOpen, ...], int]:
        """Asks, waits and free places, of what is open for long enough. What does not fit is left out so that nobody seems stuck by it."""
        old = self.clock.now() - OPEN_AFTER
        stuck = {wait.waiter.id for wait in self.open if wait.on and wait.waiter.kind and wait.since <= old and wait.kind != "human"}
        waits = [wait for wait in self.open if wait.on and wait.waiter.id in stuck]
        queued = [ask for ask in self.asks if not ask.held and ask.since <= old]
        if not waits and not queued:
            return (), (), 0
        held = [ask for ask in self.asks if ask.held]
        free = self.asks.free if len(held) <= ops.MOST_WAITS else 1
        asks = tuple((ask.id, ask.verb, ask.since, ask.held) for ask in (*held, *queued)[: ops.MOST_WAITS])
        return asks, tuple(_told(wait) for wait in waits[: ops.MOST_WAITS]), free

    def looped(self, found: Loop, sender: str, verb: str) -> None:
        """A message was refused that went round and round."""
        if self.reporter is not None:
            self.reporter.looped(ops.Looped(found.cycle, found.messages, sender, verb))

    def obey(self, said: ops.Verdicts) -> None:
        """Break what the ledger found to be a deadlock, and let nobody work for somebody who does not wait any more."""
        for waiter, on, told in said["broken"]:
            for wait in tuple(self.open):
                if (wait.waiter.id, wait.on) == (waiter, on):
                    wait.end(told)
        for identity, why in said["unwanted"]:
            self.asks.turn_away(identity, why)


def _told(wait: Wait) -> ops.WaitOpen:
    return wait.waiter.id, wait.waiter.kind, wait.waiter.verb, wait.on, wait.kind, wait.to, wait.since


class Reporter:
    """Tells the ledger, only while something is open for `OPEN_AFTER`: when that has changed, now and then, and when the ledger asks."""

    def __init__(self, waits: Waits, call: Callable[[ops.Op, float], Awaitable[Any]], chores: Chores) -> None:
        self._waits = waits
        self._call = call
        self._chores = chores
        self._timer: asyncio.TimerHandle | None = None
        self._reporting = False
        self._count = 0
        self._seen = 0.0
        self._last: tuple[tuple[ops.AskOpen, ...], tuple[ops.WaitOpen, ...], int] = ((), (), 0)
        self._at = 0.0

    def stir(self) -> None:
        """Look in a while, unless somebody does already."""
        if self._timer is None and not self._reporting:
            self._later(OPEN_AFTER)

    def word(self) -> None:
        """The ledger has something to say; perhaps to us."""
        if self._last[0] or self._last[1]:
            self._due(asked=True)

    def looped(self, op: ops.Looped) -> None:
        """Have it written down, if the ledger is there."""
        self._chores.start(self._tell(op))

    async def _tell(self, op: ops.Looped) -> None:
        try:
            await self._call(op, WITHIN)
        except QuarterdeckError as error:
            log.info("a loop is not in the journal: %s", error.message)

    def stop(self) -> None:
        """Report no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waits.reporter = None

    def _later(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self, *, asked: bool = False) -> None:
        if self._reporting:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, told = self._waits.clock.monotonic(), self._waits.told()
        if asked or told != self._last or ((told[0] or told[1]) and now - self._at >= AGAIN_EVERY):
            self._reporting = True
            self._chores.start(self._report())
        elif not self._waits.idle:
            self._later(OPEN_AFTER)

    async def _report(self) -> None:
        try:
            for _ in range(_LAST + 1):
                told = self._waits.told()
                said = await self._say(*told)
                if said is None:
                    break
                self._waits.obey(said)
                self._last, self._at = told, self._waits.clock.monotonic()
                if not said["again"]:
                    break
        finally:
            self._reporting = False
            if self._waits.reporter is self and (not self._waits.idle or self._waits.told() != self._last):
                self._later(CHANGES_EVERY)

    async def _say(self, asks: tuple[ops.AskOpen, ...], waits: tuple[ops.WaitOpen, ...], free: int) -> ops.Verdicts | None:
        self._count += 1
        try:
            said: ops.Verdicts = await self._call(ops.Waits(self._count, self._seen, self._waits.places, free, asks, waits), WITHIN)
        except QuarterdeckError:  # an older ledger, or none now: whoever waits only waits longer
            return None
        self._seen = said["seen"]
        return said
