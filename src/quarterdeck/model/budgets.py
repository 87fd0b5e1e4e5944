"""Budgets of calls, tokens, seconds, money and depth: reserved before a call, settled after it, in every account up the chain at once.

Pure. A chain runs from a task's own account up to its root's and beyond (owner, cluster, day). Whoever spends reserves first, so that a
runaway is stopped at its budget plus one call, however many run at once; after the manner of a card payment: authorise, then capture.

Amounts are floats at the door and whole millionths inside, since floats lose money: 0.1 + 0.2 is not 0.3. What is asked or used is rounded
up and a limit down, so an error never favours whoever spends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from quarterdeck.clock import iso
from quarterdeck.errors import Terminal, UserError
from quarterdeck.model.work import BUDGETS

Amounts = Mapping[str, float]
"""By kind, as people write them: calls, tokens, seconds, money in the fleet's currency, depth."""
Micros = Mapping[str, int]
"""By kind, in millionths."""
MICRO: Final = 1_000_000
WHOLE: Final = ("calls", "depth")
MOST: Final = 1e12
"""The largest amount; its millionths and some sums of them fit the 64 bits of a column."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of something, as the spec or an order says them. A kind that is not named is not limited.

    Raises UserError for kinds that do not exist and for amounts that are none.
    """

    limits: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        _millionths(self.limits, math.floor)

    @property
    def micros(self) -> Micros:
        """In millionths, rounded down."""
        return _millionths(self.limits, math.floor)


@dataclass(frozen=True, slots=True)
class Account:
    """What may be spent in the name of somebody, and what was: all in millionths. `name` is said when it is exceeded: `task 01J…`."""

    name: str
    limit: Micros = field(default_factory=dict)
    reserved: Micros = field(default_factory=dict)
    spent: Micros = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, budget: Budget) -> Account:
        """A new one."""
        return cls(name, budget.micros)

    def left(self, kind: str) -> int | None:
        """Millionths that may still be reserved, None = any number."""
        return max(0, self.limit[kind] - self._used(kind)) if kind in self.limit else None

    def exceeded(self, asked: Micros) -> Exceeded | None:
        """Why this cannot be reserved. A kind that is over its limit refuses every call, even one that asks for nothing of it."""
        over = (kind for kind in BUDGETS if kind in self.limit and self._used(kind) + asked.get(kind, 0) > self.limit[kind])
        kind = next(over, None)
        if kind is None:
            return None
        limit, spent, reserved = (part.get(kind, 0) / MICRO for part in (self.limit, self.spent, self.reserved))
        return Exceeded(self.name, kind, limit, spent, reserved, asked.get(kind, 0) / MICRO)

    def moved(self, *, reserved: Micros, spent: Micros) -> Account:
        """With this much more; amounts may be negative."""
        account = replace(self, reserved=_sum(self.reserved, reserved), spent=_sum(self.spent, spent))
        if any(amount < 0 for amount in account.reserved.values()):
            raise Terminal(f"more is settled with {self.name} than was reserved", hint="a reservation is settled or released once")
        return account

    @property
    def told(self) -> dict[str, dict[str, float | None]]:
        """Limit (None = none), reserved and spent of each kind that is limited or used."""
        return {
            kind: {
                "limit": self.limit[kind] / MICRO if kind in self.limit else None,
                "reserved": self.reserved.get(kind, 0) / MICRO,
                "spent": self.spent.get(kind, 0) / MICRO,
            }
            for kind in BUDGETS
            if kind in self.limit or self._used(kind)
        }

    def _used(self, kind: str) -> int:
        return self.spent.get(kind, 0) + self.reserved.get(kind, 0)


Chain = tuple[Account, ...]
"""Accounts that a call is charged to, the task's own first."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Permission for one call: the chain afterwards, and what to hand in when it is settled or released, once."""

    chain: Chain
    amounts: Micros


