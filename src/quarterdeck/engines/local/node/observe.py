"""What the node sees, as the JSON of its protocol."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from quarterdeck.engines.local.node.decide import rollout_key
from quarterdeck.engines.local.node.fleet import Workload
from quarterdeck.engines.local.node.memory import FRESH
from quarterdeck.engines.local.node.process import Process
from quarterdeck.model.desired import rollout_digest
from quarterdeck.model.world import Replica, Usage

_FIELDS: Final = tuple(field.name for field in fields(Replica))


def row(workload: Workload, *, may_start: bool = True) -> dict[str, Any]:
    """A workload: what was accepted, and every replica, those that failed included and, if they `may_start`, those that wait.

    `halted` is why its rollout stopped.
    """
    asked = workload.row
    living = [_replica(workload, process) for process in workload.processes.values()]
    present = {process.identity.n for process in workload.processes.values()}
    absent = [_absent(workload, slot.n) for slot in asked.slots if slot.n not in present]
    if not may_start:
        absent = [replica for replica in absent if replica.state != "pending"]
    return {
        "name": asked.name,
        "system": asked.system,
        "template": asked.template.digest,
        "slots_wanted": [slot.n for slot in asked.slots],
        "restart_before": asked.restart_before,
        "quarantined": list(asked.quarantined),
        "rollout_digest": rollout_digest(asked.rollout, asked.restart),
        "halted": _halted(workload),
        "replicas": [_told(replica) for replica in sorted([*living, *absent], key=lambda r: (r.slot, r.incarnation))],
    }


def _told(replica: Replica) -> dict[str, Any]:
    """As `asdict`, which copies every value deeply and would be most of what a look costs."""
    exit_ = replica.last_exit
    return {
        **{name: getattr(replica, name) for name in _FIELDS},
        "reason": _text(replica.reason),
        "last_exit": None if exit_ is None else {**asdict(exit_), "detail": _text(exit_.detail)},
        "flows": [asdict(flow) for flow in replica.flows],
        "usage": asdict(replica.usage),
    }


def _text(told: str) -> str:
    """Words of foreign code may hold half a character, which JSON in UTF-8 cannot carry to whoever looks."""
    return told.encode("utf-8", "replace").decode()


def _halted(workload: Workload) -> str:
    halt = workload.halted
    return halt.reason if halt is not None and halt.key == rollout_key(workload.row) else ""


def _replica(workload: Workload, process: Process) -> Replica:
    identity = process.identity
    halted = _halted(workload)
    old = identity.template.digest != workload.row.template.digest
    told = process.vitals.beat
    cause = workload.memory.get(identity.n, FRESH).reason if process.state == "starting" else ""
    return Replica(
        name=identity.name,
        cluster=identity.cluster,
        agent=identity.agent,
        slot=identity.n,
        state=process.state,
        reason=process.reason or (f"rollout stopped: {halted}" if halted and old else cause),
        pid=process.pid,
        incarnation=identity.incarnation,
        restarts=workload.restarts[identity.n],
        revision=identity.template.digest,
        since=process.since,
        started=process.started,
        last_exit=workload.last.get(identity.n),
        progress=told.progress,
        lag=told.lag,
        inflight=told.inflight,
        forked=process.forked,
        handled=told.handled,
        failed=told.failed,
        flows=process.flows(),
        circuits=told.circuits,
        utilization=process.utilization(),
        usage=ring.usage(identity.incarnation) if (ring := workload.rings.get(identity.n)) else Usage(),
    )


def _absent(workload: Workload, n: int) -> Replica:
    asked, memory, last = workload.row, workload.memory.get(n, FRESH), workload.last.get(n)
    state = "quarantined" if n in asked.quarantined else "failed" if memory.failed_at is not None else "pending"
    waits = "waits for room or for its bus credential" if state == "pending" else ""
    return Replica(
        name=f"{asked.name}-{n}",
        cluster=asked.cluster,
        agent=asked.agent,
        slot=n,
        state=state,
        reason=memory.reason or waits,
        pid=None,
        incarnation=0,
        restarts=workload.restarts[n],
        revision=asked.template.digest,
        since=last.at if last else 0.0,
        started=0.0,
        last_exit=last,
    )


def machine() -> dict[str, Any]:
    """Memory in bytes, cores, and the load of the last minute."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {name.rstrip(":"): int(value) * 1024 for name, value, *_ in lines}
    return {
        "memory_total": memory["MemTotal"],
        "memory_available": memory["MemAvailable"],
        "cpus": os.cpu_count(),
        "load1": os.getloadavg()[0],
    }
