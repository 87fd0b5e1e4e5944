"""Lists of nouns in their stable shapes, one function a noun. Pure readings of a Look."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from quarterdeck.clock import iso
from quarterdeck.deploy.converged import Staffing, staffing
from quarterdeck.deploy.reconcile import Look
from quarterdeck.deploy.traffic import NO_TRAFFIC, traffic
from quarterdeck.model.desired import Desired, Workload
from quarterdeck.model.records import Change, Condition, Record, Revision
from quarterdeck.model.world import WorkloadSeen
from quarterdeck.version import API_VERSION

Json = dict[str, Any]


def clusters(look: Look, url: str) -> list[Json]:
    """Quota, endpoints, links, health, capacity and share of each cluster."""
    desired = look.desired
    total = sum(w.replicas for w in desired.workloads) or 1
    items = []
    for namespace in desired.namespaces:
        mine = [w for w in desired.workloads if w.cluster == namespace.cluster]
        counts = [staffing(w, look.world.workload(w.name)) for w in mine]
        ready, wanted = sum(c.answering for c in counts), sum(c.wanted for c in counts)
        quota, used = namespace.quota, look.world.used_by(namespace.cluster)
        items.append(
            {
                "name": namespace.cluster,
                "namespace": f"{desired.system}.{namespace.cluster}",
                "quota": {
                    "used": {"cpu": used.cpu, "memory": used.memory, "replicas": sum(w.replicas for w in mine)},
                    "limit": {"cpu": quota.cpu, "memory": quota.memory, "replicas": quota.replicas},
                },
                "endpoints": [f"{url}/v1/agents/{w.name}/ask" for w in mine],
                "links": [k.name for k in desired.links if namespace.cluster in (k.source, k.target)],
                "autoscaling": [{"agent": w.name, "min": w.bounds[0], "max": w.bounds[1]} for w in mine],
                "health": _health(counts),
                "capacity": {"ready": ready, "desired": wanted, "max": quota.replicas},
                "share": round(sum(w.replicas for w in mine) / total, 3),
            }
        )
    return items


def _health(counts: list[Staffing]) -> str:
    if all(c.ready >= c.wanted for c in counts):
        return "healthy"
    return "degraded" if any(c.answering for c in counts) else "down"


def agents(look: Look) -> list[Json]:
    """Each agent role with its counts and what set them: `ready` are all that work is done by, `updated` those of them as wanted now."""
    items = []
    for w in look.desired.workloads:
        count = staffing(w, look.world.workload(w.name))
        items.append(
            {
                "name": w.name,
                "cluster": w.cluster,
                "agent": w.agent,
                "run": w.template.run,
                "revision": w.revision,
                "template": w.template.digest[:12],
                "replicas": {
                    "ready": count.answering,
                    "updated": count.ready,
                    "desired": w.replicas,
                    "min": w.bounds[0],
                    "max": w.bounds[1],
                },
                "quarantined": sorted(w.quarantined),
                "because": list(w.because),
                "reason": count.reason,
            }
        )
    return items


def links(look: Look, seen: tuple[WorkloadSeen, ...] | None = None) -> list[Json]:
    """Each link, whether it is open, its last proof, and by `seen` (None: the engine cannot be asked) what goes over it."""
    visible = {n.cluster for n in look.desired.namespaces}
    items = []
    for k in look.desired.links:
        proof = look.conditions.get(("LinkCarries", k.name)) or look.conditions.get(("LinkOpen", k.name))
        items.append(
            {
                "name": k.name,
                "from": k.source,
                "to": k.target,
                "open": k in look.world.links,
                "timeout": k.timeout,
                "attempts": k.attempts,
                "breaker": {"failures": k.breaker.failures, "reset": k.breaker.reset, "probes": k.breaker.probes},
                "evidence": proof.evidence if proof else "",
                **(NO_TRAFFIC if seen is None or k.source not in visible else traffic(k, seen)),
            }
        )
    return items


def change(c: Change, desired: Desired | None = None) -> Json:
    """A Change; `cut` tells what keeps it from all that it asks for, as far as `desired` is known."""
    return {
        "name": str(c.id),
        "id": c.id,
        "system": c.system,
        "author": c.author,
        "actor": c.actor,
        "target": c.target,
        "patch": {"field": c.patch.field, "value": c.patch.value},
        "reason": c.reason,
        "at": iso(c.at),
        "until": iso(c.until) if c.until is not None else None,
        "state": c.state,
        "cut": cut_of(c, desired) if desired is not None else None,
    }


def cut_of(c: Change, desired: Desired) -> str | None:
    """`at most 4`: the bound of spec or quota that a live Change of a number of replicas goes beyond; None where it is within them."""
    workload = desired.workload(c.target.rpartition(":")[2])
    if c.state != "live" or c.patch.field != "replicas" or workload is None or not isinstance(c.patch.value, int):
        return None
    least, most = workload.bounds
    free = least == most and c.author == "human"  # a plain number binds automation alone
    quota = next((n.quota.replicas for n in desired.namespaces if n.cluster == workload.cluster), most)
    most = quota if free else min(most, quota)
    if c.patch.value > most:
        return f"at most {most}"
    return f"at least {least}" if c.patch.value < least and not free else None


def condition(c: Condition, now: float) -> Json:
    """A Condition."""
    return {
        "name": f"{c.kind} {c.target}",
        "kind": c.kind,
        "target": c.target,
        "status": c.status,
        "reason": c.reason,
        "message": c.message,
        "since": iso(c.since),
        "evidence": c.evidence,
        "age_seconds": round(now - c.observed, 1),
        "generation": c.generation,
        "phase": c.phase,
    }


def revision(r: Revision, *, current: bool) -> Json:
    """A revision without its text."""
    return {
        "name": str(r.number),
        "system": r.system,
        "number": r.number,
        "digest": r.digest,
        "code": r.code,
        "lock": r.lock,
        "at": iso(r.at),
        "actor": r.actor,
        "reason": r.reason,
        "current": current,
    }


def record(r: Record) -> Json:
    """A journal record."""
    return {
        "seq": r.seq,
        "at": iso(r.at),
        "system": r.system,
        "actor": r.actor,
        "via": r.via,
        "on_behalf_of": r.on_behalf_of,
        "verb": r.verb,
        "target": r.target,
        "reason": r.reason,
        "before": r.before,
        "after": r.after,
        "outcome": r.outcome,
        "evidence": r.evidence,
        "prev": r.prev,
        "hash": r.hash,
    }


def explain(look: Look, target: str) -> Json | None:
    """Spec, desired, state, plan and Conditions of `cluster`, `cluster/agent` or `cluster/agent-n`; None when there is no such thing."""
    desired = look.desired
    workload = desired.workload(target) or desired.workload(target.rpartition("-")[0])
    cluster = next((n for n in desired.namespaces if n.cluster == target), None)
    if workload is None and cluster is None:
        return None
    name = workload.name if workload is not None else target
    seen = [r for w in look.world.workloads if w.name == name or w.name.startswith(f"{target}/") for r in w.replicas]
    wanted = [r for r in seen if r.name == target] or seen
    if look.world.reachable and target not in (name, *(r.name for r in seen)):
        return None  # a number that no replica has
    related = [c for c in look.conditions.values() if c.target == name or name.partition("/")[0] in c.target.split("->")]
    return {
        "apiVersion": API_VERSION,
        "kind": "Explanation",
        "target": target,
        "system": desired.system,
        "sentence": _cluster_sentence(look, target) if cluster else _workload_sentence(look, name),
        "spec": asdict(cluster.quota) if cluster else _spec_of(workload),
        "desired": {"revision": desired.revision, "generation": desired.generation, "because": list(workload.because) if workload else []},
        "state": {"replicas": [{name: getattr(r, name) for name in ("name", "state", "reason", "pid", "restarts")} for r in wanted]},
        "plan": [
            {"phase": s.phase, "action": s.action, "target": s.target, "reason": s.reason} for s in look.plan.steps if name in s.target
        ],
        "conditions": [condition(c, c.observed) for c in related],
    }


def explain_all(look: Look) -> Json:
    """The same of a whole system: its steps, and the Conditions that do not hold."""
    desired = look.desired
    return {
        "apiVersion": API_VERSION,
        "kind": "Explanation",
        "target": f"{desired.system}:",
        "system": desired.system,
        "sentence": look.plan.outcome,
        "spec": {"clusters": len(desired.namespaces), "agents": len(desired.workloads), "links": len(desired.links)},
        "desired": {"revision": desired.revision, "generation": desired.generation, "because": []},
        "state": {"replicas": []},
        "plan": [{"phase": s.phase, "action": s.action, "target": s.target, "reason": s.reason} for s in look.plan.steps],
        "conditions": [condition(c, c.observed) for c in look.conditions.values() if c.status != "true"],
    }


def _cluster_sentence(look: Look, cluster: str) -> str:
    """Of its own agents, whatever the rest of the system does."""
    counts = [staffing(w, look.world.workload(w.name)) for w in look.desired.workloads if w.cluster == cluster]
    reasons = dict.fromkeys(count.reason for count in counts if count.reason)
    told = f"{sum(c.answering for c in counts)} of {sum(c.wanted for c in counts)} answering"
    return told + (f": {'; '.join(reasons)}" if reasons else "")


def _workload_sentence(look: Look, name: str) -> str:
    workload = look.desired.workload(name)
    if workload is None:
        return ""
    count = staffing(workload, look.world.workload(name))
    return f"{count.answering} of {count.wanted} answering" + (f": {count.reason}" if count.reason else "")


def _spec_of(workload: Workload | None) -> Json:
    if workload is None:
        return {}
    template = workload.template
    return {
        "run": template.run,
        "replicas": workload.replicas,
        "bounds": list(workload.bounds),
        "template": template.digest[:12],
        "introduced": f"revision {workload.revision}",
        "env": dict(template.env),
        "secrets": [name for name, _ in template.secrets],
        "rollout": asdict(workload.rollout),
        "restart": asdict(workload.restart),
    }
