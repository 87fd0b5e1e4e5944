"""That a person stopped all of something, as it is told wherever one looks: by whom, since when, why, and how it goes on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quarterdeck.clock import iso
from quarterdeck.model.desired import Desired, Workload
from quarterdeck.model.records import Change

Json = dict[str, Any]


def stop_of(workloads: Sequence[Workload], stops: Sequence[Change]) -> Json | None:
    """Of the widest stop that is to be ended first, when nothing of these workloads may run; None when something may."""
    if not workloads or not all(w.stopped for w in workloads):
        return None
    covering = [stop for stop in stops if any(_covers(stop.target, w) for w in workloads)]
    return min((told(stop) for stop in covering), key=lambda one: one["target"].count("/") - one["target"].endswith(":"), default=None)


def told(stop: Change) -> Json:
    """One stop."""
    return {"target": stop.target, "by": stop.actor, "since": iso(stop.at), "reason": stop.reason, "command": way_back(stop.target)}


def way_back(target: str) -> str:
    """The command that ends a stop of `system:`, a cluster or `cluster/agent`."""
    return "qd start fleet" if target.endswith(":") else f"qd start {'agent' if '/' in target else 'cluster'} {target}"


def nothing_may_run(desired: Desired) -> bool:
    """Whether all of a system is stopped."""
    return bool(desired.workloads) and all(w.stopped for w in desired.workloads)


def in_words(stop: Json) -> str:
    """`stopped by uid:0 since 2026-11-28T16:12:01.250Z: incident 4711`."""
    return f"stopped by {stop['by']} since {stop['since']}: {stop['reason']}"


def _covers(target: str, workload: Workload) -> bool:
    return target.endswith(":") or target in (workload.cluster, workload.name)
