"""The one decision: which steps bring the world to what is desired. Pure: no await, clock, logging or engine.

Called again and again; it keeps no memory. A step that creates is emitted only when the earlier phases of its own scope have converged, so
one sick cluster never blocks another. What stops, drains or quarantines is never gated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quarterdeck.deploy.converged import (
    RETRY_PROBE_AFTER,
    Conditions,
    accepted,
    account_ready,
    all_hold,
    due,
    room_ready,
    running,
    staffing,
)
from quarterdeck.deploy.evidence import BUS, CONTROL, MESH, OBSERVED, VALIDATED, Proof
from quarterdeck.model.desired import Desired, Workload
from quarterdeck.model.steps import (
    ApplyWorkload,
    EnsureAccount,
    EnsureBus,
    EnsureLink,
    EnsureNamespace,
    Plan,
    Probe,
    RemoveLink,
    RemoveNamespace,
    RemoveWorkload,
    Step,
)
from quarterdeck.model.world import WorkloadSeen, World

RESYNC = 10.0
"""Seconds between looks at a system where nothing happens (the usual resync of level-triggered controllers)."""
IMPATIENT = 0.5
"""Seconds between looks while something is expected to happen; the engine's events usually come first."""


def plan(desired: Desired, world: World, conditions: Conditions, now: float) -> Plan:
    """The steps to perform now; empty when desired and world agree and all evidence is fresh."""
    if not world.reachable:
        return Plan((), f"waiting for the engine: {world.reason}", IMPATIENT, ready=False)
    steps = (*_removals(desired, world), *_creations(desired, world, conditions, now))
    ready = not steps and _all_there(desired, world, conditions)
    return Plan(steps, _sentence(desired, world, steps), RESYNC if ready else IMPATIENT, ready)


def structural(desired: Desired, world: World) -> tuple[Step, ...]:
    """Every step short of probes that separates world from desired, as if all gates were open: what `qd plan` shows."""
    rooms = _rooms(desired, world)
    bus = () if world.bus.ready else (EnsureBus("the bus is not running"),)
    accounts = [s for n in desired.namespaces for s in _account(desired, world, n.cluster)]
    return (*_removals(desired, world), *rooms, *bus, *accounts, *_links(desired, world), *_workloads(desired, world, gated=False))


def _creations(desired: Desired, world: World, conditions: Conditions, now: float) -> Iterator[Step]:
    yield from _rooms(desired, world)
    yield from _due(CONTROL, desired, world, conditions, now)
    if not all_hold(desired, conditions, CONTROL):
        yield from _workloads(desired, world, gated=True)
        return
    if not world.bus.ready:
        yield EnsureBus(world.bus.reason or "the bus is not running")
        return
    yield from _due(BUS, desired, world, conditions, now)
    for namespace in desired.namespaces:
        if room_ready(desired, world, namespace.cluster):
            yield from _account(desired, world, namespace.cluster)
    yield from _links(desired, world, only_ready=True)
    yield from _due(MESH, desired, world, conditions, now)
    yield from _workloads(desired, world, gated=True)
    yield from _due((*OBSERVED, *VALIDATED), desired, world, conditions, now, staffed=True)


def _removals(desired: Desired, world: World) -> Iterator[Step]:
    wanted = {w.name for w in desired.workloads}
    for seen in world.workloads:
        if seen.name not in wanted:
            yield RemoveWorkload(seen.name, "no longer in the spec")
    open_links = {(link.source, link.target) for link in desired.links}
    for link in world.links:
        if (link.source, link.target) not in open_links:
            yield RemoveLink(link, "no longer in the spec")
    clusters = {n.cluster for n in desired.namespaces}
    busy = {seen.name.split("/")[0] for seen in world.workloads}
    for namespace in world.namespaces:
        if namespace.cluster not in clusters and namespace.cluster not in busy:
            yield RemoveNamespace(namespace.cluster, "no longer in the spec")


def _rooms(desired: Desired, world: World) -> Iterator[Step]:
    known = {n.cluster for n in world.namespaces}
    for namespace in desired.namespaces:
        if namespace not in world.namespaces:
            changed = namespace.cluster in known
            yield EnsureNamespace(namespace, "change" if changed else "add", "quota changed" if changed else "not there yet")


def _account(desired: Desired, world: World, cluster: str) -> Iterator[Step]:
    if account_ready(desired, world, cluster):
        return
    namespace = next(n for n in desired.namespaces if n.cluster == cluster)
    agents = tuple(w.agent for w in desired.workloads if w.cluster == cluster)
    known = cluster in world.bus.accounts
    yield EnsureAccount(namespace, agents, "change" if known else "add", "an agent has no stream" if known else "no account")


