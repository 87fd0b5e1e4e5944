"""Pure questions about whether a part of the desired whole is there, shared by the plan and by what people are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from quarterdeck.deploy.evidence import Proof
from quarterdeck.model.desired import Desired, Link, Workload
from quarterdeck.model.records import Condition
from quarterdeck.model.world import Replica, WorkloadSeen, World

Conditions = Mapping[tuple[str, str], Condition]
"""(kind, target) → the newest Condition."""
RETRY_PROBE_AFTER = 2.0
"""Seconds before a probe that did not come out true is tried again."""


@dataclass(frozen=True, slots=True)
class Staffing:
    """How far a workload is: wanted (without quarantined), ready at the wanted template, failed, and the first reason for a failure.

    `serving` counts the replicas of earlier templates that were kept because the rollout was stopped.
    """

    wanted: int
    ready: int
    failed: int
    reason: str
    serving: int = 0


def accepted(workload: Workload, seen: WorkloadSeen | None) -> bool:
    """Whether the engine holds exactly this workload (it may still be rolling it out)."""
    return (
        seen is not None
        and seen.template == workload.template.digest
        and seen.replicas_wanted == workload.replicas
        and seen.restart_before == workload.restart_before
        and seen.quarantined == workload.quarantined
        and seen.rollout_digest == workload.rollout_digest
    )


def current(workload: Workload, replica: Replica) -> bool:
    """Whether a replica is of the wanted template and young enough, in a slot that is wanted and not quarantined."""
    return (
        replica.revision == workload.template.digest
        and replica.started >= workload.restart_before
        and replica.slot < workload.replicas
        and replica.slot not in workload.quarantined
    )


def staffing(workload: Workload, seen: WorkloadSeen | None) -> Staffing:
    """Count the replicas of a workload."""
    wanted = workload.replicas - len(workload.quarantined)
    replicas = seen.replicas if seen is not None else ()
    ready = {r.slot for r in replicas if r.state == "ready" and current(workload, r)}
    failed = [r for r in replicas if r.state == "failed" and r.slot not in workload.quarantined and r.slot not in ready]
    reasons = [r.reason for r in (*failed, *replicas) if r.reason and r.state in ("failed", "pending", "starting")]
    if seen is not None and seen.halted and seen.template == workload.template.digest:
        serving = {r.slot for r in replicas if r.state == "ready"} - ready
        return Staffing(wanted, len(ready), wanted - len(ready), f"rollout stopped: {seen.halted}", len(serving))
    return Staffing(wanted, len(ready), len({r.slot for r in failed}), reasons[0] if reasons else "")


class Comparison:
    """Desired and world side by side. Every answer is worked out once, for it is asked again for each step, proof and check."""

    def __init__(self, desired: Desired, world: World) -> None:
        self.desired = desired
        self.world = world

    @cached_property
    def rooms(self) -> frozenset[str]:
        """The clusters whose namespace is as wanted."""
        held = frozenset(self.world.namespaces)
        return frozenset(n.cluster for n in self.desired.namespaces if n in held)

    @cached_property
    def accounts(self) -> frozenset[str]:
        """The clusters whose account and agents' streams are there."""
        streams = {(s.account, s.name) for s in self.world.bus.streams}
        return self.world.bus.accounts - {w.cluster for w in self.desired.workloads if (w.cluster, w.agent) not in streams}

    @cached_property
    def closed(self) -> frozenset[Link]:
        """The links that are not open as wanted."""
        return frozenset(self.desired.links) - frozenset(self.world.links)

    @cached_property
    def accepted(self) -> frozenset[str]:
        """The workloads that the engine holds exactly as wanted."""
        return frozenset(w.name for w in self.desired.workloads if accepted(w, self.world.workload(w.name)))

    @cached_property
    def staffing(self) -> dict[str, Staffing]:
        """How far each workload is."""
        return {w.name: staffing(w, self.world.workload(w.name)) for w in self.desired.workloads}

    @cached_property
    def running(self) -> frozenset[str]:
        """The workloads that are accepted, with all replicas answering and nothing of an older template left alive."""
        return frozenset(w.name for w in self.desired.workloads if self._runs(w))

    def _runs(self, workload: Workload) -> bool:
        seen, count = self.world.workload(workload.name), self.staffing[workload.name]
        if seen is None or count.ready < count.wanted or workload.name not in self.accepted:
            return False
        return all(r.state in ("stopped", "quarantined") or current(workload, r) for r in seen.replicas)


def holds(conditions: Conditions, kind: str, target: str) -> bool:
    """Whether the newest Condition says true."""
    condition = conditions.get((kind, target))
    return condition is not None and condition.status == "true"


def all_hold(desired: Desired, conditions: Conditions, proofs: Iterable[Proof]) -> bool:
    """Whether every proof holds on all its targets."""
    return all(holds(conditions, p.kind, target) for p in proofs for target, _ in p.targets(desired))


def due(proof: Proof, condition: Condition | None, generation: int, now: float) -> str | None:
    """Why a probe must run now, or None. A proof of an older generation does not count for this one."""
    if condition is None:
        return "never tried"
    age = now - condition.observed
    if condition.status != "true":
        return f"last time: {condition.reason}" if age >= RETRY_PROBE_AFTER else None
    if condition.generation < generation:
        return "desired state changed"
    return "evidence grew old" if age > proof.fresh_for else None
