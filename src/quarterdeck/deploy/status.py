"""The Status document: one look at a system as people and programs read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from quarterdeck.clock import iso
from quarterdeck.deploy.converged import Conditions, Staffing, staffing
from quarterdeck.deploy.evidence import DEEP, PROOFS
from quarterdeck.deploy.held import WITHIN_BUDGET
from quarterdeck.deploy.phases import PhaseView, failure, phases
from quarterdeck.deploy.readiness import Now, readiness
from quarterdeck.deploy.reconcile import Look
from quarterdeck.deploy.stopped import nothing_may_run, stop_of
from quarterdeck.model.records import Change, Condition
from quarterdeck.model.steps import PHASES, Phase
from quarterdeck.model.world import Replica, WorkloadSeen
from quarterdeck.version import API_VERSION

Json = dict[str, Any]
INCIDENTS = frozenset({"BusIntact", WITHIN_BUDGET})
"""Conditions that are no proofs but tell of a loss, or of work that is held back."""
WORDS: Mapping[str, str] = {"true": "passed", "false": "failed", "unknown": "unknown"}


def status(look: Look, now: float, *, engine: str, weakenings: tuple[str, ...], stops: Sequence[Change] = ()) -> Json:
    """The stable shape of `qd status -o json`. `stops`: those in force, by whose words it is told that all of it is stopped."""
    desired, world, conditions = look.desired, look.world, look.conditions
    found = failure(desired, world, conditions) if world.reachable else None
    counts = [staffing(w, world.workload(w.name)) for w in desired.workloads]
    seen = {w.name: _now(count, world.workload(w.name)) for w, count in zip(desired.workloads, counts, strict=True)}
    score = readiness(desired, conditions, now, seen if world.reachable else None)
    stages = [_stage(look, view, now) for view in phases(desired, world, conditions)]
    complete = all(stage["status"] == "done" for stage in stages)
    ready = complete and not nothing_may_run(desired) and (look.plan.ready or (_served(look) and found is None))
    return {
        "apiVersion": API_VERSION,
        "kind": "Status",
        "system": desired.system,
        "ready": ready,
        "stopped": stop_of(desired.workloads, stops),
        "sentence": look.plan.outcome,
        "phases": stages,
        "readiness": {"score": score.score, "points": [asdict(p) for p in score.points], "next": list(score.next)},
        "agents": {"ready": sum(c.ready for c in counts), "desired": sum(c.wanted for c in counts)},
        "capacity": {
            "ready": sum(c.answering for c in counts),
            "desired": sum(c.wanted for c in counts),
            "max": sum(n.quota.replicas for n in desired.namespaces),
        },
        "validation": validation(look, now),
        "failure": None if found is None else {**asdict(found), "completed": list(found.completed)},
        "engine": engine,
        "revision": desired.revision,
        "generation": desired.generation,
        "index": desired.index,
        "observed_generation": look.observed_generation,
        "incidents": incidents(conditions),
        "weakenings": sorted({*weakenings, *world.weakenings}),
    }


def _now(count: Staffing, seen: WorkloadSeen | None) -> Now:
    """What evidence about an agent is held against. What answers while a rollout is stopped counts as it is told elsewhere."""
    lacks = f"{count.answering} of {count.wanted} answering" if count.answering < count.wanted else ""
    return Now(lacks, max((replica.since for replica in seen.replicas), default=0.0) if seen else 0.0)


def incidents(conditions: Conditions) -> list[Json]:
    """What went wrong lately and cost something, though it was mended, and what holds work back; the newest first."""
    found = [c for c in conditions.values() if c.kind in INCIDENTS and c.status == "false"]
    newest = sorted(found, key=lambda c: -c.since)
    return [{"kind": c.kind, "target": c.target, "message": c.message, "evidence": c.evidence, "at": iso(c.since)} for c in newest]


def _served(look: Look) -> bool:
    """Everything is there; what the plan still wants is only fresher evidence."""
    return bool(look.plan.steps) and all(s.action == "probe" and s.reason == "evidence grew old" for s in look.plan.steps)


def _stage(look: Look, view: PhaseView, now: float) -> Json:
    """A phase is told as done once the loop has written that down, with the time it took: never one without the other."""
    took = seconds(look, view.name)
    status = "running" if view.status == "done" and took is None else view.status
    match status:
        case "running":
            took = running(look, view.name, now)
        case "failed":
            took = failing(look, view.name)
        case "pending":
            took = None
    return {"name": view.name, "status": status, "seconds": took, "message": view.message}


def seconds(look: Look, phase: str) -> float | None:
    """How long a phase took in the current revision, measured when it was done; None while it is not."""
    done = look.conditions.get(("Phase", phase))
    return float(done.evidence) if done is not None and done.generation == look.desired.revision else None


def running(look: Look, phase: Phase, now: float) -> float | None:
    """Seconds since the phase before was whole in the current revision; None for the first one, and for one that was whole before."""
    before, mine = (look.conditions.get(("Phase", name)) for name in (PHASES[PHASES.index(phase) - 1], phase))
    current = [done is not None and done.generation == look.desired.revision for done in (before, mine)]
    return round(max(now - before.observed, 0.0), 3) if before and phase != PHASES[0] and current == [True, False] else None


def failing(look: Look, phase: Phase) -> float | None:
    """Seconds since a phase that failed was last whole in the current revision, else since the one before it was; None without either."""
    whole = [look.conditions.get(("Phase", name)) for name in PHASES[: PHASES.index(phase) + 1][-2:]]
    known = [done.observed for done in whole if done is not None and done.generation == look.desired.revision]
    return max(look.world.at - known[-1], 0.0) if known else None


def validation(look: Look, now: float) -> list[Json]:
    """Every proof with its result, evidence and age."""
    kinds = {p.kind for p in (*PROOFS, *DEEP)}
    found = [c for c in look.conditions.values() if c.kind in kinds]
    return [
        {
            "name": f"{c.kind} {c.target}",
            "status": WORDS[c.status],
            "evidence": c.evidence or c.message,
            "age_seconds": round(now - c.observed, 1),
        }
        for c in sorted(found, key=_in_phase_order)
    ]


def _in_phase_order(c: Condition) -> tuple[int, str, str]:
    phase = next((n for n, name in enumerate(PHASES) if name == c.phase), len(PHASES))
    return phase, c.kind, c.target


def replica(seen: Replica, now_revision: str) -> Json:
    """The stable shape of one replica."""
    last = seen.last_exit
    return {
        "name": seen.name,
        "cluster": seen.cluster,
        "agent": seen.agent,
        "state": seen.state,
        "reason": seen.reason,
        "pid": seen.pid,
        "incarnation": seen.incarnation,
        "restarts": seen.restarts,
        "revision": seen.revision[:12] or now_revision,
        "since": iso(seen.since),
        "lag_ms": seen.lag,
        "inflight": seen.inflight,
        "last_exit": None if last is None else {**asdict(last), "at": iso(last.at)},
        "handled": seen.handled,
        "failed": seen.failed,
        **asdict(seen.usage),
        "flows": [asdict(flow) for flow in seen.flows],
        "circuits": dict(seen.circuits),
    }


def replicas(seen: tuple[WorkloadSeen, ...]) -> list[Json]:
    """All replicas of a system in the order of their names."""
    found = [r for w in seen for r in w.replicas]
    return [replica(r, "") for r in sorted(found, key=lambda r: (r.cluster, r.agent, r.slot, r.incarnation))]
