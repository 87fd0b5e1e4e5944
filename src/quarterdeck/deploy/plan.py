"""The one decision: which steps bring the world to what is desired. Pure: no await, clock, logging or engine.

Called again and again; it keeps no memory. The phases are labels, the order is a partial one: a step is planned when what it depends on
holds. What makes more depends on the control plane's proofs and on the room, account and links of its own cluster, so one sick cluster
never blocks another. What stops, drains or quarantines depends on nothing and is never gated, whatever else changes together with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from quarterdeck.deploy import differs
from quarterdeck.deploy.converged import Comparison, Conditions, accepted, all_hold, due, isolated
from quarterdeck.deploy.evidence import BUS, CONTROL, MESH, OBSERVED, PROOFS, VALIDATED, Proof
from quarterdeck.model.desired import Desired, Link, Workload
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
    found = Comparison(desired, world)
    busy = frozenset(seen.name.split("/")[0] for seen in world.workloads)
    steps = (*_removals(found), *_emptied(found, busy=busy), *_creations(found, conditions, now))
    ready = not steps and _all_there(found, conditions)
    return Plan(steps, _sentence(found, steps), RESYNC if ready else IMPATIENT, ready)


def structural(desired: Desired, world: World) -> tuple[Step, ...]:
    """Every step short of probes that separates world from desired, as if all gates were open: what `qd plan` shows."""
    found = Comparison(desired, world)
    bus = () if world.bus.ready else (EnsureBus("the bus is not running"),)
    accounts = _accounts(found, frozenset(n.cluster for n in desired.namespaces))
    workloads = (_workload(w, world.workload(w.name)) for w in desired.workloads if w.name not in found.accepted)
    return (
        *_removals(found),
        *_emptied(found, busy=frozenset()),
        *_rooms(found),
        *bus,
        *accounts,
        *_links(found, found.closed),
        *workloads,
    )


def _creations(found: Comparison, conditions: Conditions, now: float) -> Iterator[Step]:
    """Whatever makes more depends on the control plane's proofs; a revocation does not, and a probe only on what it looks at."""
    bus = found.world.bus
    proven = all_hold(found.desired, conditions, CONTROL)
    yield from _rooms(found)
    yield from _due(CONTROL, found, conditions, now)
    if proven and not bus.ready:
        yield EnsureBus(bus.reason or "the bus is not running")
    if bus.ready:
        yield from _due(BUS, found, conditions, now)
        yield from _accounts(found, found.rooms if proven else _revoking(found))
    if bus.ready and proven:
        yield from _links(found, _possible(found))
    yield from _due(MESH, found, conditions, now)
    yield from _workloads(found, proven=proven)
    yield from _due((*OBSERVED, *VALIDATED), found, conditions, now, staffed=True)


def _removals(found: Comparison) -> Iterator[Step]:
    desired, world = found.desired, found.world
    wanted = {w.name for w in desired.workloads}
    for seen in world.workloads:
        if seen.name not in wanted:
            yield RemoveWorkload(seen.name, "no longer in the spec")
    open_links = {(link.source, link.target) for link in desired.links}
    for link in world.links:
        if (link.source, link.target) not in open_links:
            yield RemoveLink(link, "no longer in the spec")


def _emptied(found: Comparison, *, busy: frozenset[str]) -> Iterator[Step]:
    clusters = {n.cluster for n in found.desired.namespaces} | busy
    for namespace in found.world.namespaces:
        if namespace.cluster not in clusters:
            yield RemoveNamespace(namespace.cluster, "no longer in the spec")


def _rooms(found: Comparison) -> Iterator[Step]:
    known = {n.cluster: n.quota for n in found.world.namespaces}
    for namespace in found.desired.namespaces:
        if namespace.cluster not in found.rooms:
            before = known.get(namespace.cluster)
            reason = "not there yet" if before is None else differs.quota(before, namespace.quota)
            yield EnsureNamespace(namespace, "add" if before is None else "change", reason)


def _accounts(found: Comparison, where: frozenset[str]) -> Iterator[Step]:
    for namespace in found.desired.namespaces:
        cluster = namespace.cluster
        if cluster in where and cluster not in found.accounts:
            agents = tuple(w.agent for w in found.desired.workloads if w.cluster == cluster)
            known = cluster in found.world.bus.accounts
            yield EnsureAccount(namespace, agents, "change" if known else "add", "an agent has no stream" if known else "no account")


def _revoking(found: Comparison) -> frozenset[str]:
    """The clusters whose account is not in force while it must shut out a quarantined replica."""
    quarantined = {seen.name.split("/")[0] for seen in found.world.workloads if seen.quarantined}
    return found.rooms & quarantined - found.world.bus.accounts


