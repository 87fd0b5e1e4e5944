"""Budgets at work: what tasks may spend is taken from their accounts before each call, by the ledger and not by goodwill.

The accounts are rows; the spec says which clusters and systems have one for each day. Memory holds what nobody is charged wrongly for when
it is lost: since when a task is worked on (a second at most), and how much money went in the last minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from quarterdeck.clock import Clock
from quarterdeck.errors import Transient
from quarterdeck.model.budgets import Amounts, Budget, Exceeded, Rate, day
from quarterdeck.model.desired import Allowance, binding
from quarterdeck.model.records import PLATFORM, Actor, Entry
from quarterdeck.model.work import BUDGETS, Target, Task
from quarterdeck.store import budgets, standing, tables, tasks, trips
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn, target_of, task_of

Allowances = Callable[[str], tuple[Allowance, ...]]
"""System → what its spec says work may cost; asked from any thread."""
CHARGE_EVERY: Final = 1.0
"""Seconds of work that are charged at once."""
ONE_CALL: Final[Amounts] = {"calls": 1}
MOST_TOLD: Final = 20
"""Tasks that the journal names when a budget is exceeded: those that spent most."""
DAYS_KEPT: Final = 35
"""For which the accounts of a day can be looked at."""
HELD_BACK: Final = "money is spent too fast"


def nothing(_system: str) -> tuple[Allowance, ...]:
    """A spec without budgets."""
    return ()


@dataclass(slots=True)
class Spending:
    """One for a ledger. What takes a turn is called inside its write, all else on the ledger's loop."""

    clock: Clock
    allowances: Allowances = nothing
    _since: dict[str, float] = field(default_factory=dict)
    """Until when the time of each limited task that is worked on is charged (monotonic seconds)."""
    _left: dict[str, float] = field(default_factory=dict)
    """Seconds of tasks that nobody works on any more, not charged yet."""
    _today: str = ""
    _holding: set[str] = field(default_factory=set)
    """Tasks whose attempts may have something reserved."""
    _rates: dict[tuple[str, str], Rate] = field(default_factory=dict)
    """By system and cluster ("" = all of it)."""

    def limited(self, turn: Turn, task: Task) -> tuple[str, ...]:
        """Kinds that the task's account, or one above it, limits; none means that nothing needs to be asked for."""
        mine = self._mine(task.target, task.tenant)
        kinds = {kind for one in mine if one.per == "day" for kind, _ in one.limits} | set(task.budget)
        if any(one.money_per_minute is not None for one in mine):
            kinds.add("money")
        if "seconds" in kinds:
            turn.metered.add(task.id)
        return tuple(kind for kind in BUDGETS if kind in kinds)

    def given(self, target: Target, owner: str) -> Amounts:
        """The budget that the spec gives a task for which none was asked."""
        return by_default(self._mine(target, owner), {})

    def call(self, turn: Turn, task: Row) -> None:
        """Take one call, if anything limits the task's calls. Raises BudgetExceeded."""
        mine = self._mine(target_of(task), str(task["tenant"]))
        if '"calls"' in str(task["budget"]) or any(kind == "calls" for one in mine if one.per == "day" for kind, _ in one.limits):
            found = budgets.take(turn, task, self._shared(turn, task), ONE_CALL)
            if found is not None:
                self._refuse(turn, task, found)

    def reserve(self, turn: Turn, task: Row, n: int, amounts: Amounts, *, spend: bool) -> None:
        """Reserve for an attempt, once for each `n`. Raises BudgetExceeded, and Transient while money is spent too fast."""
        if amounts.get("money") and (why := self.tripped(turn, target_of(task))):
            raise Transient(f"{HELD_BACK}: {why}", hint="qd budget resume lets tasks go on")
        found = budgets.hold(turn, task, self._shared(turn, task), n, amounts, spend=spend)
        if found is not None:
            self._refuse(turn, task, found)
        if spend:
            _pay(turn, task, amounts)
        else:
            turn.reserved.add(str(task["id"]))

    @staticmethod
    def settle(turn: Turn, task: Row, n: int, used: Amounts) -> None:
        """End a reservation."""
        if budgets.spent(turn, task, n, used):
            _pay(turn, task, used)

    def tripped(self, turn: Turn, target: Target) -> str:
        """Why tasks of an agent are held back, or nothing."""
        if not any(one.money_per_minute is not None for one in self._mine(target)):
            return ""
        found = trips.of(turn.connection, target.system, [target.cluster])
        return found[0].reason if found else ""

    def _refuse(self, turn: Turn, task: Row, found: Exceeded) -> NoReturn:
        if budgets.first(turn, task, found):
            tell(turn, task, found)
        raise budgets.error(found)

    def _mine(self, target: Target, owner: str = "") -> list[Allowance]:
        return binding(self.allowances(target.system), target.cluster, owner)

    def _shared(self, turn: Turn, task: Row) -> list[budgets.Shared]:
        target, owner = target_of(task), str(task["tenant"])
        return [account_of(one, target.system, owner, day(turn.now)) for one in self._mine(target, owner) if one.per == "day"]

    def heard(self, turn: Turn) -> None:
        """Act on what a turn wrote."""
        now = self.clock.monotonic()
        for task in turn.freed:
            since = self._since.pop(task, None)
            if since is not None or task in self._holding:
                self._left[task] = self._left.get(task, 0.0) + (0.0 if since is None else now - since)
                self._holding.discard(task)
        for task in turn.metered & turn.claimed.keys():
            self._since.setdefault(task, now)
        self._holding |= turn.reserved
        for target, money in turn.paid:
            for one in self._mine(target):
                if one.money_per_minute is not None:
                    name = (target.system, one.cluster)
                    rate = self._rates.get(name)
                    rate = Rate(one.money_per_minute) if rate is None or rate.limit != one.money_per_minute else rate
                    self._rates[name] = rate.note(money, now)

    def open(self, turn: Turn) -> None:
        """Take up what the rows say after a start."""
        now = self.clock.monotonic()
        held = [one.task for one in standing.held(turn.connection)]
        turn.load(tables.tasks, ((task,) for task in held))
        for task in held:
            row = turn.find(tables.tasks, task)
            if row is not None and "seconds" in self.limited(turn, task_of(row)):
                self._since[task] = now
        for name in budgets.unsettled(turn.connection):
            self._left.setdefault(name, 0.0)

    def due(self) -> Callable[[Turn], None] | None:
        """What is to be written now: time to be charged, and trips."""
        now = self.clock.monotonic()
        charges, self._left = self._left, {}
        for task, since in self._since.items():
            if now - since >= CHARGE_EVERY:
                charges[task] = charges.get(task, 0.0) + now - since
                self._since[task] = now
        over = [(name, rate.spent(now)) for name, rate in self._rates.items() if rate.clears(now) is not None]
        for name, _ in over:  # it counts anew when a human has let it go on
            del self._rates[name]
        today, self._today = self._today, day(self.clock.now())
        new = today != self._today
        if not (charges or over or new):
            return None

        def work(turn: Turn) -> None:
            if new:
                _begin_day(turn)
            for task, seconds in charges.items():
                self._charge(turn, task, seconds)
            for (system, cluster), money in over:
                _trip(turn, system, cluster, money)

        return work

    def _charge(self, turn: Turn, task: str, seconds: float) -> None:
        """Time in which a task only waits costs nothing: whom it waits for is charged."""
        row = turn.find(tables.tasks, task)
        if row is None:
            return
        budgets.lapse(turn, row)
        if row["state"] == "waiting" or not seconds:
            return
        found = budgets.force(turn, row, self._shared(turn, row), {"seconds": seconds})
        if found is not None and row["state"] == "running":
            if budgets.first(turn, row, found):
                tell(turn, row, found)
            tasks.cancel(turn, row, f"BudgetExceeded: {_told(found)}", tasks.LEDGER)


