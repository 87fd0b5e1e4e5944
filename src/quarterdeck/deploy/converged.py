"""Pure questions about whether a part of the desired whole is there, shared by the plan and by what people are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quarterdeck.deploy.evidence import Proof
from quarterdeck.model.desired import Desired, Workload
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


def running(workload: Workload, seen: WorkloadSeen | None) -> bool:
    """Whether a workload is accepted, all its replicas answer, and nothing of an older template is left alive."""
    count = staffing(workload, seen)
    if seen is None or not accepted(workload, seen) or count.ready < count.wanted:
        return False
    return all(r.state in ("stopped", "quarantined") or current(workload, r) for r in seen.replicas)


def room_ready(desired: Desired, world: World, cluster: str) -> bool:
    """Whether a cluster's namespace is as wanted."""
    wanted = next((n for n in desired.namespaces if n.cluster == cluster), None)
    return wanted is not None and wanted in world.namespaces


def account_ready(desired: Desired, world: World, cluster: str) -> bool:
    """Whether a cluster's account and its agents' streams are there."""
    streams = {s.name for s in world.bus.streams if s.account == cluster}
    return cluster in world.bus.accounts and {w.agent for w in desired.workloads if w.cluster == cluster} <= streams


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
