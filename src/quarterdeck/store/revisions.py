"""Revisions: spec text plus the digests of code tree and lock file, numbered per system; what a rollback brings back."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from quarterdeck.errors import NotFound
from quarterdeck.model.records import Actor, Entry, Revision
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.edits import edited, row_of
from quarterdeck.store.writing import Writing

KEEP: Final = 10
"""Revisions kept per system, besides those in use."""


def apply(  # noqa: PLR0917 a revision's own fields, in their order
    tx: Writing, system: str, spec_text: str, digest: str, code: str, lock: str, actor: Actor, reason: str, *, templates: str = "{}"
) -> Revision:
    """Make it the current revision; the same digest as the current one is no new one. `code` names the snapshot, `lock` the lock file."""
    old = current(tx.connection, system)
    if old and old.digest == digest:
        return old
    values: dict[str, object] = {"system": system, "number": _next(tx.connection, system), "digest": digest, "spec": spec_text}
    values |= {"code": code, "lock": lock, "at": tx.now, "actor": actor.name, "reason": reason, "templates": templates}
    new = _revision(rows.insert(tx, tables.revisions, **values))
    entry = Entry(actor, "revision.apply", system, reason, before=_told(old), after=_told(new), system=system)
    record = journal.append(tx, entry)
    edited(tx, system, record.seq, revision=new.number, removed=None)
    return new


def current(connection: Connection, system: str) -> Revision | None:
    """The one that is wanted now; None when the system is unknown or removed."""
    row = row_of(connection, system)
    return get(connection, system, int(str(row["revision"]))) if row and row["removed"] is None else None


def get(connection: Connection, system: str, number: int) -> Revision:
    """One by number; raises NotFound."""
    row = rows.one(connection, tables.revisions, system=system, number=number)
    if row is None:
        msg = f"system {system!r} has no revision {number}"
        raise NotFound(msg, hint=f"kept: {', '.join(str(one.number) for one in history(connection, system)) or 'none'} (qd history)")
    return _revision(row)


def history(connection: Connection, system: str) -> list[Revision]:
    """All that are kept, newest first."""
    r = tables.revisions
    found = rows.many(connection, r, select(r).where(r.c.system == system).order_by(r.c.number.desc()))
    return [_revision(row) for row in found]


def texts(connection: Connection) -> list[str]:
    """The spec of every revision of every system that is kept."""
    return [str(text) for text in connection.scalars(select(tables.revisions.c.spec))]


def retain(tx: Writing, in_use: frozenset[str]) -> frozenset[str]:
    """Drop rows beyond the last `KEEP` of each system unless their code is in use; gives the code digests still named, for code.retain."""
    r = tables.revisions
    seen: dict[str, int] = {}
    kept = set(in_use)
    for row in rows.many(tx.connection, r, select(r).order_by(r.c.system, r.c.number.desc())):
        one = _revision(row)
        seen[one.system] = seen.get(one.system, 0) + 1
        if seen[one.system] <= KEEP or one.code in in_use:
            kept.add(one.code)
        else:
            rows.delete(tx, r, row)
    return frozenset(kept)


def _next(connection: Connection, system: str) -> int:
    r = tables.revisions
    newest = connection.execute(select(func.max(r.c.number)).where(r.c.system == system)).scalar()
    return int(newest or 0) + 1


def _told(revision: Revision | None) -> dict[str, object] | None:
    if revision is None:
        return None
    return {"revision": revision.number, "digest": revision.digest, "code": revision.code, "lock": revision.lock}


def _revision(row: rows.Row) -> Revision:
    return Revision(**row)  # type: ignore[arg-type]
