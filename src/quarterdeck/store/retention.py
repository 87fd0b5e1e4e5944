"""Retention: tasks that ended long ago lose everything but their key, in whole trees and small pieces.

A key stays for ever, with what it asked for and how that ended: the same order again is still the same task, and another one a conflict.
The keys of effects stay too, without their values. A tree in which anything is open, unknown or not sealed yet stays as it is.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, Table, delete, exists, func, or_, select

from quarterdeck.model.records import PLATFORM, Entry
from quarterdeck.model.work import task_id
from quarterdeck.store import journal, rows, seals, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.tasks import CHILD
from quarterdeck.store.writing import Writing

KEEP: Final = 7 * 86400.0
"""Seconds that a task is kept after its end."""
AT_ONCE: Final = 200
"""Trees that are dropped in one write, and about how many tasks."""
_T, _E, _F, _X = tables.tasks, tables.task_events, tables.forgotten, tables.effects
_LAST_ID: Final = b"\xff" * 10


def forget(tx: Writing, before: float, most: int = AT_ONCE) -> int:
    """Drop trees whose tasks have all ended before that time (epoch seconds); gives how many tasks that were."""
    dropped: list[Row] = []
    for root in tx.connection.execute(_over(before).limit(most)).scalars().all():
        tree = rows.many(tx.connection, _T, select(_T).where(_T.c.root == root))
        if dropped and len(dropped) + len(tree) > most:
            break
        dropped += tree
    if not dropped:
        return 0
    names = [str(row["id"]) for row in dropped]
    told = seals.dropped(tx.connection, _events(tx.connection, names))
    for row in dropped:
        if row["key"] is not None and not str(row["key"]).startswith(CHILD):
            _remember(tx, row)
    _drop(tx, names)
    seals.prune(tx)
    span = f"{min(names)}..{max(names)}"
    journal.append(tx, Entry(PLATFORM, seals.FORGOTTEN, span, "their time was over", evidence={"tasks": len(names), "events": told}))
    return len(names)


def _over(before: float) -> Select[Any]:
    """Roots of trees that may go. The newest task and the newest event stay, so that no number is given twice."""
    below, unsettled = _T.alias(), _X.alias()
    sealed = select(func.max(tables.seals.c.last)).scalar_subquery()
    newest = select(func.max(_E.c.seq)).scalar_subquery()
    keeps = exists().where(below.c.root == _T.c.id, or_(below.c.ended.is_(None), below.c.ended > before))
    last = exists().where(below.c.root == _T.c.id, below.c.number == select(func.max(_T.c.number)).scalar_subquery())
    news = exists().where(below.c.root == _T.c.id, _E.c.task == below.c.id, or_(_E.c.seq > sealed, _E.c.seq == newest))
    asked = exists().where(unsettled.c.root == _T.c.id, unsettled.c.outcome.in_(("started", "unknown")))
    limit = task_id(before, _LAST_ID)  # ids sort by time: what was made later need not be looked at
    wanted = (_T.c.id <= limit, _T.c.parent.is_(None), _T.c.ended <= before, sealed.is_not(None), ~keeps, ~last, ~news, ~asked)
    return select(_T.c.id).where(*wanted).order_by(_T.c.id)


def _events(connection: Connection, names: list[str]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for some, size in rows.parts(names):
        query = select(_E.c.seq, _E.c.row_sum).where(rows.any_of(_E.c.task, size))
        found += [(seq, row_sum) for seq, row_sum in connection.execute(query, rows.named(some))]
    return found


def _remember(tx: Writing, row: Row) -> None:
    kept = {name: row[name] for name in ("system", "key", "request", "number", "state", "created", "ended")}
    rows.insert(tx, _F, **kept, task=row["id"])


def _drop(tx: Writing, names: list[str]) -> None:
    scopes = [f"task:{name}" for name in names]
    for table, column, values in (
        (_E, _E.c.task, names),
        (tables.task_bodies, tables.task_bodies.c.task, names),
        (tables.steps, tables.steps.c.task, names),
        (tables.questions, tables.questions.c.task, names),
        (tables.budgets, tables.budgets.c.scope, scopes),
        (_T, _T.c.id, names),
    ):
        _delete(tx, table, column, values)
    for some, size in rows.parts(names):
        for effect in rows.many(tx.connection, _X, select(_X).where(rows.any_of(_X.c.root, size)), rows.named(some)):
            rows.update(tx, _X, effect, value=None, error="")


def _delete(tx: Writing, table: Table, column: Any, values: list[str]) -> None:
    for some, size in rows.parts(values):
        tx.connection.execute(delete(table).where(rows.any_of(column, size)), rows.named(some))
    tx.forget()


def by_key(connection: Connection, system: str, key: str) -> Row | None:
    """What is left of the task that once had a key."""
    return rows.one(connection, _F, system=system, key=key)
