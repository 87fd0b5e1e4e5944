"""The ledger of effects: what tasks did to the world outside, each key of a root task once.

An effect is written down as started before the call and with its outcome after it. One that is found started under an older fence was cut
off in between: it is called again where that does no harm, and is *unknown* for a human where it would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Connection, select

from quarterdeck.errors import Conflict, NotFound, Transient
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.work import Effect, EffectOutcome, Hold, Semantics
from quarterdeck.store import ends, forks, rows, tables, tasks
from quarterdeck.store.overview import EVERYBODY, Scope, meant
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of

Resolution = Literal["done", "failed", "again"]
"""What a human says about an unknown effect: it happened, it did not, or call it again."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The ledger's word before a call. go: call now. done: it happened already, with `value`. unknown: nobody knows; the task stops."""

    word: Literal["go", "done", "unknown"]
    value: str | None = None


def _free(_: Row) -> None:
    """A call that costs nothing."""


def begin(turn: Turn, hold: Hold, key: str, semantics: Semantics, arguments: str, *, pay: Callable[[Row], None] = _free) -> Leave:
    """Before the call. Raises Fenced, Conflict when the key was used with other arguments, Transient while another task calls it.

    `pay` is called with the task before a call is allowed, and may raise.
    """
    task, fence, actor = hold.task, hold.fence, hold.holder.name
    row = tasks.held(turn, hold)
    known = turn.find(tables.effects, row["root"], key)
    if known is not None and known["arguments"] not in (arguments, forks.WHATEVER):
        raise Conflict(f"effect {key!r} was begun by task {known['task']} with other arguments", hint="another effect needs another key")
    if known is not None and known["outcome"] == "started" and _busy(turn, known, task):
        raise Transient(f"effect {key!r} is being called by task {known['task']}", hint="the next attempt finds what came of it")
    row = tasks.resumed(turn, row, actor)
    if known is None:
        pay(row)
        values = {"task": task, "semantics": semantics, "arguments": arguments, "outcome": "started", "fence": fence, "value": None}
        turn.insert(tables.effects, root=row["root"], key=key, **values, error="", started=turn.now, ended=None)
        turn.note(row, "effect.started", actor, key=key, semantics=semantics)
        return Leave("go")
    if known["outcome"] == "done":
        return Leave("done", cast("str | None", known["value"]))
    if known["outcome"] == "started" and known["task"] == task and known["fence"] == fence:
        return Leave("go")  # our answer was lost: nobody has called yet
    if known["outcome"] == "unknown" or (known["outcome"] == "started" and "unsafe" in (semantics, known["semantics"])):
        _unknown(turn, row, known, actor)
        return Leave("unknown")
    pay(row)
    ends.put(turn, known, "started", task=task, fence=fence, semantics=semantics, error="", ended=None)
    turn.note(row, "effect.started", actor, key=key, semantics=semantics, again=True)
    return Leave("go")


def cut_off(turn: Turn, task: Row, effect: Row, actor: str, *, again: bool = True) -> None:
    """Its attempt was ended from outside. To be called again where that does no harm and anybody will (`again`), else unknown."""
    unknown = effect["semantics"] == "unsafe" or not again
    ends.cut_off(turn, task, effect, actor, unknown=unknown, why="cut off by a stop; to be called again")


def _unknown(turn: Turn, task: Row, effect: Row, actor: str) -> None:
    if effect["outcome"] != "unknown":
        ends.lose(turn, task, effect, actor)
    tasks.suspend(turn, task, ends.lost(effect), actor)


