"""What the loop will do: engine primitives, each labelled with one of the seven phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from quarterdeck.model.desired import Link, Namespace, Workload

Phase = Literal[
    "infrastructure_provisioning",
    "control_plane_deployment",
    "data_plane_deployment",
    "service_mesh_configuration",
    "agent_cluster_deployment",
    "observability_stack_setup",
    "integration_validation",
]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
Action = Literal["add", "change", "remove", "probe"]


@dataclass(frozen=True, slots=True)
class EnsureNamespace:
    """Give a cluster its room on the machine: limits, cgroup, a place in the node's table."""

    namespace: Namespace
    action: Action
    reason: str
    phase: Phase = "infrastructure_provisioning"

    @property
    def target(self) -> str:
        """The cluster."""
        return self.namespace.cluster


@dataclass(frozen=True, slots=True)
class RemoveNamespace:
    """Take a cluster's room away; only after its workloads are gone."""

    cluster: str
    reason: str
    action: Action = "remove"
    phase: Phase = "infrastructure_provisioning"

    @property
    def target(self) -> str:
        """The cluster."""
        return self.cluster


@dataclass(frozen=True, slots=True)
class AdoptRevision:
    """Want what another revision says. Shown in plans; whoever applies one has done it."""

    target: str
    reason: str
    action: Action = "change"
    phase: Phase = "control_plane_deployment"


@dataclass(frozen=True, slots=True)
class EnsureBus:
    """Start the bus, prove that every ack is synced, compare its streams with the inventory."""

    reason: str
    action: Action = "add"
    target: str = "bus"
    phase: Phase = "data_plane_deployment"


@dataclass(frozen=True, slots=True)
class EnsureAccount:
    """Give a cluster its account on the bus, with limits from its quota, and its agents' streams."""

    namespace: Namespace
    agents: tuple[str, ...]
    action: Action
    reason: str
    phase: Phase = "data_plane_deployment"

    @property
    def target(self) -> str:
        """The cluster."""
        return self.namespace.cluster


@dataclass(frozen=True, slots=True)
class EnsureLink:
    """Open a path between two accounts and hand its policy to the replicas that use it."""

    link: Link
    action: Action
    reason: str
    phase: Phase = "service_mesh_configuration"

    @property
    def target(self) -> str:
        """`source->target`."""
        return self.link.name


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Close a path."""

    link: Link
    reason: str
    action: Action = "remove"
    phase: Phase = "service_mesh_configuration"

    @property
    def target(self) -> str:
        """`source->target`."""
        return self.link.name


@dataclass(frozen=True, slots=True)
class ApplyWorkload:
    """Hand a workload to the engine, which rolls it out by itself."""

    workload: Workload
    action: Action
    reason: str
    phase: Phase = "agent_cluster_deployment"

    @property
    def target(self) -> str:
        """`cluster/agent`."""
        return self.workload.name


@dataclass(frozen=True, slots=True)
class RemoveWorkload:
    """Drain and stop all replicas of a workload. Never gated by phases."""

    name: str
    reason: str
    action: Action = "remove"
    phase: Phase = "agent_cluster_deployment"

    @property
    def target(self) -> str:
        """`cluster/agent`."""
        return self.name


@dataclass(frozen=True, slots=True)
class Probe:
    """Prove something by doing it; the result becomes the Condition `kind` on `target`."""

    kind: str
    target: str
    phase: Phase
    reason: str = "no fresh evidence"
    action: Action = "probe"


Step = EnsureNamespace | RemoveNamespace | EnsureBus | EnsureAccount | EnsureLink | RemoveLink | ApplyWorkload | RemoveWorkload | Probe


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to perform now, in order, and one sentence for people. `again_after` is seconds until the next look without a wake-up."""

    steps: tuple[Step, ...]
    outcome: str
    again_after: float
    ready: bool
