"""Orders become tasks here: each key once, in line by tenant and priority, in its lane behind those that came before."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import Select, Table, bindparam, select

from quarterdeck import states
from quarterdeck.errors import Conflict, UserError
from quarterdeck.model.work import ENTROPY, MOST_DEPTH, Order, Submitted, Task, task_id
from quarterdeck.store import budgets, forks, lanes, rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.tasks import require
from quarterdeck.store.turn import Turn, task_of

_T: Final = tables.tasks
FORGOTTEN: Final = "its records were dropped after their time"
"""The reason that a task has of which only the key is left."""
_NOBODY: Final = {"owner": None, "started": None, "ended": None, "cancel": None}


def submit(turn: Turn, order: Order, actor: str, pay: Callable[[], None] = lambda: None) -> Submitted:
    """Keep an order as a task, queued; the same key again gives the task there is.

    Raises Conflict when that one asks for something else, BudgetExceeded when its parent has no level of delegation left, what `forks.plan`
    raises for a fork, and whatever `pay` raises, which is called for a new one, before it is kept.
    """
    return _submit(turn, order, actor, _known(turn, [order]), os.urandom(ENTROPY), pay)


def submit_all(turn: Turn, orders: Sequence[tuple[Order, str]]) -> list[Submitted | UserError]:
    """Keep many, each with its actor; one that is refused does not stop the others."""
    there = _known(turn, [order for order, _ in orders])
    made: list[Submitted | UserError] = []
    drawn = os.urandom(ENTROPY * len(orders))  # at once: each call lets other threads take the interpreter
    for n, (order, actor) in enumerate(orders):
        try:
            made.append(_submit(turn, order, actor, there, drawn[ENTROPY * n :]))
        except UserError as error:
            made.append(error)
    return made


def _known(turn: Turn, orders: Sequence[Order]) -> dict[tuple[str, str], Row]:
    by_system: dict[str, list[str]] = {}
    for order in orders:
        if order.key is not None:
            by_system.setdefault(order.target.system, []).append(order.key)
    found: dict[tuple[str, str], Row] = {}
    for system, keys in by_system.items():
        for some, size in rows.parts(keys):
            for table in (tables.forgotten, _T):
                had = turn.select(table, _keyed(table, size), system=system, **rows.named(some))
                found.update({(system, str(row["key"])): row for row in had})
    return found


@lru_cache
def _keyed(table: Table, size: int) -> Select[Any]:
    return select(table).where(table.c.system == bindparam("system"), rows.any_of(table.c.key, size))


def _forgotten(order: Order, row: Row) -> Task:
    """What is known of a task whose time was over: what it was asked for, which is this, and how it ended."""
    told: dict[str, Any] = {name: row[name] for name in ("number", "state", "created", "ended")}
    name, asked = str(row["task"]), {field: getattr(order, field) for field in ("target", "verb", "key", "tenant", "priority", "lane")}
    nothing: dict[str, Any] = dict.fromkeys(("behind", "owner", "deadline", "parent", "cancel", "started"))
    none: dict[str, Any] = {"attempts": 0, "fence": 0, "after": 0.0, "depth": 0, "budget": {}, "trace": "", "path": ""}
    return Task(id=name, root=name, reason=FORGOTTEN, most=order.attempts, **told, **asked, **nothing, **none)


def _submit(  # noqa: PLR0917 what all orders of a write share comes before what is one's own
    turn: Turn, order: Order, actor: str, there: dict[tuple[str, str], Row], entropy: bytes, pay: Callable[[], None] = lambda: None
) -> Submitted:
    digest, name = order.digest, (order.target.system, order.key or "")
    row = there.get(name) if order.key is not None else None
    if row is not None:
        if row["request"] != digest:
            message = f"key {order.key!r} is task {row.get('id') or row['task']}, which asks for something else"
            raise Conflict(message, hint="another payload needs another key; qd task get shows what the first one asked for")
        return Submitted(task_of(row) if "id" in row else _forgotten(order, row), created=False)
    parent = _parent(turn, order)
    kept = None if order.fork is None else forks.plan(turn.connection, order.fork)
    order = replace(order, budget=budgets.granted(turn, order.budget, parent), tenant=order.tenant or actor)
    pay()
    row = _insert(turn, order, digest, parent, entropy)
    if order.budget:
        budgets.open_(turn, row)
    if order.key is not None:
        there[name] = row
    turn.note(row, "submit", actor, target=order.target.name, key=order.key, parent=order.parent, lane=order.lane, behind=row["behind"])
    if order.fork is not None and kept is not None:
        forks.begin(turn, row, order.fork, kept)
    turn.queued.append((order.target, order.after))
    turn.made.append(order.target)
    return Submitted(task_of(row), created=True)


def _parent(turn: Turn, order: Order) -> Row | None:
    if order.parent is None:
        return None
    parent = turn.find(_T, order.parent) or require(turn.connection, order.parent)
    if cast("int", parent["depth"]) + 1 > MOST_DEPTH:
        raise UserError(f"task {order.parent} is {parent['depth']} delegations deep", hint=f"{MOST_DEPTH} below one another is the most")
    return parent


def _insert(turn: Turn, order: Order, digest: str, parent: Row | None, entropy: bytes) -> Row:
    identity, target = task_id(turn.now, entropy), order.target
    row = turn.insert(
        _T,
        **_NOBODY,
        id=identity,
        number=turn.number(),
        system=target.system,
        cluster=target.cluster,
        agent=target.agent,
        verb=order.verb,
        key=order.key,
        request=digest,
        tenant=order.tenant,
        rank=-order.priority,
        lane=order.lane,
        behind=lanes.last(turn, target, order.lane),
        turn=0.0 if order.after > turn.now else turn.fairness.tag((target, order.priority), order.tenant),
        state=states.TASK.first,
        reason="",
        attempts=0,
        most=order.attempts,
        fence=0 if order.fork is None else forks.FENCE,
        after=order.after,
        deadline=order.deadline,
        parent=order.parent,
        root=parent["root"] if parent else identity,
        depth=cast("int", parent["depth"]) + 1 if parent else 0,
        budget=json.dumps(dict(order.budget)),
        trace=order.trace,
        path=order.path,
        created=turn.now,
    )
    turn.insert(tables.task_bodies, task=identity, kind="input", body=order.payload)
    return row
