"""The one keyed, level-triggered loop: look, plan, perform, write down what was seen, come again.

A wake-up carries a name only. There is one worker per system; start = recover. No decision is taken here, only fed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from quarterdeck.clock import Clock
from quarterdeck.deploy.converged import QUARANTINED, isolated, outdated
from quarterdeck.deploy.counted import EFFECTS_COUNTED, counted
from quarterdeck.deploy.held import held_back
from quarterdeck.deploy.phases import phases
from quarterdeck.deploy.plan import plan
from quarterdeck.deploy.witness import Witness
from quarterdeck.engines.base import Engine
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.desired import Desired
from quarterdeck.model.records import PLATFORM, Condition, Entry, Outcome, Status
from quarterdeck.model.steps import Plan, Probe, Step
from quarterdeck.model.world import Happening, World
from quarterdeck.store import conditions as condition_rows
from quarterdeck.store import journal, overview, trips
from quarterdeck.store.store import Store
from quarterdeck.store.writing import Writing

Prober = Callable[[Desired, Probe], Awaitable[str]]
"""Proves something; returns evidence, raises QuarterdeckError when it does not hold."""
Compose = Callable[[str], Desired | None]
"""The desired whole of a system from spec and live Changes; None when it is gone."""
StepHook = Callable[[str, int, Step], None]
"""Called before, inside and after every step with a running number; the crash scenarios end the process here."""
STEP_DEADLINE = 30.0
"""Seconds one step may take; a step past it is unknown and will be planned again from what is observed."""
RETRY_AFTER = 1.0
"""Seconds before the next look when a step did not come out done; an event of the engine comes first."""
APART = 0.03
"""Seconds from one look to the next that an event asks for, more where looks take long; healing is the engine's and does not wait."""
COUNT_EVERY = 5.0
"""Seconds from one look at what tasks did to the next: it takes milliseconds, and looks may follow one another within hundredths."""
MOST_UNTOLD = 10_000
"""Happenings kept in memory while the store cannot write: as many as the node keeps."""


def no_hook(moment: str, number: int, step: Step) -> None:
    """The default StepHook: nothing happens."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step or a probe came to."""

    status: Status
    reason: str
    message: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Look:
    """The newest tick of a system: what was desired, seen, planned."""

    desired: Desired
    world: World
    plan: Plan
    conditions: Mapping[tuple[str, str], Condition]
    observed_generation: int = 0

    @classmethod
    def of(cls, desired: Desired, world: World, conditions: Mapping[tuple[str, str], Condition], now: float) -> Look:
        """Plan from what was seen."""
        return cls(desired, world, plan(desired, world, conditions, now), conditions)


