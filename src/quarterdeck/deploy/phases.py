"""The seven phases as people see them: pure views over desired, world and Conditions; no phase is a function that runs anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quarterdeck.deploy.converged import Comparison, Conditions, all_hold, holds
from quarterdeck.deploy.evidence import BUS, CONTROL, MESH, OBSERVED, PROOFS, VALIDATED, Proof
from quarterdeck.model.desired import Desired
from quarterdeck.model.steps import PHASES, Phase
from quarterdeck.model.world import World

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so for a phase to be done. `state` is done, waiting or failed; `cause` is for people."""

    phase: Phase
    step: str
    target: str
    state: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A phase's status (pending, running, done, failed) and one line of message."""

    name: Phase
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, why, what was completed before it, and from where it resumes."""

    phase: Phase
    step: str
    target: str
    cause: str
    details: str
    completed: tuple[str, ...]
    resume: str


def checks(desired: Desired, world: World, conditions: Conditions) -> tuple[Check, ...]:
    """Everything the seven phases stand for, in phase order."""
    return tuple(_checks(Comparison(desired, world), conditions))


def phases(desired: Desired, world: World, conditions: Conditions) -> tuple[PhaseView, ...]:
    """The status of each phase. A phase is running once the one before it is done; failed when one of its checks failed."""
    found = Comparison(desired, world)
    return _views(found, conditions, tuple(_checks(found, conditions)))


def failure(desired: Desired, world: World, conditions: Conditions) -> Failure | None:
    """The first failed check of the first failed phase, or None."""
    found = Comparison(desired, world)
    all_checks = tuple(_checks(found, conditions))
    views = _views(found, conditions, all_checks)
    broken = next((v for v in views if v.status == "failed"), None)
    if broken is None:
        return None
    check = next(c for c in all_checks if c.phase == broken.name and c.state == "failed")
    completed = tuple(v.name for v in views if v.status == "done")
    others = sum(count.answering for name, count in found.staffing.items() if name != check.target)
    details = f"{_count(others, 'replica')} of other agents {'is' if others == 1 else 'are'} running."
    resume = f"resumes at phase {PHASES.index(broken.name) + 1}"
    return Failure(broken.name, check.step, check.target, check.cause, details, completed, resume)


def _checks(found: Comparison, conditions: Conditions) -> Iterator[Check]:
    yield from _rooms(found, conditions)
    yield from _proofs(CONTROL, found.desired, conditions)
    yield from _bus(found, conditions)
    yield from _links(found, conditions)
    yield from _agents(found, conditions)
    yield from _proofs(OBSERVED, found.desired, conditions)
    yield from _proofs(VALIDATED, found.desired, conditions)


def _views(found: Comparison, conditions: Conditions, all_checks: Iterable[Check]) -> tuple[PhaseView, ...]:
    views: list[PhaseView] = []
    reached = True
    for name in PHASES:
        mine = [c for c in all_checks if c.phase == name]
        failed = next((c for c in mine if c.state == "failed"), None)
        if failed is not None and reached:
            status, message = "failed", f"{failed.target}: {failed.cause}"
        elif all(c.state == "done" for c in mine) and (reached or name == "agent_cluster_deployment"):
            status, message = "done", _message(name, found, conditions)
        else:
            status, message = ("running", _waiting(mine, conditions)) if reached else ("pending", "")
        reached = reached and status == "done"
        views.append(PhaseView(name, status, message))
    return tuple(views)


def _state(done: bool, cause: str = "") -> str:  # noqa: FBT001 a private choice of words
    return "done" if done else "failed" if cause else "waiting"


def _failed_step(conditions: Conditions, step: str, target: str) -> str:
    condition = conditions.get((f"Step:{step}", target))
    return condition.message if condition is not None and condition.status == "false" else ""


def _rooms(found: Comparison, conditions: Conditions) -> Iterator[Check]:
    for namespace in found.desired.namespaces:
        cause = _failed_step(conditions, "EnsureNamespace", namespace.cluster)
        state = _state(namespace.cluster in found.rooms, cause)
        yield Check("infrastructure_provisioning", "EnsureNamespace", namespace.cluster, state, cause)


def _bus(found: Comparison, conditions: Conditions) -> Iterator[Check]:
    cause = _failed_step(conditions, "EnsureBus", "bus")
    yield Check("data_plane_deployment", "EnsureBus", "bus", _state(found.world.bus.ready, cause), cause)
    for namespace in found.desired.namespaces:
        cause = _failed_step(conditions, "EnsureAccount", namespace.cluster)
        state = _state(namespace.cluster in found.accounts, cause)
        yield Check("data_plane_deployment", "EnsureAccount", namespace.cluster, state, cause)
    yield from _proofs(BUS, found.desired, conditions)


def _links(found: Comparison, conditions: Conditions) -> Iterator[Check]:
    for link in found.desired.links:
        cause = _failed_step(conditions, "EnsureLink", link.name)
        yield Check("service_mesh_configuration", "EnsureLink", link.name, _state(link not in found.closed, cause), cause)
    permitted = {link.name for link in found.desired.links}
    for link in found.world.links:
        if link.name not in permitted:  # a path that is still open although nothing permits it
            cause = _failed_step(conditions, "RemoveLink", link.name)
            yield Check("service_mesh_configuration", "RemoveLink", link.name, _state(False, cause), cause)
    yield from _proofs(MESH, found.desired, conditions)


def _agents(found: Comparison, conditions: Conditions) -> Iterator[Check]:
    for name, count in found.staffing.items():
        cause = _failed_step(conditions, "ApplyWorkload", name)
        if count.halted and count.serving:
            cause = f"{count.reason}; {count.serving} of {count.wanted} replicas of the earlier revision keep serving"
        elif count.failed:
            cause = f"{count.ready} of {count.wanted} answering: {count.reason}"
        yield Check("agent_cluster_deployment", "ApplyWorkload", name, _state(name in found.running, cause), cause)


def _proofs(proofs: Iterable[Proof], desired: Desired, conditions: Conditions) -> Iterator[Check]:
    for proof in proofs:
        for target, _ in proof.targets(desired):
            condition = conditions.get((proof.kind, target))
            cause = condition.message if condition is not None and condition.status == "false" else ""
            yield Check(proof.phase, proof.kind, target, _state(holds(conditions, proof.kind, target), cause), cause)


def _waiting(mine: list[Check], conditions: Conditions) -> str:
    """What a phase waits for first, and why that could not be told when it was looked at last."""
    open_ = [c for c in mine if c.state != "done"]
    if not open_:
        return ""
    tried = [conditions.get((name, open_[0].target)) for name in (open_[0].step, f"Step:{open_[0].step}")]
    why = next((f" ({one.message})" for one in tried if one is not None and one.status == "unknown"), "")
    return f"{len(mine) - len(open_)} of {len(mine)}, waiting for {open_[0].target}{why}"


def _message(name: Phase, found: Comparison, conditions: Conditions) -> str:
    desired = found.desired
    match name:
        case "infrastructure_provisioning":
            replicas = sum(w.replicas for w in desired.workloads)
            limit = sum(n.quota.replicas for n in desired.namespaces)
            memory = sum(n.quota.memory or 0 for n in desired.namespaces)
            held = f", {memory / GIB:.1f} GiB reserved" if memory else ""
            return f"{_count(len(desired.namespaces), 'namespace')}, {replicas} of {limit} replicas{held}"
        case "control_plane_deployment":
            return f"revision {desired.revision}, journal verified"
        case "data_plane_deployment":
            return _evidence(conditions, "BusSynced", desired.system)
        case "service_mesh_configuration":
            forbidden = [target for target, _ in MESH[1].targets(desired)]  # none of one cluster alone, or as one of them sees it
            closed = sum(holds(conditions, "PathClosed", target) for target in forbidden)
            refused = f", {_count(closed, 'forbidden path')} refused" if forbidden else ""
            return f"{_count(len(desired.links), 'link')} open{refused}"
        case "agent_cluster_deployment":
            counts = found.staffing.values()
            return f"{sum(c.ready for c in counts)} of {sum(c.wanted for c in counts)} replicas answering"
        case "observability_stack_setup":
            ready = all_hold(desired, conditions, OBSERVED[:1])
            return "log lines of all replicas arriving (metrics store: not in this version)" if ready else ""
        case "integration_validation":
            targets = [(p.kind, t) for p in VALIDATED for t, _ in p.targets(desired)]
            return f"{sum(holds(conditions, k, t) for k, t in targets)} of {len(targets)} probes"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _evidence(conditions: Conditions, kind: str, target: str) -> str:
    condition = conditions.get((kind, target))
    return condition.evidence if condition else ""


__all__ = ["PROOFS", "Check", "Failure", "PhaseView", "checks", "failure", "phases"]