def _busy(turn: Turn, effect: Row, task: str) -> bool:
    """Whether another task of the tree, which is alive, is calling this moment."""
    other = turn.find(tables.tasks, effect["task"])
    return other is not None and other["id"] != task and other["fence"] == effect["fence"] and other["state"] in tasks.IN_WORK


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a call: `value` is JSON text, `error` says why it failed or why nobody knows."""

    outcome: EffectOutcome
    value: str | None = None
    error: str = ""


def finish(turn: Turn, hold: Hold, key: str, came: Came) -> None:
    """After the call. Raises Fenced: then the outcome stays unknown to us, whatever the call did."""
    ours = (hold.task, hold.fence)
    row = turn.find(tables.tasks, hold.task)
    known = turn.find(tables.effects, row["root"], key) if row else None
    if known and (known["task"], known["fence"], known["outcome"], known["value"]) == (*ours, came.outcome, came.value):
        return  # our answer was lost
    row = tasks.held(turn, hold)
    if known is None or (known["task"], known["fence"]) != ours:
        raise Conflict(f"effect {key!r} was not begun by this attempt", hint="ctx.effect begins and ends one")
    ends.put(turn, known, came.outcome, value=came.value, error=came.error, ended=turn.now)
    turn.note(row, f"effect.{came.outcome}", hold.holder.name, key=key, error=came.error or None)
    if came.outcome == "unknown":
        tasks.suspend(turn, row, f"effect {key!r}: {came.error or 'its outcome is unknown'}", hold.holder.name)


@dataclass(frozen=True, slots=True)
class Said:
    """A human's word on an unknown effect, and the value it gave where it happened (JSON text)."""

    resolution: Resolution
    value: str | None
    actor: Actor
    reason: str


def resolve(turn: Turn, task: str, key: str, word: Said) -> None:
    """A human says what became of an unknown effect; its task goes on."""
    said, actor, reason = word.resolution, word.actor, word.reason
    row = turn.find(tables.tasks, task) or tasks.require(turn.connection, task)
    known = turn.find(tables.effects, row["root"], key)
    if known is None:
        raise NotFound(f"task {task} has no effect {key!r}", hint=f"qd task get {task} lists its effects")
    if known["outcome"] != "unknown":
        raise Conflict(f"effect {key!r} is {known['outcome']}, not unknown", hint=f"qd task get {task} shows it")
    if said == "again":  # an older fence, and a meaning under which it may be called again
        ends.put(turn, known, "failed", error="to be called again", ended=turn.now)
    else:
        ends.put(turn, known, said, value=word.value, error=reason if said == "failed" else "", ended=turn.now)
    turn.note(row, "effect.resolved", actor.name, key=key, said=said, reason=reason or None)
    after = {"task": task, "effect": key, "said": said}
    turn.journal(Entry(actor, "effect.resolve", target_of(row).name, reason, after=after, system=str(row["system"])))
    _go_on(turn, str(row["root"]), actor)


def _go_on(turn: Turn, root: str, actor: Actor) -> None:
    """Tasks of a tree that stopped for an effect and have none unknown left."""
    open_ = {effect.task for effect in of_root(turn.connection, root) if effect.outcome == "unknown"}
    for task in tasks.tree(turn.connection, root):
        if task.state == "unknown" and task.id not in open_:
            tasks.requeue(turn, tasks.require(turn.connection, task.id), actor.name)


def find_row(connection: Connection, root: str, key: str) -> Row | None:
    """The row, checked."""
    return rows.one(connection, tables.effects, root=root, key=key)


def of_root(connection: Connection, root: str) -> list[Effect]:
    """All effects of a tree of tasks, in the order of their begin."""
    e = tables.effects
    return [_effect(row) for row in rows.many(connection, e, select(e).where(e.c.root == root).order_by(e.c.started, e.c.key))]


def of_task(connection: Connection, task: str) -> list[Effect]:
    """The effects a task began last."""
    e = tables.effects
    return [_effect(row) for row in rows.many(connection, e, select(e).where(e.c.task == task).order_by(e.c.started, e.c.key))]


def with_outcome(connection: Connection, outcome: EffectOutcome, scope: Scope = EVERYBODY, *, limit: int = 200) -> list[Effect]:
    """Of all trees, the oldest first; of tasks that are forgotten only the keys are left."""
    e, t = tables.effects, tables.tasks
    query = select(e).join(t, e.c.task == t.c.id).where(e.c.outcome == outcome, *meant(scope)).order_by(e.c.started).limit(limit)
    return [_effect(row) for row in rows.many(connection, e, query)]


def _effect(row: Row) -> Effect:
    values: dict[str, Any] = dict(row)
    return Effect(**values)