@dataclass(slots=True)
class Reconciler:
    """Ticks every known system. `looks` holds the newest tick of each, for readers."""

    store: Store
    engine: Engine
    compose: Compose
    probers: Mapping[str, Prober]
    clock: Clock
    witness: Witness
    hook: StepHook = no_hook
    looks: dict[str, Look] = field(default_factory=dict)
    _awake: dict[str, asyncio.Event] = field(default_factory=dict)
    _group: asyncio.TaskGroup | None = None
    _over: bool = False
    _steps: int = 0
    _met: set[str] = field(default_factory=set)
    _begun: dict[tuple[str, int], float] = field(default_factory=dict)
    _counted: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled: follow the engine's events, write them down, and tick whoever is concerned."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name in list(self._awake):
                group.create_task(self._worker(name))
            try:
                await self._follow()
            finally:
                self._over = True

    async def _follow(self) -> None:
        untold: tuple[Happening, ...] = ()
        while True:
            happened = await self.engine.changed()
            for name in {h.system for h in happened if h.system} or set(self._awake):
                self.wake(name)
            untold = await self._write_down((*untold, *happened)[-MOST_UNTOLD:])

    async def _write_down(self, happened: tuple[Happening, ...]) -> tuple[Happening, ...]:
        """Have it journalled; gives back what could not be, because the store is read-only: it is told with what happens next."""
        try:
            await self.witness(happened)
        except Transient:
            return happened
        return ()

    def wake(self, name: str) -> None:
        """Look at a system soon; a worker is born with its first wake-up."""
        known = name in self._awake
        self._awake.setdefault(name, asyncio.Event()).set()
        if not known and self._group is not None:
            self._group.create_task(self._worker(name))

    async def _worker(self, name: str) -> None:
        event = self._awake[name]
        failures = 0
        while not self._over:  # a library below may have taken our cancellation for its own timeout
            event.clear()
            began = self.clock.monotonic()
            try:
                look = await self.tick(name)
                failures = 0
                pause = look.plan.again_after if look else None
            except Transient:
                failures += 1
                pause = min(0.1 * 2**failures, 5.0)
            except Exception as error:  # noqa: BLE001 a defect in one system's round must not end the others; it is told and tried again
                failures += 1
                pause = min(1.0 * 2**failures, 60.0)
                await self._tell(name, error)
            if pause is None:
                del self._awake[name]
                self.looks.pop(name, None)
                return
            took = self.clock.monotonic() - began
            with contextlib.suppress(TimeoutError):  # time to look again without a wake-up
                async with asyncio.timeout(pause):
                    await event.wait()
                    await asyncio.sleep(began + max(APART, 2 * took) - self.clock.monotonic())  # one look for all that happens meanwhile

    async def _tell(self, system: str, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        with contextlib.suppress(OSError):  # the log's disk is full: the journal or the next round tells
            sys.stderr.write(text)
        entry = Entry(PLATFORM, "loop.error", system, repr(error), outcome="failed", evidence=text[-4000:], system=system)
        with contextlib.suppress(Transient):  # the store is away: the text is in the control plane's own log
            await self.store.write(lambda tx: journal.append(tx, entry))

    async def tick(self, name: str) -> Look | None:
        """One round for one system; None when the system is gone. What a step finished within its call is seen at once."""
        look = await self._look(name)
        if look is None:
            return None
        if await self._begins_anew(look):
            return await self.tick(name)
        await self._tidy(look)
        await self._time_phases(look)
        results = [await self._perform_timed(look, step) for step in look.plan.steps]
        if look.world.reachable:
            await self.engine.upkeep(look.desired)
        if not results:
            return look
        after = await self._look(name)
        if after is None:
            return None
        await self._time_phases(after)
        pause = _pause(after.plan) if all(results) else RETRY_AFTER
        return replace(after, plan=replace(after.plan, again_after=pause))

    async def _perform_timed(self, look: Look, step: Step) -> bool:
        """Do one step; a phase that it completes is done now, not when the round is over."""
        done = await self._perform(look.desired, step)
        if done and isinstance(step, Probe):
            await self._time_phases(replace(look, conditions=self.conditions(look.desired)))
        return done

    async def _look(self, name: str) -> Look | None:
        desired = self.compose(name)
        if desired is None:
            return None
        world = await self.engine.observe(name)
        self.looks[name] = Look.of(desired, world, self.conditions(desired), self.clock.now())
        return self.looks[name]

    async def _begins_anew(self, look: Look) -> bool:
        """Forget all evidence, once, when every process it was about has ended since (`qd down`, a reboot): it proves nothing now."""
        system, world = look.desired.system, look.world
        first = system not in self._met
        if world.reachable:
            self._met.add(system)
        if not first or not world.reachable or not look.conditions:
            return False
        seen = max(c.observed for c in look.conditions.values())
        if any(r.pid is not None and r.started <= seen for w in world.workloads for r in w.replicas):
            return False
        await self.store.write(lambda tx: condition_rows.forget(tx, system))
        return True

    async def _tidy(self, look: Look) -> None:
        """Forget the Conditions of what is gone, and note what work was done once. While the store cannot write, later."""
        system, conditions = look.desired.system, look.conditions
        if not look.world.reachable or not self.store.writable:
            return
        done = self._done_once(system, conditions.get((EFFECTS_COUNTED, system)))
        gone = outdated(look.desired, look.world, conditions)

        def work(tx: Writing) -> None:
            for one in gone:
                condition_rows.drop(tx, system, one.kind, one.target)
            if done:
                condition_rows.put(tx, system, done)

        if gone or done:
            await self.store.write(work)

    def _done_once(self, system: str, known: Condition | None) -> Condition | None:
        now = self.clock.now()
        if now - self._counted.get(system, 0.0) < COUNT_EVERY:
            return None
        self._counted[system] = now
        with self.store.read() as conn:
            return counted(system, overview.settled(conn, system), known, now)

    async def _time_phases(self, look: Look) -> None:
        """Note once a revision when each phase was done; its seconds are the time since the one before it was."""
        revision, now = look.desired.revision, self.clock.now()
        first = self._begun.setdefault((look.desired.system, revision), look.world.at)
        before = first
        for view in phases(look.desired, look.world, look.conditions):
            known = look.conditions.get(("Phase", view.name))
            if known is not None and known.generation == revision:
                before = known.observed
            elif view.status == "done":
                text = f"{max(now - before, 0.0):.3f}"
                done = Condition("Phase", view.name, "true", f"Revision{revision}", view.message, now, now, text, revision, view.name)
                await self._keep(look.desired.system, done)
                before = now

    def conditions(self, desired: Desired) -> Mapping[tuple[str, str], Condition]:
        """The newest Conditions of a system by (kind, target), and what holds its work back now."""
        with self.store.read() as conn:
            kept, tripped = condition_rows.list_(conn, desired.system), trips.of(conn, desired.system)
        return {**{(c.kind, c.target): c for c in kept}, **held_back(desired, tripped, self.clock.now())}

    async def prove(self, desired: Desired, probe: Probe) -> Condition:
        """Run one probe now and keep its result, whatever the plan thinks."""
        if why := isolated(desired.workload(probe.target)):
            found = self._condition(desired, probe.kind, probe, Finding("false", QUARANTINED, why, why))
        else:
            found = await self._tried(desired, probe)
        await self._keep(desired.system, found)
        return found

    async def _tried(self, desired: Desired, probe: Probe) -> Condition:
        run = self.probers.get(probe.kind, self.engine.probe)
        try:
            async with asyncio.timeout(STEP_DEADLINE):
                evidence = await run(desired, probe)
            found = Finding("true", "Proven", evidence, evidence)
        except TimeoutError:
            text = f"no answer within {STEP_DEADLINE:g} s"
            found = Finding("unknown", "Timeout", text, text)
        except QuarterdeckError as error:
            status: Status = "unknown" if error.retry else "false"
            reason = "Unknown" if error.retry else "Refuted"
            found = Finding(status, reason, error.message, error.message)
        return self._condition(desired, probe.kind, probe, found)

    async def _perform(self, desired: Desired, step: Step) -> bool:
        """Do one step; True when it came out done."""
        self._steps += 1
        number = self._steps
        self.hook("before", number, step)
        if isinstance(step, Probe):
            self.hook("inside", number, step)
            found = await self.prove(desired, step)
        else:
            found = await self._act(desired, step, number)
        self.hook("after", number, step)
        return found.status == "true"

    async def _act(self, desired: Desired, step: Step, number: int) -> Condition:
        """Begin, preflight, perform, end: both ends are journalled, repeats of the same failure are not."""
        kind = f"Step:{type(step).__name__}"
        before = self.conditions(desired).get((kind, step.target))
        await self._journal_step(desired, step, "begun", None)
        try:
            await self.engine.preflight(desired.system, step)
            self.hook("inside", number, step)
            async with asyncio.timeout(STEP_DEADLINE):
                evidence = await self.engine.perform(desired.system, step)
            found = self._condition(desired, kind, step, Finding("true", "Performed", evidence, evidence))
        except TimeoutError:
            text = f"no answer within {STEP_DEADLINE:g} s"
            found = self._condition(desired, kind, step, Finding("unknown", "Timeout", text, text))
        except QuarterdeckError as error:
            status: Status = "unknown" if error.retry else "false"
            found = self._condition(desired, kind, step, Finding(status, type(error).__name__, error.message, ""))
        if before is None or found.status == "true" or (before.status, before.message) != (found.status, found.message):
            outcome: Outcome = "done" if found.status == "true" else "failed" if found.status == "false" else "unknown"
            await self._journal_step(desired, step, outcome, found.message)
        await self._keep(desired.system, found)
        return found

    async def _journal_step(self, desired: Desired, step: Step, outcome: Outcome, evidence: str | None) -> None:
        entry = Entry(
            PLATFORM,
            f"step.{type(step).__name__}",
            step.target,
            step.reason,
            after=step.phase,
            outcome=outcome,
            evidence=evidence,
            system=desired.system,
        )
        await self.store.write(lambda tx: journal.append(tx, entry))

    def _condition(self, desired: Desired, kind: str, step: Step, found: Finding) -> Condition:
        now = self.clock.now()
        return Condition(
            kind, step.target, found.status, found.reason, found.message, now, now, found.evidence, desired.generation, step.phase
        )

    async def _keep(self, system: str, found: Condition) -> None:
        await self.store.write(lambda tx: condition_rows.put(tx, system, found))


def _pause(todo: Plan) -> float:
    """Probes that just failed wait for their retry; anything else is looked at again at once."""
    return 0.0 if any(not isinstance(s, Probe) for s in todo.steps) else min(todo.again_after, 0.05)
