"""What happened to tasks, in order: what the history checker reads. Written by `Turn`; kept until retention drops the task."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from quarterdeck.model.work import Event
from quarterdeck.store import rows, tables


def of(connection: Connection, tasks: Iterable[str], *, after: int = 0, limit: int = 10_000) -> list[Event]:
    """The events of some tasks, in order."""
    e = tables.task_events
    query = select(e).where(e.c.task.in_(list(tasks)), e.c.seq > after).order_by(e.c.seq).limit(limit)
    return [_event(row) for row in rows.many(connection, e, query)]


def every(connection: Connection, *, after: int = 0, limit: int = 1000) -> list[Event]:
    """Of all tasks, after a sequence."""
    e = tables.task_events
    return [_event(row) for row in rows.many(connection, e, select(e).where(e.c.seq > after).order_by(e.c.seq).limit(limit))]


def _event(row: rows.Row) -> Event:
    values: dict[str, Any] = {**row, "detail": json.loads(str(row["detail"]))}
    return Event(**values)
