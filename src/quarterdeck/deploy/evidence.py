"""Every proof this version can run, in one table: what it shows, in which phase, on which targets, and how long it stays fresh.

Plan, phases, validation and readiness all read this table; a prober that is not listed here is never run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from quarterdeck.model.desired import Desired
from quarterdeck.model.steps import Phase

Targets = Callable[[Desired], Iterable[tuple[str, frozenset[str]]]]
"""Names what to probe, each with the clusters that must have converged first."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One kind of probe. `fresh_for` is seconds; `sentence` completes "proves that …"."""

    kind: str
    phase: Phase
    targets: Targets
    fresh_for: float
    sentence: str


def _system(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    return [(desired.system, frozenset())]


def _links(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    return [(link.name, frozenset({link.source, link.target})) for link in desired.links]


def _forbidden(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    open_paths = {(link.source, link.target) for link in desired.links}
    names = [n.cluster for n in desired.namespaces]
    return [(f"{a}->{b}", frozenset({a, b})) for a in names for b in names if a != b and (a, b) not in open_paths]


def _every_agent(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    """Those too that have all of their replicas in quarantine: who asks them must be told that nobody answers."""
    return [(w.name, frozenset({w.cluster})) for w in desired.workloads if w.replicas]


def _agents(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    return [(w.name, frozenset({w.cluster})) for w in desired.workloads if w.replicas > len(w.quarantined)]


def _links_with_agents(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    staffed = {w.cluster for w in desired.workloads if w.replicas > len(w.quarantined)}
    return [(name, clusters) for name, clusters in _links(desired) if clusters <= staffed]


def _forbidden_with_agents(desired: Desired) -> Iterable[tuple[str, frozenset[str]]]:
    staffed = {w.cluster for w in desired.workloads if w.replicas > len(w.quarantined)}
    return [(name, clusters) for name, clusters in _forbidden(desired) if clusters <= staffed]


CONTROL: Final = (
    Proof("JournalVerified", "control_plane_deployment", _system, 3600, "the journal's chain verifies up to its head"),
    Proof("SecondWriterRefused", "control_plane_deployment", _system, 3600, "a second control plane on this home is refused"),
    Proof("NodeAttached", "control_plane_deployment", _system, 600, "the node answers and holds the table it was given"),
    Proof("AnonymousRefused", "control_plane_deployment", _system, 3600, "the API refuses a caller without a token"),
)
BUS: Final = (Proof("BusSynced", "data_plane_deployment", _system, 300, "the bus syncs before each acknowledgement"),)
MESH: Final = (
    Proof("LinkOpen", "service_mesh_configuration", _links, 600, "the accounts at both ends of a link reach each other"),
    Proof("PathClosed", "service_mesh_configuration", _forbidden, 600, "clusters without a link cannot reach each other"),
)
OBSERVED: Final = (
    Proof("LogsArriving", "observability_stack_setup", _agents, 600, "log lines of the replicas are read back through the API"),
    Proof("MetricsReadable", "observability_stack_setup", _system, 600, "a sample is read back from /metrics"),
)
VALIDATED: Final = (
    Proof("AgentAnswers", "integration_validation", _every_agent, 300, "every replica of an agent answers over the bus"),
    Proof("LinkCarries", "integration_validation", _links_with_agents, 300, "a replica reaches the other cluster over the link"),
    Proof("PathRefused", "integration_validation", _forbidden_with_agents, 600, "a replica is refused where no link leads"),
    Proof("JournalReadable", "integration_validation", _system, 600, "the journal's newest record is read back through the API"),
)
PROOFS: Final[tuple[Proof, ...]] = (*CONTROL, *BUS, *MESH, *OBSERVED, *VALIDATED)
DEEP: Final = (
    Proof(
        "JournalDeep", "integration_validation", _system, 86400, "an export of the whole journal verifies against the head noted before it"
    ),
    Proof("CodeIntact", "integration_validation", _system, 86400, "the code snapshots in use still have their digests"),
)
"""Run by `qd validate --deep` only."""


def proof(kind: str) -> Proof:
    """The proof of that kind; KeyError when there is none."""
    return next(p for p in (*PROOFS, *DEEP) if p.kind == kind)