def account_of(allowance: Allowance, system: str, owner: str, today: str) -> budgets.Shared:
    """The account of a day from which tasks of an owner are paid that an allowance binds."""
    scope, name = f"{system}/{allowance.cluster}" if allowance.cluster else system, allowance.cluster or system
    if allowance.owner:
        scope, name = f"{scope}@{owner}", f"{owner} in {name}"
    limits = Budget({kind: limit for kind, limit in allowance.limits if kind != "depth"}).micros
    return budgets.Shared(f"{budgets.DAY}{today}:{scope}", f"{name} on {today}", system, limits)


def by_default(allowances: Iterable[Allowance], asked: Amounts) -> Amounts:
    """The budget of a task from outside: what was asked for, and of other kinds the smallest that the spec gives each task."""
    limits: dict[str, float] = {}
    for one in allowances:
        if one.per == "task":
            for kind, limit in one.limits:
                limits[kind] = min(limit, limits.get(kind, limit))
    return {**limits, **asked}


def tell(turn: Turn, task: Row, found: Exceeded) -> None:
    """Record that a budget is exceeded, with what was spent by whom."""
    row = {"task": task["id"], "account": found.account, "kind": found.kind}
    numbers = {"limit": found.limit, "spent": found.spent, "reserved": found.reserved, "asked": found.asked}
    turn.note(task, "budget.exceeded", tasks.LEDGER, account=found.account, kind=found.kind, **numbers)
    spent = _spenders(turn, str(task["root"]), found.kind)
    actor = Actor(str(task["owner"] or tasks.LEDGER), tasks.LEDGER)
    after = {**row, **numbers, "spent_by": spent}
    turn.journal(Entry(actor, "budget.exceeded", target_of(task).name, _told(found), after=after, system=str(task["system"])))


def _told(found: Exceeded) -> str:
    return found.told if found.asked else f"{found.account}: {found.spent:g} {found.kind} spent of {found.limit:g}"


def _spenders(turn: Turn, root: str, kind: str) -> list[dict[str, object]]:
    """Each task of the tree with what went through its account, those below it included; the largest first."""
    every = {task.id: task for task in tasks.tree(turn.connection, root)}
    accounts = budgets.of_tasks(turn.connection, list(every))
    used = sorted(((a.spent.get(kind, 0) + a.reserved.get(kind, 0), name) for name, a in accounts.items()), reverse=True)
    return [
        {"task": name, "target": every[name].target.name, "parent": every[name].parent, kind: amount / budgets.MICRO}
        for amount, name in used[:MOST_TOLD]
        if amount
    ]


def _pay(turn: Turn, task: Row, amounts: Amounts) -> None:
    if amounts.get("money"):
        turn.paid.append((target_of(task), amounts["money"]))


def _begin_day(turn: Turn) -> None:
    trips.forget(turn, day(turn.now))
    budgets.forget_days(turn, day(turn.now - DAYS_KEPT * 86_400))


def _trip(turn: Turn, system: str, cluster: str, money: float) -> None:
    reason = f"{cluster or system} spent {money:g} within a minute"
    trip = trips.set_(turn, system, cluster, reason)
    if trip is not None:
        after = {"scope": trip.scope, "money": money, "day": trip.day}
        turn.journal(Entry(PLATFORM, "budget.tripped", cluster, reason, after=after, system=system))
