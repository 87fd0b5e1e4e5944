"""One thing whole: a replica with how it has been, an agent with what it answers to. Pure readings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

from quarterdeck.clock import iso
from quarterdeck.deploy import nouns, status
from quarterdeck.deploy.reconcile import Look
from quarterdeck.model.records import Record
from quarterdeck.model.world import Replica, Sample, StreamSeen, Verb, WorkloadSeen, World
from quarterdeck.version import API_VERSION

Json = dict[str, Any]
EVERY: Final = 1.0
"""Seconds from one sample to the next, where there is no gap."""
HISTORY: Final = "replica."
"""What the verbs of a replica's journal records begin with."""
_STATES: Final = {"started": "starting", "ready": "ready", "quarantined": "quarantined", "failed": "failed", "exited": "stopped"}
"""What became of a replica with a record; one that was killed has its end and its cause in the next one."""
_COLUMNS: Final = tuple(column.name for column in fields(Sample))
_PLACES: Final = 3


def youngest(seen: Iterable[WorkloadSeen], name: str) -> Replica | None:
    """The replica `cluster/agent-n`; its newest incarnation, while an older one still drains."""
    return max((r for w in seen for r in w.replicas if r.name == name), key=lambda r: r.incarnation, default=None)


def replica(seen: Replica, samples: Sequence[Sample], told: Iterable[Record]) -> Json:
    """A replica with what it uses, its last ten minutes, and what happened to it by the journal's records, newest first."""
    running = samples[-1] if samples and seen.pid is not None and samples[-1].incarnation == seen.incarnation else None
    return {
        "apiVersion": API_VERSION,
        "kind": "Replica",
        **status.replica(seen, ""),
        "memory_bytes": running.memory_bytes if running else None,
        "cpu_seconds": running.cpu_seconds if running else None,
        "utilization": dict(seen.utilization),
        "samples": {"every_seconds": EVERY, "columns": list(_COLUMNS), "rows": [_row(sample) for sample in samples]},
        "history": _in_order([_happened(record) for record in told if record.verb.removeprefix(HISTORY) in _STATES]),
    }


def _in_order(told: Sequence[Json]) -> list[Json]:
    """Newest first, one incarnation after the other: the next one may have been started before it was understood why the last one ended."""
    newest, of = 0, []
    for happened in reversed(told):
        of.append(happened["incarnation"] or newest)
        newest = max(newest, of[-1])
    order = sorted(range(len(told)), key=lambda n: (of[n], n), reverse=True)
    return [told[-1 - n] for n in order]


def _row(sample: Sample) -> list[float | None]:
    values = (getattr(sample, name) for name in _COLUMNS)
    return [round(value, _PLACES) if isinstance(value, float) else value for value in values]


def _happened(record: Record) -> Json:
    detail = record.evidence if isinstance(record.evidence, dict) else {}
    return {
        "at": iso(record.at),
        "state": _STATES[record.verb.removeprefix(HISTORY)],
        "cause": record.reason,
        "incarnation": detail.get("incarnation"),
        "pid": detail.get("pid"),
        "asked": bool(detail.get("asked")),
        "seq": record.seq,
    }


def agent(look: Look, name: str, world: World, verbs: tuple[Verb, ...] | str) -> Json | None:
    """An agent with what it answers to (or why that is not known), and by `world` what waits for it and its replicas; None for no agent."""
    item = next((item for item in nouns.agents(look) if item["name"] == name), None)
    if item is None:
        return None
    known, why = ((), verbs) if isinstance(verbs, str) else (verbs, "")
    return {
        "apiVersion": API_VERSION,
        "kind": "Agent",
        **item,
        "verbs": {verb.name: {"payload": verb.payload, "doc": verb.doc, "task": verb.task} for verb in known},
        "verbs_reason": why,
        "stream": next((stream(s) for s in world.bus.streams if f"{s.account}/{s.name}" == name), None),
        "replicas_seen": status.replicas(tuple(w for w in world.workloads if w.name == name)),
    }


def stream(seen: StreamSeen) -> Json:
    """A stream. `messages` are those that wait and those being worked on: a work-queue stream keeps a message until it is acknowledged."""
    return {"messages": seen.messages, "bytes": seen.bytes, "taken_in": seen.last}
