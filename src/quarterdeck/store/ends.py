"""What tasks leave behind when they end: questions nobody needs an answer to, and effects that were under way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, select

from quarterdeck import states
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import OPEN
from quarterdeck.store import rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of

LEDGER: Final = "ledger"
"""The actor of what nobody else did, and the door by which replicas act."""
_T, _E, _Q = tables.tasks, tables.effects, tables.questions


def clear(turn: Turn, tasks: Sequence[str]) -> None:
    """Withdraw the questions of tasks that ended. Of an unsafe effect that was under way nobody will ever know: a human has to."""
    for some, size in rows.parts(tasks):
        for row in turn.select(_Q, _asked(size), **rows.named(some)):
            turn.update(_Q, row, state=states.QUESTION.step(str(row["state"]), "withdrawn"), ended=turn.now)
        for effect in turn.select(_E, _started(size), **rows.named(some)):
            task = turn.find(_T, effect["task"])
            if task is not None:
                cut_off(turn, task, effect, LEDGER, unknown=effect["semantics"] == "unsafe", why="cut off: its task ended")


def children(turn: Turn, tasks: Sequence[str]) -> list[Row]:
    """Of these tasks, those that have not ended."""
    found: list[Row] = []
    for some, size in rows.parts(tasks):
        found += turn.select(_T, _below(size), **rows.named(some))
    return found


def cut_off(turn: Turn, task: Row, effect: Row, actor: str, *, unknown: bool, why: str) -> None:
    """An effect whose attempt was ended from outside: *unknown*, or failed where calling it again does no harm."""
    if unknown:
        lose(turn, task, effect, actor)
        return
    put(turn, effect, "failed", error=why, ended=turn.now)
    turn.note(task, "effect.failed", actor, key=effect["key"], error=why)


def lose(turn: Turn, task: Row, effect: Row, actor: str) -> None:
    """Nobody knows what came of an effect: for a human, in the journal too."""
    put(turn, effect, "unknown", ended=turn.now)
    turn.note(task, "effect.unknown", actor, key=effect["key"], begun=effect["fence"])
    after = {"task": task["id"], "effect": effect["key"], "semantics": effect["semantics"], "begun": effect["fence"]}
    where, system = target_of(task).name, str(task["system"])
    turn.journal(Entry(Actor(actor, LEDGER), "effect.unknown", where, lost(effect), after=after, system=system))


def lost(effect: Row) -> str:
    """Why a task stops there."""
    return f"effect {effect['key']!r} was begun under fence {effect['fence']} and its outcome is unknown"


def put(turn: Turn, row: Row, outcome: str, **values: object) -> None:
    """Give an effect its next outcome."""
    story = (f"effect {row['key']!r} of task {row['task']}", f"{row['outcome']} under fence {row['fence']}")
    turn.update(_E, row, outcome=states.EFFECT.step(str(row["outcome"]), outcome, story=story), **values)


@lru_cache
def _asked(size: int) -> Select[Any]:
    return select(_Q).where(rows.any_of(_Q.c.task, size), _Q.c.state == "open")


@lru_cache
def _started(size: int) -> Select[Any]:
    return select(_E).where(rows.any_of(_E.c.task, size), _E.c.outcome == "started")


@lru_cache
def _below(size: int) -> Select[Any]:
    return select(_T).where(rows.any_of(_T.c.parent, size), _T.c.state.in_(OPEN)).order_by(_T.c.number)
