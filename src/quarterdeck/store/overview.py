"""Work in numbers and as one stream, for who looks at all of it: counts by state, and events as they are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, case, func, select, union_all

from quarterdeck.model import messages
from quarterdeck.model.work import OPEN, Event, Target
from quarterdeck.store import rows, tables


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose tasks are meant; None = all."""

    system: str | None = None
    cluster: str | None = None
    agent: str | None = None


EVERYBODY: Final = Scope()
_NEWEST: Final = 100
"""Tasks that are looked at for whether their effects were counted."""
_KEYED: Final = union_all(
    *(
        select(t.c.key).where(t.c.system == bindparam("system"), t.c.key.in_(bindparam("keys", expanding=True)))
        for t in (tables.tasks, tables.forgotten)
    )
)


@dataclass(frozen=True, slots=True)
class Lane:
    """Kept messages of one order for one agent, and under None those without an order: how many are in which state.

    `again` is how often those that have not ended went to the stream once more; `oldest` (epoch seconds) is of these too.
    """

    target: Target
    order: str | None
    behind: int = 0
    waiting: int = 0
    sent: int = 0
    dead: int = 0
    again: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Of a system's tasks among the newest that are done: those with effects that are done, how many of them were tried more than once.

    `at` (epoch seconds) is when the newest of them ended; `unknown` counts effects of all tasks of which nobody knows.
    """

    tasks: int
    again: int
    effects: int
    at: float | None
    unknown: int


def counts(connection: Connection, scope: Scope) -> dict[str, int]:
    """Tasks by state, those that nobody delegated and those that somebody did."""
    t = tables.tasks
    query = select(t.c.state, func.count()).where(*meant(scope)).group_by(t.c.state).order_by(t.c.state)
    return {str(state): int(count) for state, count in connection.execute(query)}


def open_questions(connection: Connection, scope: Scope) -> int:
    """What waits for a human's answer."""
    q, t = tables.questions, tables.tasks
    query = select(func.count()).select_from(q.join(t, q.c.task == t.c.id)).where(q.c.state == "open", *meant(scope))
    return int(connection.execute(query).scalar() or 0)


def unknown_effects(connection: Connection, scope: Scope) -> int:
    """What waits for a human's word on whether it happened."""
    e, t = tables.effects, tables.tasks
    query = select(func.count()).select_from(e.join(t, e.c.task == t.c.id)).where(e.c.outcome == "unknown", *meant(scope))
    return int(connection.execute(query).scalar() or 0)


def unknown_by_system(connection: Connection, scope: Scope) -> dict[str, int]:
    """The same for each system that has some, also for one that was taken down: work outlives its system."""
    e, t = tables.effects, tables.tasks
    query = select(t.c.system, func.count()).select_from(e.join(t, e.c.task == t.c.id)).where(e.c.outcome == "unknown", *meant(scope))
    return {str(system): int(count) for system, count in connection.execute(query.group_by(t.c.system).order_by(t.c.system))}


def settled(connection: Connection, system: str) -> Settled:
    """What work was done once: as many rows are looked at as `_NEWEST` says, and as there are unknown effects."""
    e, t = tables.effects, tables.tasks
    columns = (t.c.id, t.c.system, t.c.attempts, t.c.ended)
    newest = select(*columns).where(t.c.state == "done").order_by(t.c.number.desc()).limit(_NEWEST).subquery()
    done, again = newest.c.id.distinct(), case((newest.c.attempts > 1, newest.c.id)).distinct()
    query = select(func.count(done), func.count(again), func.count(), func.max(newest.c.ended))
    query = query.select_from(newest.join(e, e.c.task == newest.c.id)).where(e.c.outcome == "done", newest.c.system == system)
    tasks, tried_again, effects, at = connection.execute(query).one()
    return Settled(int(tasks), int(tried_again), int(effects), at, unknown_effects(connection, Scope(system)))


def in_work(connection: Connection) -> dict[tuple[str, str, str], int]:
    """Unfinished tasks by system, cluster and state: as many rows are looked at as there are of them."""
    t = tables.tasks
    names = (t.c.system, t.c.cluster, t.c.state)
    query = select(*names, func.count()).where(t.c.state.in_(OPEN)).group_by(*names)
    return {(str(system), str(cluster), str(state)): int(count) for system, cluster, state, count in connection.execute(query)}


def asked(connection: Connection) -> dict[tuple[str, str], int]:
    """Open questions by system and cluster."""
    q, t = tables.questions, tables.tasks
    query = select(t.c.system, t.c.cluster, func.count()).select_from(q.join(t, q.c.task == t.c.id)).where(q.c.state == "open")
    return _by_cluster(connection, query.group_by(t.c.system, t.c.cluster))


