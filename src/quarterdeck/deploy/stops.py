"""Stop with proof: written down before the first kill, the work fenced, the node told at once, and what is left looked for.

The Change is the truth; the node's halt is what makes it hold while the control plane is away. Neither waits for the other: a store that
cannot write stops no stop, and a halt that came past us becomes a Change as soon as we hear of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from quarterdeck.clock import Clock
from quarterdeck.deploy.composer import kept_spec
from quarterdeck.engines.base import Stopper
from quarterdeck.errors import Conflict, NotFound, QuarterdeckError, Transient
from quarterdeck.halts import TASK, Halt
from quarterdeck.model.records import Actor, Change, Entry
from quarterdeck.model.stops import FLEET, Source, StopProof, verdict
from quarterdeck.model.work import OPEN
from quarterdeck.spec.targets import stop_target, whole
from quarterdeck.store import changes, journal, revisions, stops, systems, tasks
from quarterdeck.store.stops import Order
from quarterdeck.store.store import Store
from quarterdeck.store.turn import Turn, target_of

log = logging.getLogger(__name__)
T = TypeVar("T")
LEDGER: Final = "ledger"
MOST_DRAIN: Final = 3600.0
WRITE_WITHIN: Final = 0.7
"""Seconds for the Change to be on disk before the node is told without it."""
PROVE_WITHIN: Final = 1.5
"""Seconds to look again for what is still ending."""
_LOOK_EVERY: Final = 0.03
_AGREE_EVERY: Final = 1.0
VIA_NODE: Final = "node"
"""The door of a stop that came past the control plane."""


class Turns(Protocol):
    """Does something to work in one write, and lets the ledger hear of it."""

    async def __call__(self, work: Callable[[Turn], T], /) -> T:  # noqa: D102
        ...


@dataclass(slots=True)
class Stops:
    """`woken` makes the loop look at a system."""

    store: Store
    clock: Clock
    stopper: Stopper
    turn: Turns
    woken: Callable[[str], None]
    _ordering: set[tuple[str, str]] = field(default_factory=set)
    """What the node is just being told by `stop`, with its time to drain."""

    def order(self, system: str, target: str, actor: Actor, reason: str) -> Order:
        """An order about something that exists; raises NotFound, or UserError for a replica."""
        with self.store.read() as conn:
            revision = revisions.current(conn, system)
        if revision is None:
            raise NotFound(f"no system {system}", hint="qd get systems lists them")
        return Order(system, stop_target(kept_spec(revision.spec), target), actor, reason)

    def change(self, order: Order) -> Change:
        """The Change that an order would make, for a plan."""
        return stops.change(order, self.clock.now())

    async def stop(self, order: Order, drain: float) -> StopProof:
        """Stop a target, `drain` seconds given to what runs, and prove it. Raises Transient when nobody could be told."""
        began = self.clock.monotonic()
        key = (order.system, node_target(order.target))
        self._ordering.add(key)
        try:
            change, trouble = await self._write_down(order, fence=drain <= 0)
            problem = await self.stopper.halt(self._halt(order, change), drain)
        finally:
            self._ordering.discard(key)
        kept = (*([f"change {change.id}"] if change else []), *([] if problem else ["node"]))
        if drain > 0:
            await self._drained(order, began + drain)
            with suppress(Transient):  # told by the proof: the rows say that somebody works on them
                await self.turn(lambda turn: stops.fence(turn, order.system, order.target, order.why))
        sources = await self._proven(lambda: self._sources(order.system, order.target, trouble), began + drain + PROVE_WITHIN)
        proof = StopProof(
            order.system, node_target(order.target) or FLEET, self.clock.now(), 1000 * (self.clock.monotonic() - began), sources, kept
        )
        await self._journal(order, proof)
        self.woken(order.system)
        return proof

    async def _write_down(self, order: Order, *, fence: bool) -> tuple[Change | None, str]:
        """The Change and the new fences, together; or why not."""

        def work(turn: Turn) -> Change:
            change = stops.begin(turn, order)
            if fence:
                stops.fence(turn, order.system, order.target, order.why)
            return change

        try:
            async with asyncio.timeout(WRITE_WITHIN):
                return await self.turn(work), ""
        except TimeoutError:
            return None, f"the store did not answer within {WRITE_WITHIN:g} s"
        except Transient as error:
            return None, error.message

    def _halt(self, order: Order, change: Change | None) -> Halt:
        at = change.at if change else self.clock.now()
        return Halt(order.system, node_target(order.target), at, order.reason, order.actor.name, change.id if change else None)

    async def _drained(self, order: Order, deadline: float) -> None:
        while self.clock.monotonic() < deadline:
            if not (await self.stopper.alive(order.system, node_target(order.target))).found:
                return
            await asyncio.sleep(10 * _LOOK_EVERY)

    async def _sources(self, system: str, target: str, trouble: str) -> tuple[Source, ...]:
        place = node_target(target)
        async with asyncio.TaskGroup() as looks:
            seen = [looks.create_task(look) for look in (self.stopper.alive(system, place), self.stopper.connected(system, place))]
        with self.store.read() as conn:
            working, pending = stops.in_work(conn, system, target), stops.pending(conn, system, target)
        return (*(look.result() for look in seen), *ledger_sources(working, pending, trouble))

    async def _proven(self, look: Callable[[], Awaitable[tuple[Source, ...]]], deadline: float) -> tuple[Source, ...]:
        while True:
            sources = await look()
            if verdict(sources) == "done" or self.clock.monotonic() >= deadline:
                return sources
            await asyncio.sleep(_LOOK_EVERY)

    async def _journal(self, order: Order, proof: StopProof) -> None:
        found = [source.to_json() for source in proof.sources]
        entry = Entry(
            order.actor,
            "stop.proof",
            order.target,
            order.reason,
            outcome=verdict(proof.sources),
            evidence={"ms": round(proof.ms), "kept": list(proof.kept), "sources": found},
            system=order.system,
        )
        with suppress(Transient, TimeoutError):  # a store that cannot write: the proof is told all the same
            async with asyncio.timeout(WRITE_WITHIN):
                await self.store.write(lambda tx: journal.append(tx, entry))

    async def stop_task(self, task: str, order: Order, drain: float) -> StopProof:
        """Cancel a task and all below it; after `drain` seconds it is taken from whoever still has it. Raises NotFound, Transient."""
        began = self.clock.monotonic()
        if drain > 0:
            await self.turn(lambda turn: stops.cancel(turn, task, order))
            await self._given_up(task, began + drain)
        await self.turn(lambda turn: stops.end_task(turn, task, order))
        sources = ledger_sources(*self._task_counts(task), "")
        proof = StopProof(order.system, f"task {task}", self.clock.now(), 1000 * (self.clock.monotonic() - began), sources, ("task",))
        await self._journal(order, proof)
        return proof

    async def _given_up(self, task: str, deadline: float) -> None:
        while self.clock.monotonic() < deadline:
            if not self._task_counts(task)[0]:
                return
            await asyncio.sleep(_LOOK_EVERY)

    def _task_counts(self, task: str) -> tuple[int, int]:
        with self.store.read() as conn:
            return stops.of_task(conn, task)

    def of(self, order: Order, *, needed: bool = False) -> tuple[Change, ...]:
        """The live stops of exactly this target. Raises Conflict when one is `needed` and there is none; then it names the others."""
        with self.store.read() as conn:
            return self._of(stops.live(conn, order.system, self.clock.now()), order, needed=needed)

    def _of(self, live: list[Change], order: Order, *, needed: bool) -> tuple[Change, ...]:
        found = tuple(change for change in live if change.target == order.target)
        if needed and not found:
            others = ", ".join(change.target for change in live)
            raise Conflict(f"nothing stops {order.target.rstrip(':')} itself", hint=f"stopped: {others or 'nothing'}")
        return found

    async def start(self, order: Order) -> tuple[Change, ...]:
        """End every stop of exactly this target. Raises Conflict when there is none, and names what covers it then."""
        with suppress(Transient):  # without a node nothing can have come past us
            await self.agree()

        def work(turn: Turn) -> tuple[Change, ...]:
            found = self._of(stops.live(turn.connection, order.system, turn.now), order, needed=True)
            ended = tuple(changes.end(turn.tx, change.id, "reverted", order.actor, order.reason) for change in found)
            stops.resume(turn, order.system)
            return ended

        ended = await self.turn(work)
        with suppress(Transient):  # the node is away: it is told when it is back, since its halt names a Change that has ended
            await self.stopper.lift(order.system, node_target(order.target))
        self.woken(order.system)
        return ended

    # The node's list and ours.

    async def keep(self) -> None:
        """For as long as we live: a node that attaches hears of every stop at once, and we of what came past us."""
        life = ""
        while True:
            now = await self.stopper.attached()
            try:
                await self.agree()
                life = now
            except Transient as error:
                log.debug("stops: %s", error.message)
            except QuarterdeckError as error:  # told, and tried again: the loop must go on, or a node would not hear of the next stop
                log.warning("stops: %s", error.message)
            await asyncio.sleep(_AGREE_EVERY if life == now else 0.1)

    async def agree(self) -> None:
        """Bring the node's list and the live Changes together. Raises Transient when one of them cannot be had."""
        ours = self._ours()
        theirs = await self.stopper.halted()
        if theirs is None:
            await self.stopper.reset(tuple(ours.values()))
            return
        for halt in theirs:
            if halt.change is not None and halt.key not in ours:
                await self.stopper.lift(*halt.key)
            elif halt.change is None and not halt.target.startswith(TASK):
                await self._take_over(halt)
        known = {halt.key for halt in theirs}
        for halt in ours.values():
            if halt.key not in known | self._ordering:
                await self.stopper.halt(halt, None)
        for halt in theirs:  # last, since a store that cannot write keeps no agent running
            if halt.target.startswith(TASK):
                await self.take_over_tasks((halt,))
                await self.stopper.lift(*halt.key)

    def _ours(self) -> dict[tuple[str, str], Halt]:
        with self.store.read() as conn:
            names = [system.name for system in systems.systems(conn)]
            found = [change for name in names for change in stops.live(conn, name, self.clock.now())]
        halts = [Halt(c.system, node_target(c.target), c.at, c.reason, c.actor, c.id) for c in found]
        return {halt.key: halt for halt in halts}

    async def _take_over(self, halt: Halt) -> None:
        """Make the Change of a halt that came past us, one for each system that it is about; the work is fenced with it."""
        with self.store.read() as conn:
            names = [system.name for system in systems.systems(conn) if halt.system in ("", system.name)]
        actor = Actor(halt.actor or "node", VIA_NODE)
        orders = [order for name in names if (order := self._known(name, halt, actor))]
        for order in orders:

            def work(turn: Turn, order: Order = order) -> Change:
                change = stops.begin(turn, order)
                stops.fence(turn, order.system, order.target, order.why)
                return change

            change = await self.turn(work)
            await self.stopper.halt(replace(halt, system=order.system, change=change.id), None)
            self.woken(order.system)
        if orders and not halt.system:
            await self.stopper.lift("", halt.target)

    async def take_over_tasks(self, halts: Iterable[Halt]) -> None:
        """End the tasks that were stopped past us, before anybody is given them again. Raises Transient."""
        for halt in halts:
            name = halt.target.removeprefix(TASK)
            with self.store.read() as conn:
                row = tasks.find_row(conn, name) if halt.target.startswith(TASK) else None
            if row is not None and row["state"] in OPEN:
                actor = Actor(halt.actor or "node", VIA_NODE)
                await self.stop_task(name, Order(halt.system, target_of(row).name, actor, halt.reason or "stopped at the node"), 0.0)

    def _known(self, system: str, halt: Halt, actor: Actor) -> Order | None:
        """The order of a halt in one system; None where that has no such target, as the node's table may be older than the spec."""
        try:
            return self.order(system, halt.target or whole(system), actor, halt.reason or "stopped at the node")
        except NotFound:
            return None


def ledger_sources(working: int, pending: int, trouble: str) -> tuple[Source, ...]:
    """What the ledger's rows say; `trouble` is why they could not be changed."""
    because = f"; {trouble}: they are taken away when it can write" if trouble and (working or pending) else ""
    return (
        Source(LEDGER, stops.WORKED_ON, working, f"rows running or waiting: {working}{because}"),
        Source(LEDGER, stops.UNDER_WAY, pending, f"rows started without an outcome: {pending}{because}"),
    )


def node_target(target: str) -> str:
    """A stop's target as the node knows it: empty for everything of a system."""
    return "" if target.endswith(":") else target