def _links(desired: Desired, world: World, *, only_ready: bool = False) -> Iterator[Step]:
    known = {(link.source, link.target) for link in world.links}
    for link in desired.links:
        ready = account_ready(desired, world, link.source) and account_ready(desired, world, link.target)
        if link not in world.links and (ready or not only_ready):
            changed = (link.source, link.target) in known
            yield EnsureLink(link, "change" if changed else "add", "policy changed" if changed else "not open")


def _workloads(desired: Desired, world: World, *, gated: bool) -> Iterator[Step]:
    for workload in desired.workloads:
        seen = world.workload(workload.name)
        if accepted(workload, seen) or (gated and not (_only_less(workload, seen) or _may_start(desired, world, workload))):
            continue
        yield ApplyWorkload(workload, "add" if seen is None else "change", _difference(workload, seen))


def _only_less(workload: Workload, seen: WorkloadSeen | None) -> bool:
    """Whether all that changes is fewer replicas or a quarantine, which no gate may hold up."""
    return (
        seen is not None
        and seen.template == workload.template.digest
        and workload.replicas <= seen.replicas_wanted
        and workload.restart_before == seen.restart_before
    )


def _may_start(desired: Desired, world: World, workload: Workload) -> bool:
    if not (world.bus.ready and room_ready(desired, world, workload.cluster) and account_ready(desired, world, workload.cluster)):
        return False
    mine = [link for link in desired.links if workload.cluster in (link.source, link.target)]
    possible = [link for link in mine if account_ready(desired, world, link.source) and account_ready(desired, world, link.target)]
    return all(link in world.links for link in possible)


def _difference(workload: Workload, seen: WorkloadSeen | None) -> str:
    if seen is None:
        return f"{workload.replicas} replicas"
    parts = []
    if seen.template != workload.template.digest:
        parts.append(f"code or settings {seen.template[:8]} → {workload.template.digest[:8]}")
    if seen.replicas_wanted != workload.replicas:
        parts.append(f"replicas {seen.replicas_wanted} → {workload.replicas}")
    if seen.restart_before != workload.restart_before:
        parts.append("restart asked")
    if seen.quarantined != workload.quarantined:
        parts.append(f"quarantined {sorted(seen.quarantined)} → {sorted(workload.quarantined)}")
    return ", ".join(_with_cause(part, workload.because) for part in parts) or "rollout settings changed"


def _with_cause(part: str, because: tuple[str, ...]) -> str:
    """`replicas 3 → 5 (human change 12, …)`: the Change that set what differs, in its own words."""
    cause = next((text for text in because if text.partition(" ")[0] == part.partition(" ")[0] and "(" in text), "")
    return f"{part} {cause[cause.index('(') :]}" if cause else part


def _due(
    proofs: Iterable[Proof], desired: Desired, world: World, conditions: Conditions, now: float, *, staffed: bool = False
) -> Iterator[Probe]:
    """Probes whose evidence is missing or old, where everything they rest on has converged."""
    for proof in proofs:
        for target, clusters in proof.targets(desired):
            condition = conditions.get((proof.kind, target))
            reason = due(proof, condition, desired.generation, now)
            if reason and _stands(desired, world, target, clusters, staffed=staffed):
                yield Probe(proof.kind, target, proof.phase, reason)


def _stands(desired: Desired, world: World, target: str, clusters: frozenset[str], *, staffed: bool) -> bool:
    if not clusters:
        return not staffed or all(running(w, world.workload(w.name)) for w in desired.workloads)
    if not all(account_ready(desired, world, c) for c in clusters):
        return False
    if any(link.name == target and link not in world.links for link in desired.links):
        return False
    if not staffed:
        return True
    workload = desired.workload(target)
    staff = [workload] if workload else [w for w in desired.workloads if w.cluster in clusters]
    return all(running(w, world.workload(w.name)) for w in staff)


def _all_there(desired: Desired, world: World, conditions: Conditions) -> bool:
    proven = all_hold(desired, conditions, (*CONTROL, *BUS, *MESH, *OBSERVED, *VALIDATED))
    return proven and all(running(w, world.workload(w.name)) for w in desired.workloads)


def _sentence(desired: Desired, world: World, steps: tuple[Step, ...]) -> str:
    counts = [staffing(w, world.workload(w.name)) for w in desired.workloads]
    ready, wanted, failed = sum(c.ready for c in counts), sum(c.wanted for c in counts), sum(c.failed for c in counts)
    text = f"agents: {ready} of {wanted} ready"
    if failed:
        text += f", {failed} failed"
    if ready < wanted - failed:
        text += f", starting {wanted - ready - failed}"
    return text + (f"; {len(steps)} steps to do" if steps else "")


__all__ = ["IMPATIENT", "RESYNC", "RETRY_PROBE_AFTER", "plan", "structural"]
