"""From what the node and the bus say to a World: pure readings, nothing asked, nothing done."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

from quarterdeck.bus import accounts, claims
from quarterdeck.bus.accounts import Revoked, account_name
from quarterdeck.bus.admin import Live
from quarterdeck.bus.keys import Keys
from quarterdeck.bus.subjects import TOKEN
from quarterdeck.engines.local import table as tables
from quarterdeck.model.desired import rollout_digest
from quarterdeck.model.measures import Delivered
from quarterdeck.model.table import Row, Table
from quarterdeck.model.world import BusSeen, Exit, Flow, Happening, Replica, Sample, StreamSeen, Usage, Used, Verb, WorkloadSeen

Json = dict[str, Any]
_COUNTS: Final = frozenset(f.name for f in fields(Sample) if f.type == "int")
"""Annotations are texts here; the node keeps whole numbers as floats too."""
_MOST_VERBS: Final = 128
_LONGEST_SCHEMA: Final = 32 << 10
_LONGEST_DOC: Final = 300
NOT_LISTED: Json = {"replicas": (), "halted": ""}


def workloads(seen: Json, system: str, table: Table) -> tuple[WorkloadSeen, ...]:
    """The workloads of one system: what the node runs, what only drains, and what is held at no replicas, which the node does not list."""
    told = {row["name"]: row for row in seen["rows"] if row["system"] == system}
    held = {row.name: row for row in table.rows if row.system == system}
    return tuple(_workload(name, told.get(name, NOT_LISTED), held.get(name)) for name in {**held, **told})


def settled(seen: Json, table: Table) -> bool:
    """Whether every slot that should work has its replica and none is on its way up."""
    told = {(row["system"], row["name"]): {r["slot"]: r["state"] for r in row["replicas"]} for row in seen["rows"]}
    wanted = ((told.get((row.system, row.name), {}), slot.n) for row in table.rows for slot in row.slots if slot.n not in row.quarantined)
    return all(states.get(n, "starting") != "starting" for states, n in wanted)


def incarnations(seen: Json) -> Callable[[Row, int], tuple[tuple[int, ...], int]]:
    """For slot n of a row: its living incarnations and the next one, as the node counts them."""
    living: defaultdict[tuple[str, str, int], tuple[int, ...]] = defaultdict(tuple)
    for row in seen["rows"]:
        for r in row["replicas"]:
            if r["incarnation"]:  # 0: a slot without a process; one that is being forked counts, though it has no pid yet
                living[row["system"], row["name"], r["slot"]] += (r["incarnation"],)
    last = seen["incarnations"]
    return lambda row, n: (living[row.system, row.name, n], last.get(f"{row.system}/{row.name}-{n}", 0) + 1)


def _workload(name: str, told: Json, held: Row | None) -> WorkloadSeen:
    return WorkloadSeen(
        name=name,
        template=held.template.digest if held else "",
        replicas_wanted=len(held.slots) if held else 0,
        restart_before=held.restart_before if held else 0.0,
        quarantined=frozenset(held.quarantined) if held else frozenset(),
        rollout_digest=rollout_digest(held.rollout, held.restart) if held else "",
        replicas=tuple(_replica(r) for r in told["replicas"]),
        halted=told["halted"],
        held=held.template if held else None,
    )


def _replica(data: Json) -> Replica:
    last = data.get("last_exit")
    circuits = tuple((to, state) for to, state in data.get("circuits", ()))
    return Replica(
        **{
            **data,
            "last_exit": Exit(**last) if last else None,
            "flows": tuple(Flow(**f) for f in data.get("flows", ())),
            "circuits": circuits,
            "utilization": tuple((verb, ratio) for verb, ratio in data.get("utilization", ())),
            "usage": Usage(**data.get("usage", {})),
        }
    )


def delivered(seen: Json, system: str) -> tuple[Delivered, ...]:
    """How long messages of one system were on their way."""
    told = (way for way in seen.get("delivered", ()) if way[0] == system)
    return tuple(Delivered(source, to, kind, tuple(counts), micros) for _, source, to, kind, counts, micros in told)


def used(seen: Json, system: str) -> tuple[Used, ...]:
    """What the clusters of one system take of their quotas."""
    rooms = ((room.partition("."), cpu, memory) for room, cpu, memory in seen.get("used", ()))
    return tuple(Used(cluster, cpu, memory) for (name, _, cluster), cpu, memory in rooms if name == system)


def samples(ring: Json) -> tuple[Sample, ...]:
    """The lines of a replica's ring; all numbers come as floats."""
    return tuple(_sample(dict(zip(ring["columns"], line, strict=True))) for line in ring["samples"])


def _sample(line: Json) -> Sample:
    return Sample(**{name: int(value) if name in _COUNTS else value for name, value in line.items()})


def verbs(told: object) -> tuple[Verb, ...]:
    """What a replica says its agent answers to. Foreign code says so: what is not as it should be is left out, and all is bounded."""
    if not isinstance(told, dict):
        return ()
    named = [(name, found) for name, found in told.items() if TOKEN.match(name) and isinstance(found, dict)]
    return tuple(
        Verb(name, _payload(found.get("payload", {})), _text(found.get("doc", "")), task=found.get("task") is True)
        for name, found in named[:_MOST_VERBS]
    )


def _text(told: object) -> str:
    return str(told)[:_LONGEST_DOC].encode("utf-8", "replace").decode()


def _payload(told: object) -> Json | None:
    """A schema that is none, or longer than anybody reads, says as much as one that allows everything."""
    if told is None:
        return None
    if not isinstance(told, dict):
        return {}
    try:
        text = json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # NaN or half a character, which no reader of ours would take; nested without end
        return {}
    return told if len(text) <= _LONGEST_SCHEMA else {}


def happening(item: Json, boot: str) -> Happening:
    """An event of the node; what happens to a system's own things is named `system/…` there."""
    system, slash, target = item["target"].partition("/")
    return Happening(system if slash else "", item["kind"], target if slash else system, item["at"], item["detail"], boot, item["seq"])


def revoked(table: Table, system: str) -> tuple[Revoked, ...]:
    """The bus users of quarantined slots: their credentials count no more, whatever the process does."""
    found = []
    for row in table.rows:
        for slot in row.slots:
            if row.system == system and slot.n in row.quarantined:
                found += [Revoked(row.cluster, claims.read(c.jwt)["sub"], c.expires) for c in slot.credentials]
    return tuple(found)


def accounts_in_force(table: Table, system: str, live: dict[str, Live], keys: Keys) -> frozenset[str]:
    """The clusters whose account on the server is exactly what the table asks for."""
    wanted = accounts.accounts(system, tables.namespaces(table, system), tables.links(table, system), revoked(table, system))
    mine = {spec.name for spec in wanted if spec.name in live and live[spec.name].digest == claims.digest(spec, keys.account)}
    return frozenset(name.removeprefix(f"{system}.") for name in mine)


def bus_of(system: str, seen: BusSeen, in_force: frozenset[str], lost: str) -> BusSeen:
    """The bus as one system sees it: its own accounts and streams, named by cluster and agent."""
    prefix = account_name(system, "")
    streams = tuple(
        StreamSeen(s.account.removeprefix(prefix), s.name.removeprefix("IN_"), s.first, s.last, s.messages, s.bytes, s.epoch)
        for s in seen.streams
        if s.account.startswith(prefix)
    )
    reason = seen.reason or lost
    return BusSeen(seen.ready and not lost, reason, seen.sync_always, seen.version, in_force, streams, seen.probe_ms)
