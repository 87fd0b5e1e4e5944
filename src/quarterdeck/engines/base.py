"""The contract of an engine: the only thing that touches the world, at the level of workloads.

Kubernetes has this shape natively (Deployments, scale, NetworkPolicies); on one machine our node provides it. Every engine passes
`tests/contracts/test_engines.py`.
"""

from __future__ import annotations

from typing import Protocol

from quarterdeck.model.desired import Desired
from quarterdeck.model.steps import Probe, Step
from quarterdeck.model.world import Happening, WorkloadSeen, World


class Engine(Protocol):
    """What the reconcile loop may ask of the world. All calls are idempotent and safe to repeat after a crash at any point."""

    name: str

    async def observe(self, system: str) -> World:
        """Look; never act. An engine that cannot see answers `reachable=False`, it does not answer "nothing there"."""
        ...

    async def workloads(self, system: str) -> tuple[WorkloadSeen, ...]:
        """The workloads of `observe` alone, for whoever looks often; raises Transient when they cannot be seen."""
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