def _links(found: Comparison, which: frozenset[Link]) -> Iterator[Step]:
    known = {link.name: link for link in found.world.links}
    for link in found.desired.links:
        if link in which:
            before = known.get(link.name)
            yield EnsureLink(link, "add" if before is None else "change", "not open" if before is None else differs.link(before, link))


def _possible(found: Comparison) -> frozenset[Link]:
    """The closed links that can be opened now."""
    return frozenset(link for link in found.closed if {link.source, link.target} <= found.accounts)


def _workloads(found: Comparison, *, proven: bool) -> Iterator[Step]:
    """A workload whole where it may grow; elsewhere only what of the change makes less, which no gate may hold up."""
    awaited = {cluster for link in _possible(found) for cluster in (link.source, link.target)}
    growing = (found.rooms & found.accounts) - awaited if proven and found.world.bus.ready else frozenset[str]()
    for workload in found.desired.workloads:
        if workload.name not in found.accepted:
            seen = found.world.workload(workload.name)
            part = workload if workload.cluster in growing else _less(workload, seen)
            if part is not None and not accepted(part, seen):
                yield _workload(part, seen)


def _workload(workload: Workload, seen: WorkloadSeen | None) -> Step:
    return ApplyWorkload(workload, "add" if seen is None else "change", _difference(workload, seen))


def _less(workload: Workload, seen: WorkloadSeen | None) -> Workload | None:
    """The workload as it is held, with the fewer replicas, the quarantine or the taken back restart of the wanted one."""
    if seen is None:
        return None
    template = workload.template if seen.template == workload.template.digest else seen.held
    if template is None:
        return None  # an engine that keeps no template whole cannot be given less of it
    replicas = min(workload.replicas, seen.replicas_wanted)
    return replace(
        workload,
        template=template,
        replicas=replicas,
        restart_before=min(workload.restart_before, seen.restart_before),
        quarantined=frozenset(n for n in workload.quarantined | seen.quarantined if n < replicas),
    )


def _difference(workload: Workload, seen: WorkloadSeen | None) -> str:
    if seen is None:
        return f"{workload.replicas} replica{'' if workload.replicas == 1 else 's'}"
    parts = []
    if seen.template != workload.template.digest:
        parts += differs.template(seen.held, workload.template, seen.template)
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


def _due(proofs: Iterable[Proof], found: Comparison, conditions: Conditions, now: float, *, staffed: bool = False) -> Iterator[Probe]:
    """Probes whose evidence is missing or old, where everything they rest on has converged."""
    closed = {link.name for link in found.closed}
    for proof in proofs:
        for target, clusters in proof.targets(found.desired):
            reason = due(proof, conditions.get((proof.kind, target)), found.desired.generation, now)
            if reason and target not in closed and _stands(found, target, clusters, staffed=staffed):
                yield Probe(proof.kind, target, proof.phase, reason)


def _stands(found: Comparison, target: str, clusters: frozenset[str], *, staffed: bool) -> bool:
    if clusters and not (found.world.bus.ready and clusters <= found.accounts):
        return False
    if not staffed:
        return True
    if found.desired.workload(target):
        return target in found.running
    return all(w.name in found.running for w in found.desired.workloads if not clusters or w.cluster in clusters)


def _all_there(found: Comparison, conditions: Conditions) -> bool:
    return len(found.running) == len(found.desired.workloads) and all_hold(found.desired, conditions, PROOFS)


def _sentence(found: Comparison, steps: tuple[Step, ...]) -> str:
    counts = found.staffing.values()
    ready, wanted, failed = sum(c.ready for c in counts), sum(c.wanted for c in counts), sum(c.failed for c in counts)
    text = f"agents: {ready} of {wanted} ready"
    if serving := sum(c.serving for c in counts if c.halted):
        text += f", rollout stopped, {serving} of the earlier revision serve"
    elif failed:
        text += f", {failed} failed"
    if stopped := sum(w.stopped for w in found.desired.workloads):
        text += f", {stopped} of {len(found.desired.workloads)} roles stopped by order"
    if idle := [w for w in found.desired.workloads if isolated(w)]:
        wanted -= sum(w.replicas for w in idle)
        text += f", nobody serves {', '.join(w.name for w in idle)}: quarantined"
    if ready < wanted - failed:
        text += f", starting {wanted - ready - failed}"
    return text + (f"; {len(steps)} steps to do" if steps else "")


__all__ = ["IMPATIENT", "RESYNC", "plan", "structural"]
