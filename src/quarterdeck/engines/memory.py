"""An engine without processes: everything it is asked for is there after `settle` observations. For tests and for planning offline.

It passes the same contract suite as the engines that touch the world; it is a model of their promises, not of their failures.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from quarterdeck import halts
from quarterdeck.clock import Clock
from quarterdeck.errors import NotFound
from quarterdeck.halts import Halt
from quarterdeck.model.desired import Desired, Link, Namespace, Workload
from quarterdeck.model.steps import (
    ApplyWorkload,
    EnsureAccount,
    EnsureBus,
    EnsureLink,
    EnsureNamespace,
    Probe,
    RemoveLink,
    RemoveNamespace,
    RemoveWorkload,
    Step,
)
from quarterdeck.model.stops import Source
from quarterdeck.model.world import BusSeen, Exit, Happening, Replica, Sample, StreamSeen, Verb, WorkloadSeen, World

SAMPLES: Final = 600
SAMPLE_EVERY: Final = 1.0
"""Seconds from one sample to the next, where there is an observation to take it at."""


@dataclass(slots=True)
class _Held:
    rooms: dict[str, Namespace] = field(default_factory=dict)
    streams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    samples: defaultdict[str, deque[Sample]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=SAMPLES)))


@dataclass(slots=True)
class MemoryEngine:
    """`crash(name)` ends a replica; it is back at the next observation, one incarnation later, as on the real engines."""

    clock: Clock
    name: str = "memory"
    _bus: bool = False
    _held: dict[str, _Held] = field(default_factory=lambda: defaultdict(_Held))
    _happened: list[Happening] = field(default_factory=list)
    _event: asyncio.Event = field(default_factory=asyncio.Event)
    _halts: tuple[Halt, ...] = ()

    async def observe(self, system: str) -> World:
        """What is held now."""
        held = self._held[system]
        for workload in held.workloads.values():
            self._converge(held, workload)
        self._sample(held)
        bus = BusSeen(
            ready=self._bus,
            reason="" if self._bus else "not started",
            sync_always=True,
            version="memory",
            accounts=frozenset(held.streams),
            streams=tuple(StreamSeen(a, agent, 0, 0, 0, 0) for a, agents in held.streams.items() for agent in agents),
        )
        seen = await self.workloads(system)
        return World(self.clock.now(), True, "", bus, tuple(held.rooms.values()), tuple(held.links.values()), seen)

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """What is held."""
        held = self._held[system]
        return tuple(_seen(held, w) for w in held.workloads.values())

    async def samples(self, system: str, replica: str) -> tuple[Sample, ...]:
        """One at each observation, a second or a new incarnation apart: without a process it uses nothing and beats at every look."""
        held, now = self._held[system], self.clock.now()
        if replica not in held.replicas:
            raise NotFound(f"{replica} is not here", hint="qd get replicas lists what is")
        return tuple(sample for sample in held.samples[replica] if sample.at > now - SAMPLES * SAMPLE_EVERY)

    async def verbs(self, system: str, agent: str) -> tuple[Verb, ...]:
        """No code runs here."""
        if agent not in self._held[system].workloads:
            raise NotFound(f"{agent} is not here", hint="qd get agents lists what is")
        return ()

    async def preflight(self, system: str, step: Step) -> None:
        """Everything is possible in memory."""

    async def perform(self, system: str, step: Step) -> str:
        """Hold what was asked."""
        held = self._held[system]
        match step:
            case EnsureNamespace():
                held.rooms[step.target] = step.namespace
            case RemoveNamespace():
                held.rooms.pop(step.target, None)
                held.streams.pop(step.target, None)
            case EnsureBus():
                self._bus = True
            case EnsureAccount():
                held.streams[step.target] = step.agents
            case EnsureLink():
                held.links[step.target] = step.link
            case RemoveLink():
                held.links.pop(step.target, None)
            case ApplyWorkload():
                held.workloads[step.target] = step.workload
            case RemoveWorkload():
                held.workloads.pop(step.target, None)
                held.replicas = {n: r for n, r in held.replicas.items() if f"{r.cluster}/{r.agent}" != step.target}
            case Probe():
                return "held in memory"
            case _:
                assert_never(step)
        self._changed(system, "performed", step.target)
        return "held in memory"

    async def probe(self, desired: Desired, probe: Probe) -> str:
        """True whenever the target is held."""
        held = self._held[desired.system]
        known = {desired.system, *held.links, *held.workloads}
        paths = {f"{a}->{b}" for a in held.rooms for b in held.rooms}
        if probe.target not in known | paths:
            raise NotFound(f"{probe.target} is not here", hint="qd get agents lists what is")
        return "held in memory"

    async def upkeep(self, desired: Desired) -> None:
        """Nothing expires in memory."""

    async def code_in_use(self) -> frozenset[str]:
        """The trees of all workloads held."""
        return frozenset(w.template.code for held in self._held.values() for w in held.workloads.values())

    async def remove(self, system: str) -> tuple[str, ...]:
        """Forget a system."""
        self._held.pop(system, None)
        return ()

    async def changed(self) -> tuple[Happening, ...]:
        """Wait for `perform` or `crash`."""
        await self._event.wait()
        self._event.clear()
        happened, self._happened = tuple(self._happened), []
        return happened

    def crash(self, system: str, replica: str) -> None:
        """End a replica as SIGKILL would."""
        held = self._held[system]
        old = held.replicas[replica]
        died = Exit(code=None, signal=9, oom=False, hang=False, at=self.clock.now())
        held.replicas[replica] = replace(old, state="pending", pid=None, restarts=old.restarts + 1, last_exit=died)
        self._changed(system, "replica.exited", replica)

    def _changed(self, system: str, kind: str, target: str) -> None:
        self._happened.append(Happening(system, kind, target, self.clock.now(), {}))
        self._event.set()

    def _sample(self, held: _Held) -> None:
        now = self.clock.now()
        for name in held.samples.keys() - held.replicas.keys():
            del held.samples[name]
        for name, replica in held.replicas.items():
            kept = held.samples[name]
            if not kept or kept[-1].incarnation != replica.incarnation or now - kept[-1].at >= SAMPLE_EVERY:
                kept.append(Sample(now, replica.incarnation, 0, 0.0, 0, 0, 0.0, 0, 0, 0, 0, 0.0))

    def _converge(self, held: _Held, workload: Workload) -> None:
        system = next((name for name, each in self._held.items() if each is held), "")
        halted = any(halt.covers(system, workload.name) for halt in self._halts)
        for slot in range(0 if halted else workload.replicas):
            name = f"{workload.name}-{slot}"
            old = held.replicas.get(name)
            state = "quarantined" if slot in workload.quarantined else "ready"
            fresh = old is not None and old.pid is not None and old.revision == workload.template.digest
            if old is not None and fresh and old.started >= workload.restart_before:
                held.replicas[name] = replace(old, state=state)
                continue
            held.replicas[name] = self._born(workload, slot, state, old)
        for name, replica in list(held.replicas.items()):
            if f"{replica.cluster}/{replica.agent}" == workload.name and replica.slot >= workload.replicas:
                del held.replicas[name]

    def _born(self, workload: Workload, slot: int, state: str, old: Replica | None) -> Replica:
        now = self.clock.now()
        incarnation = old.incarnation + 1 if old else 1
        return Replica(
            name=f"{workload.name}-{slot}",
            cluster=workload.cluster,
            agent=workload.agent,
            slot=slot,
            state=state,
            reason="",
            pid=1000 * incarnation + slot,
            incarnation=incarnation,
            restarts=old.restarts if old else 0,
            revision=workload.template.digest,
            since=now,
            started=now,
            last_exit=old.last_exit if old else None,
        )


@dataclass(slots=True)
class MemoryStopper:
    """What stops the replicas of a MemoryEngine. No bus is asked: nobody is connected to it."""

    engine: MemoryEngine

    async def halt(self, halt: Halt, within: float | None) -> str:
        """At once, however long they were given."""
        self.engine._halts = halts.with_halt(self.engine._halts, halt)  # noqa: SLF001 of the same engine
        for name, held in self.engine._held.items():  # noqa: SLF001
            held.replicas = {n: r for n, r in held.replicas.items() if not halt.covers(name, f"{r.cluster}/{r.agent}")}
        return ""

    async def lift(self, system: str, target: str) -> str:
        """They are back at the next observation."""
        self.engine._halts = halts.without(self.engine._halts, (system, target))  # noqa: SLF001
        return ""

    async def halted(self) -> tuple[Halt, ...] | None:
        """All of them."""
        return self.engine._halts  # noqa: SLF001

    async def reset(self, whole: tuple[Halt, ...]) -> None:
        """Take these."""
        self.engine._halts = whole  # noqa: SLF001

    async def attached(self) -> str:
        """Always the one."""
        return self.engine.name

    async def alive(self, system: str, target: str) -> Source:
        """The replicas held."""
        found = [
            r.name
            for r in self.engine._held[system].replicas.values()  # noqa: SLF001
            if Halt(system, target, 0.0, "").covers(system, f"{r.cluster}/{r.agent}")
        ]
        return Source("memory", "replicas of the target", len(found), ", ".join(found) or "none is held")

    async def connected(self, system: str, target: str) -> Source:
        """Nobody."""
        return Source("memory", "connections of its users", 0, "there is no bus")


def _seen(held: _Held, workload: Workload) -> WorkloadSeen:
    mine = tuple(r for r in held.replicas.values() if (r.cluster, r.agent) == (workload.cluster, workload.agent))
    return WorkloadSeen(
        workload.name,
        workload.template.digest,
        workload.replicas,
        workload.restart_before,
        workload.quarantined,
        workload.rollout_digest,
        mine,
        held=workload.template,
    )