def unsure(connection: Connection) -> dict[tuple[str, str], int]:
    """Unknown effects by system and cluster."""
    e, t = tables.effects, tables.tasks
    query = select(t.c.system, t.c.cluster, func.count()).select_from(e.join(t, e.c.task == t.c.id)).where(e.c.outcome == "unknown")
    return _by_cluster(connection, query.group_by(t.c.system, t.c.cluster))


def unsent(connection: Connection) -> dict[tuple[str, str], int]:
    """Messages that are kept and not on the bus yet, by the system and cluster they are for."""
    o = tables.outbox
    query = select(o.c.system, o.c.cluster, func.count()).where(o.c.state.in_(("behind", "waiting")))
    return _by_cluster(connection, query.group_by(o.c.system, o.c.cluster))


def dead_messages(connection: Connection, scope: Scope) -> int:
    """Messages that nobody could handle."""
    o = tables.outbox
    return int(connection.execute(select(func.count()).where(o.c.state == "dead", *meant(scope, o))).scalar() or 0)


def lanes(connection: Connection, scope: Scope, limit: int) -> list[Lane]:
    """Those with a message that has not ended or is dead, the fullest first."""
    o = tables.outbox
    names = (o.c.system, o.c.cluster, o.c.agent, o.c.lane)
    opened = o.c.state.in_(messages.OPEN)
    by_state = [func.sum(case((o.c.state == state, 1), else_=0)) for state in (*messages.OPEN, "dead")]
    again, oldest = func.sum(case((opened, o.c.attempt - 1), else_=0)), func.min(case((opened, o.c.created)))
    query = select(*names, *by_state, again, oldest).where(o.c.state.in_((*messages.OPEN, "dead")), *meant(scope, o)).group_by(*names)
    found = connection.execute(query.order_by(func.count().desc(), *names).limit(limit))
    return [Lane(Target(system, cluster, agent), order, *numbers) for system, cluster, agent, order, *numbers in found]


def _by_cluster(connection: Connection, query: Select[Any]) -> dict[tuple[str, str], int]:
    return {(str(system), str(cluster)): int(count) for system, cluster, count in connection.execute(query)}


def last(connection: Connection) -> int:
    """The newest event's number."""
    return int(connection.execute(select(func.max(tables.task_events.c.seq))).scalar() or 0)


def below(connection: Connection, root: str, *, after: int, limit: int) -> list[Event]:
    """Events of a root task and of everything below it, after a number."""
    return _events(connection, _joined().where(tables.tasks.c.root == root), after, limit)


def roots(connection: Connection, scope: Scope, among: Iterable[str]) -> list[str]:
    """The root tasks of those meant among these, each once."""
    t = tables.tasks
    query = select(t.c.root).where(t.c.id.in_(among), *meant(scope)).distinct().order_by(t.c.root)
    return [str(root) for (root,) in connection.execute(query)]


def within(connection: Connection, scope: Scope, *, after: int, limit: int) -> list[Event]:
    """Events of all tasks meant, after a number."""
    return _events(connection, _joined().where(*meant(scope)), after, limit)


def _joined() -> Select[Any]:
    e, t = tables.task_events, tables.tasks
    return select(e).join(t, e.c.task == t.c.id)


def meant(scope: Scope, table: Table = tables.tasks) -> list[ColumnElement[bool]]:
    """What rows meet that are meant, of tasks or of what else is for an agent."""
    asked = ((table.c.system, scope.system), (table.c.cluster, scope.cluster), (table.c.agent, scope.agent))
    return [column == wanted for column, wanted in asked if wanted is not None]


def _events(connection: Connection, query: Select[Any], after: int, limit: int) -> list[Event]:
    e = tables.task_events
    found = rows.many(connection, e, query.where(e.c.seq > after).order_by(e.c.seq).limit(limit))
    return [_event(row) for row in found]


def _event(row: rows.Row) -> Event:
    values: dict[str, Any] = {**row, "detail": json.loads(str(row["detail"]))}
    return Event(**values)


def unfinished(connection: Connection, system: str) -> int:
    """How many tasks of a system have not ended."""
    t = tables.tasks
    return int(connection.execute(select(func.count()).where(t.c.state.in_(OPEN), t.c.system == system)).scalar() or 0)


def known_keys(connection: Connection, system: str, keys: Sequence[str]) -> set[str]:
    """Those of some keys that a task has, or had: keys outlast their tasks."""
    return set(connection.execute(_KEYED, {"system": system, "keys": list(keys)}).scalars())
