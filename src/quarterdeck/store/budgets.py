"""Accounts of budgets as rows: what a task may spend, has reserved and has spent, and what a cluster or system spends in a day.

A task's account names its parent's, so that a reservation is made in the whole chain of ancestors in one transaction. Whoever changes
something here has shown that the task is theirs. What an attempt reserves is numbered, so that the same request twice reserves once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from sqlalchemy import Connection, select

from quarterdeck.model.budgets import Account, Amounts, Budget, Exceeded, Micros, inherit, reserve, settle
from quarterdeck.model.work import BudgetExceeded
from quarterdeck.store import rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn

TASK: Final = "task:"
DAY: Final = "day:"
NONE: Final = "{}"
MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Shared:
    """An account that many tasks spend from, e.g. a cluster's of one day; made when first needed, and limited as the spec says now."""

    scope: str
    name: str
    system: str
    limits: Micros = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """What one attempt has reserved: `open` by number; numbers up to `low`, and those `above`, are over."""

    fence: int = 0
    low: int = 0
    above: set[int] = field(default_factory=set)
    open: dict[int, tuple[dict[str, int], list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, account: Row) -> _Held:
        if not account["held"]:
            return cls()
        found = json.loads(str(account["held"]))
        return cls(found["fence"], found["low"], set(found["above"]), {int(n): (one[0], one[1]) for n, one in found["open"].items()})

    @property
    def text(self) -> str:
        return json.dumps({"fence": self.fence, "low": self.low, "above": sorted(self.above), "open": self.open}, separators=(",", ":"))

    def seen(self, n: int) -> bool:
        return n <= self.low or n in self.above or n in self.open

    def over(self, n: int) -> None:
        self.open.pop(n, None)
        self.above.add(n)
        while self.low + 1 in self.above:
            self.low += 1
            self.above.remove(self.low)


def granted(turn: Turn, asked: Amounts, parent: Row | None) -> Amounts:
    """The budget of a new task. Raises UserError for what is none, and BudgetExceeded when its parent may not delegate any deeper."""
    budget = Budget(asked)
    account = None if parent is None or parent["budget"] == NONE else _own(turn, parent)
    if account is None:
        return budget.limits
    found = inherit(value(account), budget)
    if isinstance(found, Exceeded):
        raise error(found)
    return found.limits


def open_(turn: Turn, task: Row) -> Row:
    """The account of a task, made if it has none yet."""
    known = _own(turn, task)
    if known is not None:
        return known
    parent = None if task["parent"] is None else f"{TASK}{task['parent']}"
    limits = Budget(json.loads(str(task["budget"]))).micros
    return _insert(turn, Shared(f"{TASK}{task['id']}", f"task {task['id']}", str(task["system"]), limits), parent)


def _own(turn: Turn, task: Row) -> Row | None:
    return turn.find(tables.budgets, f"{TASK}{task['id']}")


def take(turn: Turn, task: Row, shared: Iterable[Shared], amounts: Amounts) -> Exceeded | None:
    """Spend at once, in every account up the chain, or nothing in any."""
    chain = _chain(turn, task, shared)
    found = reserve([value(row) for row in chain], amounts)
    if isinstance(found, Exceeded):
        return found
    _keep(turn, chain, settle(found.chain, found.amounts, amounts).chain)
    return None


def hold(turn: Turn, task: Row, shared: Iterable[Shared], n: int, amounts: Amounts, *, spend: bool) -> Exceeded | None:
    """Reserve for the task's attempt under number `n`, once; `spend`: it is spent with that, and not to be settled."""
    _lapse(turn, open_(turn, task), cast("int", task["fence"]))
    chain = _chain(turn, task, shared)
    held = _Held.of(chain[0])
    if held.seen(n):
        return None
    found = reserve([value(row) for row in chain], amounts)
    if isinstance(found, Exceeded):
        return found
    held.fence = cast("int", task["fence"])
    if spend:
        held.over(n)
    else:
        held.open[n] = dict(found.amounts), [str(row["scope"]) for row in chain if str(row["scope"]).startswith(DAY)]
    _keep(turn, chain, settle(found.chain, found.amounts, amounts).chain if spend else found.chain, held)
    return None


def spent(turn: Turn, task: Row, n: int, used: Amounts) -> bool:
    """Settle what was reserved under `n`: what was used is spent, the rest is free. False when it was settled before."""
    account = _own(turn, task)
    held = _Held() if account is None else _Held.of(account)
    if account is None or held.fence != task["fence"] or n not in held.open:
        return False
    _settle(turn, account, held, n, used)
    return True


def force(turn: Turn, task: Row, shared: Iterable[Shared], amounts: Amounts) -> Exceeded | None:
    """Note what was used without having been reserved, such as time; the first account that is at an end with it."""
    chain = _chain(turn, task, shared)
    moved = settle([value(row) for row in chain], {}, amounts).chain
    _keep(turn, chain, moved)
    over = ((account, kind) for account in moved for kind in amounts if account.left(kind) == 0)
    account, kind = next(over, (None, ""))
    if account is None:
        return None
    numbers = (account.limit[kind] / MICRO, account.spent.get(kind, 0) / MICRO, account.reserved.get(kind, 0) / MICRO)
    return Exceeded(account.name, kind, *numbers, 0.0)


def lapse(turn: Turn, task: Row) -> None:
    """Nobody knows what became of what an attempt had reserved when it ended: it is spent."""
    account = _own(turn, task)
    if account is not None:
        _lapse(turn, account, cast("int", task["fence"]) if task["state"] in ("running", "waiting") else None)


def _lapse(turn: Turn, account: Row, fence: int | None) -> None:
    held = _Held.of(account)
    if held.fence == fence:
        return
    for n, (amounts, _) in list(held.open.items()):
        _settle(turn, account, held, n, {kind: amount / MICRO for kind, amount in amounts.items()})
        account = turn.find(tables.budgets, account["scope"]) or account
    if account["held"]:
        turn.update(tables.budgets, account, held="")


def _settle(turn: Turn, account: Row, held: _Held, n: int, used: Amounts) -> None:
    amounts, days = held.open[n]
    chain = [account, *_ancestors(turn, account), *(row for day in days if (row := turn.find(tables.budgets, day)) is not None)]
    moved = settle([value(row) for row in chain], amounts, used).chain
    held.over(n)
    _keep(turn, chain, moved, held)


def unsettled(connection: Connection) -> list[str]:
    """Tasks of which an attempt has something reserved."""
    b = tables.budgets
    found = connection.execute(select(b.c.scope).where(b.c.held != "", b.c.scope.startswith(TASK, autoescape=True)))
    return [scope.removeprefix(TASK) for (scope,) in found]


def error(found: Exceeded) -> BudgetExceeded:
    """The refusal as it reaches the handler."""
    hint = "qd task get ID --tree shows what was spent by whom; a new task needs a larger budget"
    return BudgetExceeded(found.told, kind=found.kind, account=found.account, hint=hint)


def first(turn: Turn, task: Row, found: Exceeded) -> bool:
    """Whether this refusal is the first of its kind for a task; from now on it is not."""
    account = open_(turn, task)
    told, what = json.loads(str(account["told"])), f"{found.account}: {found.kind}"
    if what in told:
        return False
    turn.update(tables.budgets, account, told=json.dumps([*told, what]))
    return True


def of_tasks(connection: Connection, tasks: Sequence[str]) -> dict[str, Account]:
    """The accounts of those that have one, by task."""
    return {str(row["scope"]).removeprefix(TASK): value(row) for row in _named(connection, [f"{TASK}{task}" for task in tasks])}


def of_day(connection: Connection, day: str) -> list[tuple[Shared, Account]]:
    """The shared accounts of a day."""
    b = tables.budgets
    found = rows.many(connection, b, select(b).where(b.c.scope.startswith(f"{DAY}{day}:", autoescape=True)).order_by(b.c.scope))
    return [(Shared(str(row["scope"]), str(row["name"]), str(row["system"])), value(row)) for row in found]


def shared(turn: Turn, one: Shared) -> Row:
    """The row of a shared account, with the limits that hold now."""
    row = turn.find(tables.budgets, one.scope)
    limits = json.dumps(dict(one.limits))
    if row is None:
        return _insert(turn, one, None)
    return row if row["limits"] == limits else turn.update(tables.budgets, row, limits=limits)


def forget_days(turn: Turn, before: str) -> None:
    """Drop the shared accounts of days before that one (`2026-11-28`)."""
    b = tables.budgets
    for row in rows.many(turn.connection, b, select(b).where(b.c.scope >= DAY, b.c.scope < f"{DAY}{before}")):
        rows.delete(turn.tx, b, row)


def value(row: Row) -> Account:
    """The account of a row."""
    limits, reserved, spent_ = (json.loads(str(row[name])) for name in ("limits", "reserved", "spent"))
    return Account(str(row["name"]), limits, reserved, spent_)


def _insert(turn: Turn, one: Shared, parent: str | None) -> Row:
    empty = {"reserved": NONE, "spent": NONE, "held": "", "told": "[]"}
    limits = json.dumps(dict(one.limits))
    return turn.insert(tables.budgets, scope=one.scope, name=one.name, system=one.system, parent=parent, limits=limits, **empty)


def _chain(turn: Turn, task: Row, shared_: Iterable[Shared]) -> list[Row]:
    own = open_(turn, task)
    return [own, *_ancestors(turn, own), *(shared(turn, one) for one in shared_)]


def _ancestors(turn: Turn, account: Row) -> list[Row]:
    found: list[Row] = []
    while account["parent"] is not None:
        above = turn.find(tables.budgets, account["parent"])
        if above is None:
            break
        found.append(above)
        account = above
    return found


def _named(connection: Connection, scopes: Sequence[str]) -> list[Row]:
    b, found = tables.budgets, []
    for at in range(0, len(scopes), 500):
        found += rows.many(connection, b, select(b).where(b.c.scope.in_(scopes[at : at + 500])).order_by(b.c.scope))
    return found


def _keep(turn: Turn, chain: Sequence[Row], accounts: Sequence[Account], held: _Held | None = None) -> None:
    for n, (row, account) in enumerate(zip(chain, accounts, strict=True)):
        more: dict[str, Any] = {"held": held.text} if held is not None and n == 0 else {}
        turn.update(tables.budgets, row, reserved=_text(account.reserved), spent=_text(account.spent), **more)


def _text(amounts: Mapping[str, int]) -> str:
    return json.dumps({kind: amount for kind, amount in amounts.items() if amount}, separators=(",", ":"))
