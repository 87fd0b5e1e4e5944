"""The Journal: append-only, hash-chained facts; payloads in their own table by salted digest, so that one can be erased later.

Heartbeats, renewals and repeats of a probe do not belong here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from sqlalchemy import Connection, Select, delete, insert, or_, select

from quarterdeck.errors import NotFound, Terminal, UserError
from quarterdeck.model.records import Actor, Entry, Outcome, Record, storable
from quarterdeck.store import tables
from quarterdeck.store.chain import EMPTY, PAYLOADS, Head, canonical, link, payload_digest
from quarterdeck.store.writing import Writing

ERASED: Final = "journal.erase"
"""The verb of the record that says which payload (target = digest) was erased; its absence is a problem without one."""
PAYLOAD_LIMIT: Final = 1 << 20
REASON_LIMIT: Final = 4000
_WORDS: Final = ("actor", "via", "on_behalf_of", "verb", "target", "reason")
_RECORD: Final = insert(tables.journal)
_PAYLOAD: Final = insert(tables.payloads)
Row = Mapping[str, object]
Payload = tuple[str, str]
"""Salt and body (canonical JSON text)."""


def append(tx: Writing, entry: Entry) -> Record:
    """Journal a fact. Raises UserError for a payload over 1 MiB, TypeError or ValueError for one that is not JSON."""
    kept = {name: _seal(getattr(entry, name)) for name in PAYLOADS}
    row: dict[str, object] = {
        "seq": tx.head.seq + 1,
        "at": float(tx.now),
        "actor": storable(entry.actor.name),
        "via": storable(entry.actor.via),
        "on_behalf_of": storable(entry.actor.on_behalf_of),
        "verb": storable(entry.verb),
        "target": storable(entry.target),
        "reason": storable(entry.reason)[:REASON_LIMIT],
        "outcome": entry.outcome,
        "system": storable(entry.system),
        **{f"{name}_digest": digest for name, (digest, _) in kept.items()},
        "prev": tx.head.hash,
    }
    row["hash"] = link(row)
    found = {digest: payload for digest, payload in kept.values() if payload}
    tx.connection.execute(_RECORD, row)
    if found:
        rows = [{"digest": digest, "seq": row["seq"], "salt": salt, "body": body} for digest, (salt, body) in found.items()]
        tx.connection.execute(_PAYLOAD, rows)
    tx.head = Head(tx.head.seq + 1, str(row["hash"]), tx.now)
    return _record(row, found)


def read(
    connection: Connection,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int = 200,
    system: str | None = None,
    target: str | None = None,
    verb: str | None = None,
    cluster: str | None = None,
    since: float | None = None,
    until: float | None = None,
    newest_first: bool = False,
) -> list[Record]:
    """Records with a sequence above `after` and below `before`, with `cluster` of that cluster and what is in it.

    `since` and `until`: written from that epoch second on, and before that one. A verb that ends in `.` matches by prefix.
    Raises Terminal for one that was altered.
    """
    j = tables.journal
    query = select(j).where(j.c.seq > after).order_by(j.c.seq.desc() if newest_first else j.c.seq).limit(limit)
    query = query if before is None else query.where(j.c.seq < before)
    query = query if since is None else query.where(j.c.at >= since)
    query = query if until is None else query.where(j.c.at < until)
    query = query if system is None else query.where(j.c.system == system)
    query = query if target is None else query.where(j.c.target == target)
    query = query if cluster is None else query.where(or_(j.c.target == cluster, j.c.target.startswith(f"{cluster}/", autoescape=True)))
    if verb is not None:
        query = query.where(j.c.verb.startswith(verb, autoescape=True) if verb.endswith(".") else j.c.verb == verb)
    return [_verified(row, found) for row, found in with_payloads(connection, query)]


def head(connection: Connection) -> Head:
    """The end of the journal; `EMPTY` when there is none yet."""
    j = tables.journal
    row = connection.execute(select(j.c.seq, j.c.hash, j.c.at).order_by(j.c.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash, row.at) if row else EMPTY


def digests(connection: Connection, seq: int) -> dict[str, str]:
    """The digests of a record's payloads by field, for `erase`."""
    j = tables.journal
    row = connection.execute(select(j).where(j.c.seq == seq)).mappings().first()
    if row is None:
        msg = f"there is no journal record {seq}"
        raise NotFound(msg, hint="qd journal lists them")
    return {name: row[f"{name}_digest"] for name in PAYLOADS if row[f"{name}_digest"]}


def erase(tx: Writing, digest: str, actor: Actor, reason: str) -> Record:
    """Delete a payload for good; the chain stays valid because it covers the digest only, and this record says who did it and why."""
    gone = tx.connection.execute(delete(tables.payloads).where(tables.payloads.c.digest == digest))
    if not gone.rowcount:
        msg = f"there is no payload {digest}"
        raise NotFound(msg, hint="qd journal export writes every record with its payloads")
    return append(tx, Entry(actor, ERASED, digest, reason))


def with_payloads(connection: Connection, query: Select[Any]) -> Iterator[tuple[Row, dict[str, Payload]]]:
    """Rows of a `select(journal)…` with whatever payload rows name their sequence, in batches, so that a long journal fits in memory."""
    p = tables.payloads
    for batch in _batches(connection, query):
        numbers = [row["seq"] for row in batch]
        found: dict[object, dict[str, Payload]] = {}
        for one in connection.execute(select(p).where(p.c.seq.in_(numbers))):
            found.setdefault(one.seq, {})[one.digest] = (one.salt, one.body)
        for row in batch:
            yield row, found.get(row["seq"], {})


def _batches(connection: Connection, query: Select[Any]) -> Iterator[list[Row]]:
    for batch in connection.execute(query).mappings().partitions(500):
        yield [dict(row) for row in batch]


def _verified(row: Row, found: Mapping[str, Payload]) -> Record:
    if link(row) != row["hash"] or any(payload_digest(*payload) != digest for digest, payload in found.items()):
        msg = f"journal record {row['seq']} does not match its hash: it was altered outside the store or the disk lost a bit"
        raise Terminal(msg, hint="run qd journal verify, and restore the home from a backup")
    return _record(row, found)


def _record(row: Row, found: Mapping[str, Payload]) -> Record:
    values = [json.loads(found[d][1]) if (d := str(row[f"{name}_digest"])) in found else None for name in PAYLOADS]
    before, after, evidence = values
    actor, via, behalf, verb, target, reason = (str(row[name]) for name in _WORDS)
    outcome = cast("Outcome", row["outcome"])
    seq, at = cast("int", row["seq"]), cast("float", row["at"])
    prev, own, system = str(row["prev"]), str(row["hash"]), str(row["system"])
    return Record(seq, at, actor, via, behalf, verb, target, reason, before, after, outcome, evidence, prev, own, system)


def _seal(value: object) -> tuple[str, Payload | None]:
    if value is None:
        return "", None
    body, salt = canonical(value), os.urandom(16).hex()
    if len(body) > PAYLOAD_LIMIT:
        msg = f"a journal payload may have {PAYLOAD_LIMIT} bytes, this one has {len(body)}"
        raise UserError(msg, hint="keep the content in a file and journal its digest")
    return payload_digest(salt, body), (salt, body)
