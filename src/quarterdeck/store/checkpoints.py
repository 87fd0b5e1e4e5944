"""Signed checkpoints: each closes a segment of the journal, and retention drops whole segments at the moment one is made.

The signature (Ed25519) covers the head, the previous checkpoint and `floor`, the first sequence still kept; so records that retention did
not drop are missed when they go. The last dropped segment's checkpoint stays as the anchor that the oldest kept record links to.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from nacl.signing import SigningKey
from sqlalchemy import Connection, delete, func, insert, select

from quarterdeck.model.records import PLATFORM, Entry
from quarterdeck.store import journal, keys, tables
from quarterdeck.store.chain import GENESIS, checkpoint_digest, signing_input
from quarterdeck.store.writing import Writing


@dataclass(frozen=True, slots=True)
class Limits:
    """How much journal is kept; whole segments go, oldest first, and the newest always stays. `bytes` counts text, not pages."""

    records: int = 1_000_000
    bytes: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Number n covers records up to `seq` with head `hash`; `records` and `bytes` are its own segment's; key and signature are hex."""

    n: int
    floor: int
    seq: int
    hash: str
    at: float
    records: int
    bytes: int
    prev: str
    key: str
    signature: str = ""


def make(tx: Writing, signer: SigningKey, limits: Limits) -> Checkpoint | None:
    """Close the open segment and drop what the limits do not allow; None when nothing was journalled since the last one."""
    last = newest(tx.connection)
    if tx.head.seq <= (last.seq if last else 0):
        return None
    floor = _retain(tx, last, limits)
    before = last.seq if last else 0
    unsigned = Checkpoint(
        n=last.n + 1 if last else 1,
        floor=floor,
        seq=tx.head.seq,
        hash=tx.head.hash,
        at=float(tx.now),
        records=tx.head.seq - before,
        bytes=_bytes(tx.connection, before),
        prev=checkpoint_digest(asdict(last)) if last else GENESIS,
        key=keys.public(signer),
    )
    row = {**asdict(unsigned), "signature": signer.sign(signing_input(asdict(unsigned))).signature.hex()}
    tx.connection.execute(insert(tables.checkpoints), row)
    return Checkpoint(**row)


def newest(connection: Connection) -> Checkpoint | None:
    """The last one made."""
    c = tables.checkpoints
    row = connection.execute(select(c).order_by(c.c.n.desc()).limit(1)).mappings().first()
    return Checkpoint(**row) if row else None


def list_(connection: Connection) -> list[Checkpoint]:
    """All that are kept, oldest first; the first may be the anchor of dropped segments."""
    c = tables.checkpoints
    return [Checkpoint(**row) for row in connection.execute(select(c).order_by(c.c.n)).mappings()]


def kept(connection: Connection) -> tuple[int, int]:
    """(records, bytes) of all segments still kept, the open one included."""
    last = newest(connection)
    head = journal.head(connection)
    if last is None:
        return head.seq, _bytes(connection, 0)
    c = tables.checkpoints
    closed = connection.execute(select(func.sum(c.c.bytes)).where(c.c.seq >= last.floor)).scalar_one()
    return head.seq - last.floor + 1, int(closed) + _bytes(connection, last.seq)


def _retain(tx: Writing, last: Checkpoint | None, limits: Limits) -> int:
    """Drop segments and say so in the journal; gives the first sequence kept."""
    floor = last.floor if last else 1
    dropped = _surplus(tx.connection, floor, limits)
    if not dropped:
        return floor
    floor = dropped[-1].seq + 1
    j, p, c = tables.journal, tables.payloads, tables.checkpoints
    tx.connection.execute(delete(j).where(j.c.seq < floor))
    tx.connection.execute(delete(p).where(p.c.seq < floor))
    tx.connection.execute(delete(c).where(c.c.n < dropped[-1].n))
    evidence = {"records": sum(one.records for one in dropped), "bytes": sum(one.bytes for one in dropped)}
    span = f"{dropped[0].seq - dropped[0].records + 1}..{dropped[-1].seq}"
    journal.append(tx, Entry(PLATFORM, "journal.retain", span, "limits of the journal", evidence=evidence))
    return floor


def _surplus(connection: Connection, floor: int, limits: Limits) -> list[Checkpoint]:
    records, size = kept(connection)
    dropped: list[Checkpoint] = []
    for segment in (one for one in list_(connection) if one.seq >= floor):
        if records <= limits.records and size <= limits.bytes:
            break
        dropped.append(segment)
        records -= segment.records
        size -= segment.bytes
    return dropped


def _bytes(connection: Connection, after: int) -> int:
    j, p = tables.journal, tables.payloads
    words = (j.c.actor, j.c.via, j.c.on_behalf_of, j.c.verb, j.c.target, j.c.reason, j.c.system)
    fixed = 5 * 64 + 32  # five digests in hex, the numbers and the outcome
    text = sum((func.length(word) for word in words[1:]), func.length(words[0]))
    rows = connection.execute(select(func.coalesce(func.sum(text + fixed), 0)).where(j.c.seq > after)).scalar_one()
    bodies = connection.execute(select(func.coalesce(func.sum(func.length(p.c.body)), 0)).where(p.c.seq > after)).scalar_one()
    return int(rows) + int(bodies)
