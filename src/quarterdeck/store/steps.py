"""Checkpoints of tasks: pieces that are not repeated when a task is tried again."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection, select

from quarterdeck.model.work import Hold, StepDone
from quarterdeck.store import rows, tables, tasks
from quarterdeck.store.turn import Turn

PAGE: Final = 100
"""Steps that are read at once."""


def keep(turn: Turn, hold: Hold, name: str, code: str, value: str, *, again: bool = False) -> str:
    """Keep what a step gave; gives what is kept, which is the first value for good. Raises Fenced.

    `again`: somebody chose to have it done anew because its code has changed; a value of other code gives way.
    """
    task, actor = hold.task, hold.holder.name
    row = tasks.resumed(turn, tasks.held(turn, hold), actor)
    known = turn.find(tables.steps, task, name)
    if known is not None and again and known["code"] != code:
        turn.update(tables.steps, known, code=code, value=value, at=turn.now, fence=hold.fence)
        turn.note(row, "step", actor, name=name, again=True)
        return value
    if known is not None:
        return str(known["value"])
    turn.insert(tables.steps, task=task, name=name, code=code, value=value, at=turn.now, fence=hold.fence)
    turn.note(row, "step", actor, name=name)
    return value


def page(connection: Connection, task: str, after: str, room: int) -> tuple[dict[str, list[str]], bool]:
    """Code and value by name, in the order of names after `after`, as many as fit into `room` bytes of JSON; and whether there are more."""
    s = tables.steps
    query = select(s).where(s.c.task == task, s.c.name > after).order_by(s.c.name).limit(PAGE)
    found: dict[str, list[str]] = {}
    every = rows.many(connection, s, query)
    for row in every:
        entry = [str(row["code"]), str(row["value"])]
        room -= len(json.dumps([row["name"], *entry], ensure_ascii=False).encode("utf-8", "replace"))
        if room < 0:
            return found, True
        found[str(row["name"])] = entry
    return found, len(every) == PAGE


def of(connection: Connection, task: str) -> list[StepDone]:
    """In the order in which they were done."""
    s = tables.steps
    found: list[dict[str, Any]] = [
        dict(row) for row in rows.many(connection, s, select(s).where(s.c.task == task).order_by(s.c.at, s.c.name))
    ]
    return [StepDone(**row) for row in found]
