"""Claims: the database chooses what a holder works on next, by priority, turn of the tenant, and lane; each claim raises the fence."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, cast

from sqlalchemy import Select, bindparam, select, text

from quarterdeck.model.work import Holder, Task
from quarterdeck.store import changes, tables
from quarterdeck.store.rows import Key, Row
from quarterdeck.store.tasks import IN_WORK, moved, too_late
from quarterdeck.store.turn import Turn, task_of

_T: Final = tables.tasks
_AGENT: Final = (_T.c.system == bindparam("system"), _T.c.cluster == bindparam("cluster"), _T.c.agent == bindparam("agent"))
_NEXT: Final = (
    select(_T.c.id)
    .where(*_AGENT, text(tables.IN_LINE), _T.c.after <= bindparam("now"))
    .order_by(_T.c.rank, _T.c.turn, _T.c.number)
    .limit(bindparam("most"))
)
_DUE: Final = (
    select(_T.c.id).where(*_AGENT, text(tables.LATER), _T.c.after <= bindparam("now")).order_by(_T.c.after).limit(bindparam("most"))
)
_MOST_DUE: Final = 1_000
"""Tasks whose time has come that one claim puts in line; the next one goes on."""
_OF: Final = select(_T.c.id).where(_T.c.owner == bindparam("owner"), _T.c.system == bindparam("system"), _T.c.state.in_(IN_WORK))


def claim(turn: Turn, holder: Holder, free: int, holding: Collection[str], room: int) -> list[tuple[Task, str]]:
    """Give a holder up to `free` tasks of its agent with their payloads, and again those it was given without ever hearing of it.

    Payloads of about `room` characters in all, but always one.
    """
    if changes.stops(turn.connection, holder.system, holder.target.name):
        return []
    known = set(holding)
    found: list[tuple[Task, str]] = []
    unheard = [task for task in _ids(turn, _OF, owner=holder.name, system=holder.system) if task[0] not in known]
    room -= _give(turn, turn.those(_T, unheard), holder, found, room)
    if len(found) < free and room > 0:
        _in_line(turn, holder)
    while len(found) < free and room > 0 and (waiting := _waiting(turn, holder, free - len(found))):
        room -= _give(turn, waiting, holder, found, room)
    return found


def _give(turn: Turn, given: list[Row], holder: Holder, found: list[tuple[Task, str]], room: int) -> int:
    """As many of these as there is room for; gives how much of it they took."""
    turn.load(tables.task_bodies, ((row["id"], "input") for row in given))
    took = 0
    for row in given:
        if took >= room:
            break
        if row["state"] == "queued" and _too_late(turn, row):
            continue
        mine = _taken(turn, row, holder) if row["state"] == "queued" else row
        body = turn.find(tables.task_bodies, mine["id"], "input")
        payload = "null" if body is None else str(body["body"])
        turn.claimed[str(mine["id"])] = (cast("int", mine["fence"]), holder)
        found.append((task_of(mine), payload))
        took += len(payload)
    return took


def _waiting(turn: Turn, holder: Holder, most: int) -> list[Row]:
    return turn.those(_T, _ids(turn, _NEXT, **_names(holder), now=turn.now, most=most))


def _in_line(turn: Turn, holder: Holder) -> None:
    """Put in line whose time has come: at the place it had, or, where it has waited from the start, like one that comes now."""
    for row in turn.those(_T, _ids(turn, _DUE, **_names(holder), now=turn.now, most=_MOST_DUE)):
        tag = -cast("float", row["turn"]) or turn.fairness.tag((holder.target, -cast("int", row["rank"])), str(row["tenant"]))
        turn.update(_T, row, turn=tag)


def _names(holder: Holder) -> dict[str, str]:
    return {"system": holder.system, "cluster": holder.cluster, "agent": holder.agent}


def _ids(turn: Turn, statement: Select[Any], **values: object) -> list[Key]:
    return [tuple(row) for row in turn.connection.execute(statement, values)]


def _too_late(turn: Turn, row: Row) -> bool:
    if row["deadline"] is None or cast("float", row["deadline"]) > turn.now:
        return False
    too_late(turn, row)
    return True


def _taken(turn: Turn, row: Row, holder: Holder) -> Row:
    attempt = cast("int", row["attempts"]) + 1
    new = moved(turn, row, "running", reason="", owner=holder.name, fence=cast("int", row["fence"]) + 1, attempts=attempt, started=turn.now)
    turn.fairness.take((holder.target, -cast("int", row["rank"])), cast("float", row["turn"]))
    turn.note(new, "claim", holder.name, attempt=attempt)
    if row["started"] is not None:
        turn.tally[holder.system, holder.cluster, "redelivery"] += 1
    return new
