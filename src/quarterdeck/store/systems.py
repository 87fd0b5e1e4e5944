"""Systems: the current revision, the generation, and the index that `qd apply --index` compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, select

from quarterdeck.errors import NotFound
from quarterdeck.model.records import Actor, Entry, Record
from quarterdeck.store import changes, conditions, journal, rows, tables
from quarterdeck.store.edits import edited, row_of
from quarterdeck.store.writing import Writing


@dataclass(frozen=True, slots=True)
class System:
    """`generation` counts accepted edits (revisions, Changes made or ended); `index` is the journal sequence of the last of them."""

    name: str
    revision: int
    generation: int
    index: int
    created: float


def systems(connection: Connection) -> list[System]:
    """All that are not removed, by name."""
    query = select(tables.systems).where(tables.systems.c.removed.is_(None)).order_by(tables.systems.c.name)
    return [_system(row) for row in rows.many(connection, tables.systems, query)]


def find(connection: Connection, name: str) -> System | None:
    """One; None when there is none, or when it was removed."""
    row = row_of(connection, name)
    return None if row is None or row["removed"] is not None else _system(row)


def get(connection: Connection, name: str) -> System:
    """One; raises NotFound when there is none, or when it was removed."""
    found = find(connection, name)
    if found is None:
        msg = f"there is no system {name!r}"
        raise NotFound(msg, hint=f"systems: {', '.join(one.name for one in systems(connection)) or 'none yet, start with qd up'}")
    return found


def remove(tx: Writing, system: str, actor: Actor, reason: str) -> Record:
    """No longer wanted: its live Changes are reverted and its Conditions dropped; its revisions stay, and so does its count of them."""
    found = get(tx.connection, system)
    for change in changes.live(tx.connection, system, float("-inf")):
        changes.end(tx, change.id, "reverted", actor)
    conditions.forget(tx, system)
    before = {"revision": found.revision}
    record = journal.append(tx, Entry(actor, "system.remove", system, reason, before=before, system=system))
    edited(tx, system, record.seq, removed=tx.now)
    return record


def _system(row: rows.Row) -> System:
    name, created = str(row["name"]), cast("float", row["created"])
    revision, generation, index = (cast("int", row[key]) for key in ("revision", "generation", "index_seq"))
    return System(name, revision, generation, index, created)
