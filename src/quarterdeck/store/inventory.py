"""The inventory of what we made on the bus, with watermarks: not found for something in here is an incident, never a reason to create.

A single-server stream whose file lost a bit comes back shorter or empty without a word; comparing with the watermark finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from quarterdeck.errors import Conflict, NotFound
from quarterdeck.model.records import PLATFORM, Actor, Entry
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.writing import Writing


@dataclass(frozen=True, slots=True)
class Thing:
    """`kind` is account or stream, say; `epoch` counts how often it was made anew; `last` only rises in one. Times in seconds."""

    system: str
    kind: str
    name: str
    epoch: int
    first: int
    last: int
    messages: int
    made: float
    seen: float
    gone: float | None = None


def made(tx: Writing, system: str, kind: str, name: str, *, actor: Actor = PLATFORM, reason: str = "") -> Thing:
    """Note it **before** it is first used; again for something that is there changes nothing, after `gone` it starts a new epoch."""
    row = rows.one(tx.connection, tables.inventory, system=system, kind=kind, name=name)
    if row and row["gone"] is None:
        return _thing(row)
    fresh: dict[str, object] = {"first": 0, "last": 0, "messages": 0, "made": tx.now, "seen": tx.now, "gone": None}
    if row:
        new = _thing(rows.update(tx, tables.inventory, row, epoch=_thing(row).epoch + 1, **fresh))
    else:
        new = _thing(rows.insert(tx, tables.inventory, system=system, kind=kind, name=name, epoch=1, **fresh))
    journal.append(tx, Entry(actor, "inventory.made", f"{kind}/{name}", reason, after={"epoch": new.epoch}, system=system))
    return new


def next_epoch(connection: Connection, system: str, kind: str, name: str) -> tuple[int, int]:
    """Under which epoch it is to be made if it is not there, and how far the one of the epoch before had come."""
    row = rows.one(connection, tables.inventory, system=system, kind=kind, name=name)
    if row is None:
        return 1, 0
    return (_thing(row).epoch + 1, _thing(row).last) if row["gone"] is not None else (_thing(row).epoch, 0)


def gone(tx: Writing, system: str, kind: str, name: str, *, actor: Actor = PLATFORM, reason: str) -> Thing:
    """Note that it was removed on purpose, or is accepted as lost; raises NotFound."""
    row = _row(tx.connection, system, kind, name)
    old = _thing(row)
    new = _thing(rows.update(tx, tables.inventory, row, gone=tx.now))
    before = {"epoch": old.epoch, "last": old.last, "messages": old.messages}
    journal.append(tx, Entry(actor, "inventory.gone", f"{kind}/{name}", reason, before=before, system=system))
    return new


def watermark(tx: Writing, system: str, kind: str, name: str, *, first: int, last: int, messages: int) -> Thing:
    """Raise the watermark to what was seen; not journalled. Raises NotFound, and Conflict when the thing has gone back."""
    row = _row(tx.connection, system, kind, name)
    lost = behind(_thing(row), last)
    if lost:
        raise Conflict(lost, hint="do not recreate it: its file is damaged or was replaced; qd explain shows since when")
    return _thing(rows.update(tx, tables.inventory, row, first=first, last=last, messages=messages, seen=tx.now))


def behind(thing: Thing, last: int) -> str:
    """A sentence when the thing as seen is behind its watermark; empty when all is well."""
    if last >= thing.last:
        return ""
    return f"{thing.kind} {thing.name} went back from {thing.last} to {last}: {thing.last - last} messages are lost"


def list_(connection: Connection, system: str | None = None, kind: str | None = None) -> list[Thing]:
    """What should be there, by system, kind and name."""
    i = tables.inventory
    query = select(i).where(i.c.gone.is_(None)).order_by(i.c.system, i.c.kind, i.c.name)
    query = query if system is None else query.where(i.c.system == system)
    query = query if kind is None else query.where(i.c.kind == kind)
    return [_thing(row) for row in rows.many(connection, i, query)]


def _row(connection: Connection, system: str, kind: str, name: str) -> rows.Row:
    row = rows.one(connection, tables.inventory, system=system, kind=kind, name=name)
    if row is None or row["gone"] is not None:
        msg = f"the inventory of {system!r} has no {kind} {name}"
        raise NotFound(msg, hint="qd up makes what is missing")
    return row


def _thing(row: rows.Row) -> Thing:
    return Thing(**row)  # type: ignore[arg-type]
