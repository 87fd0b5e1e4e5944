"""Conditions: the latest result of looking, one per system, kind and target; evidence that plan and readiness read."""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy import Connection, delete, select

from quarterdeck.model.records import PLATFORM, Actor, Condition, Entry, Status
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.writing import Writing


def put(tx: Writing, system: str, condition: Condition, *, actor: Actor = PLATFORM) -> Condition:
    """Keep it. `since` is kept from before when the status is the same; journalled only when status or reason differ from before."""
    row = rows.one(tx.connection, tables.conditions, system=system, kind=condition.kind, target=condition.target)
    old = _condition(row) if row else None
    same = old is not None and old.status == condition.status
    new = replace(condition, since=old.since if old and same else condition.since)
    if row:
        rows.update(tx, tables.conditions, row, **asdict(new))
    else:
        rows.insert(tx, tables.conditions, system=system, **asdict(new))
    if old is None or (old.status, old.reason) != (new.status, new.reason):
        before = {"status": old.status, "reason": old.reason} if old else None
        after = {"status": new.status, "reason": new.reason, "message": new.message}
        verb = f"condition.{new.kind}"
        entry = Entry(actor, verb, new.target, new.reason, before=before, after=after, evidence=new.evidence or None, system=system)
        journal.append(tx, entry)
    return new


def list_(connection: Connection, system: str) -> list[Condition]:
    """All of a system, by kind and target."""
    c = tables.conditions
    query = select(c).where(c.c.system == system).order_by(c.c.kind, c.c.target)
    return [_condition(row) for row in rows.many(connection, c, query)]


def of_kind(connection: Connection, kind: str, status: Status) -> list[tuple[str, Condition]]:
    """All of one kind and status, each with its system."""
    c = tables.conditions
    found = rows.many(connection, c, select(c).where(c.c.kind == kind, c.c.status == status))
    return [(str(row["system"]), _condition(row)) for row in found]


def drop(tx: Writing, system: str, kind: str, target: str) -> None:
    """Forget one whose target is no longer wanted; not journalled, the removal of the target is."""
    row = rows.one(tx.connection, tables.conditions, system=system, kind=kind, target=target)
    if row:
        rows.delete(tx, tables.conditions, row)


def forget(tx: Writing, system: str) -> None:
    """Forget all of a system: what they were about has been stopped or removed."""
    tx.connection.execute(delete(tables.conditions).where(tables.conditions.c.system == system))


def _condition(row: rows.Row) -> Condition:
    return Condition(**{key: value for key, value in row.items() if key != "system"})  # type: ignore[arg-type]
