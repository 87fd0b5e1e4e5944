"""The contract of an engine: the only thing that touches the world, at the level of workloads.

Kubernetes has this shape natively (Deployments, scale, NetworkPolicies); on one machine our node provides it. Every engine passes
`tests/contracts/test_engines.py`.
"""

from __future__ import annotations

from typing import Protocol

from quarterdeck.halts import Halt
from quarterdeck.model.desired import Desired
from quarterdeck.model.steps import Probe, Step
from quarterdeck.model.stops import Source
from quarterdeck.model.world import Happening, Sample, Verb, WorkloadSeen, World


class Engine(Protocol):
    """What the reconcile loop may ask of the world. All calls are idempotent and safe to repeat after a crash at any point."""

    name: str

    async def observe(self, system: str) -> World:
        """Look; never act. An engine that cannot see answers `reachable=False`, it does not answer "nothing there"."""
        ...

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """The workloads of `observe` alone, for whoever looks often; raises Transient when they cannot be seen."""
        ...

    async def samples(self, system: str, replica: str) -> tuple[Sample, ...]:
        """How replica slot `cluster/agent-n` has been, oldest first: at most ten minutes of a line each second in which it had a process.

        Raises NotFound when no such replica is wanted or runs, Transient when it cannot be told.
        """
        ...

    async def verbs(self, system: str, agent: str) -> tuple[Verb, ...]:
        """What the code of `cluster/agent` answers to, asked of one of its replicas; none where an engine runs no code.

        Raises NotFound when there is no such agent, Transient when none of its replicas can be asked.
        """
        ...

    async def preflight(self, system: str, step: Step) -> None:
        """Raise a QuarterdeckError that names the cause when a step cannot possibly succeed; changes nothing."""
        ...

    async def perform(self, system: str, step: Step) -> str:
        """Start what the step asks; returns a short text of evidence. Observing sees it finish."""
        ...

    async def probe(self, desired: Desired, probe: Probe) -> str:
        """Prove something by doing it; returns evidence, raises QuarterdeckError when it does not hold."""
        ...

    async def upkeep(self, desired: Desired) -> None:
        """What must be renewed without being asked (credentials); called every tick, cheap when nothing is due."""
        ...

    async def code_in_use(self) -> frozenset[str]:
        """Digests of the code trees that replicas run from or would be started from; raises Transient when it cannot be told."""
        ...

    async def remove(self, system: str) -> tuple[str, ...]:
        """Take everything of a system away; returns what could not be removed (empty = verified gone)."""
        ...

    async def changed(self) -> tuple[Happening, ...]:
        """Wait until something happened; returns what, in order. Each system named in it is worth a look."""
        ...


class Stopper(Protocol):
    """The way of a stop into the world: past the loop, and so that it works while other parts hang. All calls may be repeated."""

    async def halt(self, halt: Halt, within: float | None) -> str:
        """Let nothing of a target run, from now on and over every restart, until it is lifted; what runs has `within` seconds to finish.

        None leaves the time that was given before, and gives none where there was no halt. On disk before anything is killed; gives
        what is wrong with that, or nothing. Raises Transient when nobody could be told.
        """
        ...

    async def lift(self, system: str, target: str) -> str:
        """Let a target run again; the same answers."""
        ...

    async def halted(self) -> tuple[Halt, ...] | None:
        """What must not run; None while nobody knows, and nothing runs therefore. Raises Transient."""
        ...

    async def reset(self, whole: tuple[Halt, ...]) -> None:
        """Say what must not run after that was lost. Raises Transient."""
        ...

    async def attached(self) -> str:
        """Wait for whoever runs the replicas; gives a name of its present life."""
        ...

    async def alive(self, system: str, target: str) -> Source:
        """What of a target is alive."""
        ...

    async def connected(self, system: str, target: str) -> Source:
        """Who of a target is connected to the bus."""
        ...
