"""Pure questions about whether a part of the desired whole is there, shared by the plan and by what people are shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from quarterdeck.deploy.evidence import DEEP, PROOFS, Proof
from quarterdeck.model.desired import Desired, Link, Workload
from quarterdeck.model.records import Condition
from quarterdeck.model.steps import PHASES
from quarterdeck.model.world import Replica, WorkloadSeen, World

Conditions = Mapping[tuple[str, str], Condition]
"""(kind, target) → the newest Condition."""
QUARANTINED = "Quarantined"
"""The reason of a proof that is refuted because every replica it would ask is quarantined."""
RETRY_PROBE_AFTER = 2.0
"""Seconds before a probe that did not come out true is tried again."""


@dataclass(frozen=True, slots=True)
class Staffing:
    """How far a workload is: wanted (without quarantined), ready at the wanted template, failed, and the first reason for a failure.

    Where all are quarantined, all are wanted: an agent that serves nobody is not whole. `serving` counts the replicas of earlier templates,
    or from before a restart, that serve until their turn comes; where the rollout was `halted`, until another one begins.
    """

    wanted: int
    ready: int
    failed: int
    reason: str
    serving: int = 0
    halted: bool = False

    @property
    def answering(self) -> int:
        """Replicas that work is done by, whatever their template."""
        return self.ready + self.serving


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


def isolated(workload: Workload | None) -> str:
    """Why no replica of a workload that has some serves: each is quarantined, with its Change; empty when one may serve."""
    if workload is None or not workload.replicas or workload.replicas > len(workload.quarantined):
        return ""
    names = [f"{workload.agent}-{n} quarantined" for n in sorted(workload.quarantined)]
    causes = [next((text for text in workload.because if text.startswith(f"{name} ")), name) for name in names]
    return f"no replica serves: {', '.join(causes)}"


def staffing(workload: Workload, seen: WorkloadSeen | None) -> Staffing:
    """Count the replicas of a workload."""
    if reason := isolated(workload):
        return Staffing(workload.replicas, 0, 0, reason)
    wanted = workload.replicas - len(workload.quarantined)
    replicas = seen.replicas if seen is not None else ()
    ready = {r.slot for r in replicas if r.state == "ready" and current(workload, r)}
    failed = [r for r in replicas if r.state == "failed" and r.slot not in workload.quarantined and r.slot not in ready]
    reasons = [r.reason for r in (*failed, *replicas) if r.reason and r.state in ("failed", "pending", "starting")]
    earlier = {r.slot for r in replicas if r.state == "ready" and r.slot not in workload.quarantined} - ready
    if seen is not None and seen.halted and seen.template == workload.template.digest:
        return Staffing(wanted, len(ready), wanted - len(ready), f"rollout stopped: {seen.halted}", len(earlier), halted=True)
    serving = len([slot for slot in earlier if slot < workload.replicas])  # what is above goes at once
    return Staffing(wanted, len(ready), len({r.slot for r in failed}), reasons[0] if reasons else "", serving)


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
        if seen is None or count.ready < workload.replicas - len(workload.quarantined) or workload.name not in self.accepted:
            return False
        return all(r.state in ("stopped", "quarantined") or current(workload, r) for r in seen.replicas)


def holds(conditions: Conditions, kind: str, target: str) -> bool:
    """Whether the newest Condition says true."""
    condition = conditions.get((kind, target))
    return condition is not None and condition.status == "true"


def all_hold(desired: Desired, conditions: Conditions, proofs: Iterable[Proof]) -> bool:
    """Whether every proof holds on all its targets."""
    return all(holds(conditions, p.kind, target) for p in proofs for target, _ in p.targets(desired))


def outdated(desired: Desired, world: World, conditions: Conditions) -> tuple[Condition, ...]:
    """Those to forget: proofs of what is not wanted any more, and what else tells of something neither wanted nor there.

    A loss is told of as long as it is an incident, whatever became of what it hit.
    """
    proven = {p.kind: {target for target, _ in p.targets(desired)} for p in (*PROOFS, *DEEP)}
    clusters = {n.cluster for n in (*desired.namespaces, *world.namespaces)}
    agents = {w.name for w in desired.workloads} | {w.name for w in world.workloads}
    links = {k.name for k in (*desired.links, *world.links)}
    there = {desired.system, "bus", *PHASES, *clusters, *agents, *links}

    def over(c: Condition) -> bool:
        if c.kind in proven:
            return c.target not in proven[c.kind]
        return c.target not in there and (c.kind.startswith("Step:") or c.status == "true")

    return tuple(c for c in conditions.values() if over(c))


def due(proof: Proof, condition: Condition | None, generation: int, now: float) -> str | None:
    """Why a probe must run now, or None. A proof of an older generation does not count for this one."""
    if condition is None:
        return "never tried"
    if condition.reason == QUARANTINED:  # only a Change ends it
        return "desired state changed" if condition.generation < generation else None
    age = now - condition.observed
    if condition.status != "true":
        return f"last time: {condition.reason}" if age >= RETRY_PROBE_AFTER else None
    if condition.generation < generation:
        return "desired state changed"
    return "evidence grew old" if age > proof.fresh_for else None