@dataclass(frozen=True, slots=True)
class Exceeded:
    """Refusal: the first account of the chain that has not so much left, with its numbers."""

    account: str
    kind: str
    limit: float
    spent: float
    reserved: float
    asked: float

    @property
    def told(self) -> str:
        """`task 01J…: 3 calls spent and 1 reserved of 4, 1 more asked`."""
        return (
            f"{self.account}: {self.spent:g} {self.kind} spent and {self.reserved:g} reserved of {self.limit:g}, {self.asked:g} more asked"
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """The chain after a call, and what it had reserved and not used."""

    chain: Chain
    returned: Amounts


def reserve(chain: Sequence[Account], amounts: Amounts) -> Reserved | Exceeded:
    """Take the amounts from every account, or nothing from any. Raises UserError for amounts that are none, and for depth."""
    asked = _to_spend(amounts)
    for account in chain:
        if exceeded := account.exceeded(asked):
            return exceeded
    return Reserved(tuple(account.moved(reserved=asked, spent={}) for account in chain), asked)


def settle(chain: Sequence[Account], reserved: Micros, used: Amounts) -> Settled:
    """End a reservation: what was used is spent, the rest is free again. `chain` as it is now, others may have moved it meanwhile.

    More may have been used than was reserved: it is spent all the same, and the next call is refused. Raises Terminal when the
    reservation was settled before.
    """
    spent = _to_spend(used)
    ended = {kind: -amount for kind, amount in reserved.items()}
    accounts = tuple(account.moved(reserved=ended, spent=spent) for account in chain)
    return Settled(accounts, {kind: max(0, amount - spent.get(kind, 0)) / MICRO for kind, amount in reserved.items()})


def release(chain: Sequence[Account], reserved: Micros) -> Settled:
    """End a reservation whose call never began. One whose outcome is unknown is settled as if all of it had been used."""
    return settle(chain, reserved, {})


def inherit(parent: Account, child: Budget) -> Budget | Exceeded:
    """The budget of a task that `parent`'s delegates: of each kind the smaller one of its own and what its parent has left now.

    Depth is not spent but counts down: a child may delegate one level less. Later on both accounts are charged, so many children together
    cannot spend more than their parent has either.
    """
    if parent.limit.get("depth", MICRO) < MICRO:
        return Exceeded(parent.name, "depth", parent.limit["depth"] / MICRO, 0.0, 0.0, 1.0)
    left = {kind: parent.left(kind) for kind in BUDGETS}
    if left["depth"] is not None:
        left["depth"] -= MICRO
    limits = {kind: amount / MICRO for kind, amount in left.items() if amount is not None}
    return Budget({kind: min(parts[kind] for parts in (limits, child.limits) if kind in parts) for kind in {**limits, **child.limits}})


@dataclass(frozen=True, slots=True)
class Rate:
    """Money over a sliding window, to trip before a whole day's budget is gone in a minute.

    Counted by the second; a second counts until it is past the window as a whole, so that the sum is never too small. `marks`: second and
    millionths.
    """

    limit: float
    window: float = 60.0
    marks: tuple[tuple[int, int], ...] = ()

    def note(self, amount: float, now: float) -> Rate:
        """With an amount spent at `now` (seconds on a clock that does not jump)."""
        micros = _to_spend({"money": amount})["money"]
        marks = self._recent(now)
        if marks and marks[-1][0] >= math.floor(now):
            second, before = marks[-1]
            return replace(self, marks=(*marks[:-1], (second, before + micros)))
        return replace(self, marks=(*marks, (math.floor(now), micros)))

    def spent(self, now: float) -> float:
        """Money in the window that ends now."""
        return sum(micros for _, micros in self._recent(now)) / MICRO

    def clears(self, now: float) -> float | None:
        """None while all is well; else it has tripped, and this is when enough of it is past to go on, if nothing more is spent."""
        allowed = math.floor(Decimal(repr(self.limit)) * MICRO)
        marks = self._recent(now)
        over = sum(micros for _, micros in marks) - allowed
        if over <= 0:
            return None
        for second, micros in marks:
            over -= micros
            if over <= 0:
                return second + 1 + self.window
        return math.inf

    def _recent(self, now: float) -> tuple[tuple[int, int], ...]:
        return tuple(mark for mark in self.marks if mark[0] + 1 + self.window > now)


def day(now: float) -> str:
    """The UTC day that an account of one day is for, as `2026-11-28`; `now` in epoch seconds."""
    return iso(now)[:10]


def _to_spend(amounts: Amounts) -> Micros:
    if "depth" in amounts:
        raise UserError("depth cannot be spent", hint="it counts delegations by itself: set its limit in the budget")
    return _millionths(amounts, math.ceil)


def _millionths(amounts: Amounts, rounded: Callable[[Decimal], int]) -> dict[str, int]:
    """Exact: the shortest text of a float (`repr`) is what was meant by it."""
    for kind, amount in amounts.items():
        if kind not in BUDGETS:
            raise UserError(f"{kind!r} is no kind of budget", hint=f"one of {', '.join(BUDGETS)}")
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 <= amount <= MOST or (kind in WHOLE and amount != int(amount)):
            what = "a whole number" if kind in WHOLE else "a number"
            raise UserError(f"{amount!r} is no amount of {kind}", hint=f"{what} from 0 to {MOST:g}")
    return {kind: rounded(Decimal(repr(amount)) * MICRO) for kind, amount in amounts.items()}


def _sum(amounts: Micros, more: Micros) -> Micros:
    return {kind: amounts.get(kind, 0) + more.get(kind, 0) for kind in {**amounts, **more}}
