"""Changes: the only way desired state moves besides a new revision. Added live, ended once, never edited."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Final, Literal

from sqlalchemy import Connection, func, or_, select

from quarterdeck import states
from quarterdeck.errors import NotFound
from quarterdeck.model.records import Actor, Change, Entry, Patch
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.chain import canonical
from quarterdeck.store.edits import edited, require
from quarterdeck.store.writing import Writing

Ended = Literal["expired", "reverted"]
_UNSTORED: Final = ("ended", "field", "value")


def add(tx: Writing, change: Change, *, via: str = "api") -> Change:
    """Keep a Change; its `id`, `at` and `state` are given here. `via` is the door. Raises NotFound for an unknown system."""
    require(tx.connection, change.system)
    new = replace(change, id=_next(tx.connection), at=float(tx.now), state=states.CHANGE.first)
    values = asdict(new)
    patch = values.pop("patch")
    rows.insert(tx, tables.changes, **values, field=patch["field"], value=canonical(patch["value"]), ended=None)
    after = {"change": new.id, "author": new.author, **patch, "until": new.until}
    record = journal.append(tx, Entry(Actor(new.actor, via), "change.add", new.target, new.reason, after=after, system=new.system))
    edited(tx, new.system, record.seq)
    return new


def end(tx: Writing, id: int, state: Ended, actor: Actor, reason: str = "") -> Change:  # noqa: A002 the noun's own word
    """Expire or revert one. Raises NotFound, or InvalidTransition when it has ended before."""
    row = rows.one(tx.connection, tables.changes, id=id)
    if row is None:
        msg = f"there is no change {id}"
        raise NotFound(msg, hint="qd get changes lists them")
    old = _change(row)
    story = (f"added {old.at:.0f} by {old.actor}: {old.reason}", f"now {old.state}")
    new = replace(old, state=states.CHANGE.step(old.state, state, story=story))
    rows.update(tx, tables.changes, row, state=new.state, ended=tx.now)
    before = {"change": old.id, "author": old.author, **asdict(old.patch)}
    verb = "change.expire" if state == "expired" else "change.revert"
    record = journal.append(tx, Entry(actor, verb, old.target, reason or old.reason, before=before, system=old.system))
    edited(tx, old.system, record.seq)
    return new


def live(connection: Connection, system: str, now: float) -> list[Change]:
    """Those in force at `now`, oldest first; one whose time is over does not count, whether or not somebody has ended it."""
    c = tables.changes
    query = select(c).where(c.c.system == system, c.c.state == "live", or_(c.c.until.is_(None), c.c.until > now)).order_by(c.c.id)
    return [_change(row) for row in rows.many(connection, c, query)]


def overdue(connection: Connection, now: float) -> list[Change]:
    """Those still live whose time is over, of all systems: to be ended as expired."""
    c = tables.changes
    query = select(c).where(c.c.state == "live", c.c.until <= now).order_by(c.c.id)
    return [_change(row) for row in rows.many(connection, c, query)]


def get(connection: Connection, id: int) -> Change:  # noqa: A002 the noun's own word
    """One by id; raises NotFound."""
    row = rows.one(connection, tables.changes, id=id)
    if row is None:
        msg = f"there is no change {id}"
        raise NotFound(msg, hint="qd get changes lists them")
    return _change(row)


def list_(connection: Connection, system: str | None = None, *, limit: int = 200) -> list[Change]:
    """The newest first, live and ended."""
    c = tables.changes
    query = select(c).order_by(c.c.id.desc()).limit(limit)
    query = query if system is None else query.where(c.c.system == system)
    return [_change(row) for row in rows.many(connection, c, query)]


def _next(connection: Connection) -> int:
    return int(connection.execute(select(func.max(tables.changes.c.id))).scalar() or 0) + 1


def _change(row: rows.Row) -> Change:
    patch = Patch(row["field"], json.loads(str(row["value"])))  # type: ignore[arg-type]
    return Change(**{key: value for key, value in row.items() if key not in _UNSTORED}, patch=patch)  # type: ignore[arg-type]
