"""Changes: the only way desired state moves besides a new revision. Added live, ended once, never edited."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, func, or_, select

from quarterdeck import states
from quarterdeck.errors import NotFound
from quarterdeck.model.records import Actor, Change, Entry, Patch
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.chain import canonical
from quarterdeck.store.edits import edited, require
from quarterdeck.store.writing import Writing

Ended = Literal["expired", "reverted"]
STOPPED: Final = "stopped"
_UNSTORED: Final = ("ended", "field", "value")
_C: Final = tables.changes
_COVERING: Final = _C.c.target.in_([bindparam("whole"), bindparam("cluster"), bindparam("agent")])
_STOPPED: Final = select(_C.c.id).where(_C.c.system == bindparam("system"), _C.c.state == "live", _C.c.field == STOPPED, _COVERING).limit(1)


def add(tx: Writing, change: Change, *, via: str = "api", actor: Actor | None = None) -> Change:
    """Keep a Change; its `id`, `at` and `state` are given here. `via` is the door. Raises NotFound for an unknown system.

    The journal says who did it: the `actor`, and without one who is written in the Change.
    """
    require(tx.connection, change.system)
    new = replace(change, id=_next(tx.connection), at=float(tx.now), state=states.CHANGE.first)
    values = asdict(new)
    patch = values.pop("patch")
    rows.insert(tx, tables.changes, **values, field=patch["field"], value=canonical(patch["value"]), ended=None)
    after = {"change": new.id, "author": new.author, **patch, "until": new.until}
    record = journal.append(tx, Entry(actor or Actor(new.actor, via), "change.add", new.target, new.reason, after=after, system=new.system))
    edited(tx, new.system, record.seq)
    return new


def end(tx: Writing, id: int, state: Ended, actor: Actor, reason: str = "") -> Change:  # noqa: A002 the noun's own word
    """Expire or revert one. Raises NotFound, or InvalidTransition when it has ended before."""
    row = rows.one(tx.connection, tables.changes, id=id)
    if row is None:
        raise _absent(id)
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


def stops(connection: Connection, system: str, agent: str) -> bool:
    """Whether a live stop covers `cluster/agent`: asked with every claim, so it looks at no more than it must."""
    covering = {"whole": f"{system}:", "cluster": agent.partition("/")[0], "agent": agent}
    return connection.execute(_STOPPED, {"system": system, **covering}).first() is not None


def overdue(connection: Connection, now: float) -> list[Change]:
    """Those still live whose time is over, of all systems: to be ended as expired."""
    c = tables.changes
    query = select(c).where(c.c.state == "live", c.c.until <= now).order_by(c.c.id)
    return [_change(row) for row in rows.many(connection, c, query)]


def get(connection: Connection, id: int) -> Change:  # noqa: A002 the noun's own word
    """One by id, live or ended; raises NotFound."""
    found = find(connection, id)
    if found is None:
        raise _absent(id)
    return found


def find(connection: Connection, id: int) -> Change | None:  # noqa: A002 the noun's own word
    """One by id, or None."""
    row = rows.one(connection, tables.changes, id=id)
    return _change(row) if row else None


def list_(connection: Connection, system: str | None = None, *, cluster: str | None = None, limit: int = 200) -> list[Change]:
    """The newest first, live and ended; with `cluster` those of that cluster and of what is in it."""
    c = tables.changes
    query = select(c).order_by(c.c.id.desc()).limit(limit)
    query = query if system is None else query.where(c.c.system == system)
    query = query if cluster is None else query.where(or_(c.c.target == cluster, c.c.target.startswith(f"{cluster}/", autoescape=True)))
    return [_change(row) for row in rows.many(connection, c, query)]


def _absent(id: int) -> NotFound:  # noqa: A002 the noun's own word
    return NotFound(f"there is no change {id}", hint="qd get changes lists them")


def _next(connection: Connection) -> int:
    return int(connection.execute(select(func.max(tables.changes.c.id))).scalar() or 0) + 1


def _change(row: rows.Row) -> Change:
    patch = Patch(row["field"], json.loads(str(row["value"])))  # type: ignore[arg-type]
    return Change(**{key: value for key, value in row.items() if key not in _UNSTORED}, patch=patch)  # type: ignore[arg-type]
