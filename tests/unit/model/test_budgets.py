"""Nobody passes a budget by reserving, nothing is lost by settling, and a runaway ends at its budget plus one call."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quarterdeck.errors import Terminal, UserError
from quarterdeck.model.budgets import (
    MICRO,
    MOST,
    Account,
    Budget,
    Exceeded,
    Rate,
    Reserved,
    day,
    inherit,
    release,
    reserve,
    settle,
)
from quarterdeck.model.work import BUDGETS

SPENT = ("calls", "tokens", "seconds", "money")


def account(name="task", **limits):
    return Account.of(name, Budget(limits))


amounts = st.fixed_dictionaries(
    {},
    optional={
        "calls": st.integers(0, 5),
        "tokens": st.floats(0, 1e5),
        "seconds": st.floats(0, 100),
        "money": st.one_of(st.floats(0, 2), st.sampled_from([0.1, 0.2, 0.7, 1e-7, 3e-6])),
    },
)
budgets = st.builds(
    Budget,
    st.fixed_dictionaries(
        {},
        optional={
            "calls": st.integers(0, 20),
            "tokens": st.floats(0, 1e6),
            "seconds": st.floats(0, 500),
            "money": st.floats(0, 10),
            "depth": st.integers(0, 5),
        },
    ),
)


# One call


def test_a_call_is_reserved_in_every_account_and_settled_in_every_account():
    chain = account("task", calls=3, money=1), account("root", money=5), account("day")
    reserved = reserve(chain, {"calls": 1, "money": 0.25})
    assert [a.reserved["money"] for a in reserved.chain] == [250_000] * 3
    settled = settle(reserved.chain, reserved.amounts, {"calls": 1, "money": 0.1, "tokens": 70})
    assert settled.returned == {"calls": 0.0, "money": 0.15}
    for after in settled.chain:
        assert (after.reserved["money"], after.spent["money"], after.spent["tokens"]) == (0, 100_000, 70_000_000)


def test_what_one_account_cannot_give_is_taken_from_none_and_says_which():
    chain = account("task 7", calls=9), account("owner ops", calls=4, money=2), account("day", calls=1)
    chain = settle(chain, {}, {"calls": 0, "money": 1.5}).chain
    refused = reserve(chain, {"money": 0.75})
    assert refused == Exceeded("owner ops", "money", limit=2.0, spent=1.5, reserved=0.0, asked=0.75)
    assert refused.told == "owner ops: 1.5 money spent and 0 reserved of 2, 0.75 more asked"
    assert isinstance(reserve(chain, {"calls": 2}), Exceeded)
    assert isinstance(reserve(chain, {"calls": 1}), Reserved), "the refused ones left nothing behind"


def test_more_used_than_reserved_is_spent_and_the_next_call_fails_whatever_it_asks_for():
    reserved = reserve((account(tokens=100),), {"tokens": 50})
    chain = settle(reserved.chain, reserved.amounts, {"tokens": 130}).chain
    assert chain[0].told["tokens"] == {"limit": 100.0, "reserved": 0.0, "spent": 130.0}
    assert reserve(chain, {"calls": 1}) == Exceeded("task", "tokens", limit=100.0, spent=130.0, reserved=0.0, asked=0.0)


def test_exactly_the_limit_may_be_spent():
    reserved = reserve((account(money=0.3),), {"money": 0.3})
    chain = settle(reserved.chain, reserved.amounts, {"money": 0.3}).chain
    assert isinstance(reserve(chain, {"money": 1e-9}), Exceeded)


def test_releasing_gives_everything_back():
    chain = (account(calls=1),)
    reserved = reserve(chain, {"calls": 1})
    assert isinstance(reserve(reserved.chain, {"calls": 1}), Exceeded)
    released = release(reserved.chain, reserved.amounts)
    assert released.returned == {"calls": 1.0}
    assert isinstance(reserve(released.chain, {"calls": 1}), Reserved)


def test_a_reservation_cannot_be_settled_twice():
    reserved = reserve((account(calls=5),), {"calls": 1})
    chain = release(reserved.chain, reserved.amounts).chain
    with pytest.raises(Terminal, match="than was reserved"):
        settle(chain, reserved.amounts, {})


def test_kinds_without_a_limit_are_counted_all_the_same():
    chain = settle((account(),), {}, {"tokens": 12}).chain
    assert chain[0].told == {"tokens": {"limit": None, "reserved": 0.0, "spent": 12.0}}
    assert chain[0].left("tokens") is None


@pytest.mark.parametrize(
    "bad",
    [
        {"euros": 1},
        {"money": -1},
        {"money": math.nan},
        {"tokens": math.inf},
        {"calls": 0.5},
        {"tokens": 2 * MOST},
        {"calls": True},
        {"money": "1"},
    ],
)
def test_what_is_no_amount_is_refused_at_every_door(bad):
    for door in (Budget, lambda wrong: reserve((), wrong), lambda wrong: settle((), {}, wrong)):
        with pytest.raises(UserError) as refused:
            door(bad)
        assert refused.value.hint


def test_depth_is_not_spent():
    with pytest.raises(UserError, match="depth"):
        reserve((account(depth=3),), {"depth": 1})


# Many calls


@given(calls=st.integers(0, 30), at_once=st.integers(1, 10), tree=st.lists(st.integers(0, 30), max_size=3))
def test_a_runaway_is_stopped_at_its_budget_plus_one_call(calls, at_once, tree):
    """It calls without end, so many at once; whichever account is smallest stops it."""
    chain = tuple(account(f"a{n}", calls=limit) for n, limit in enumerate([calls, *tree]))
    made, out = 0, []
    for _ in range(1000):
        made += 1
        answer = reserve(chain, {"calls": 1})
        if isinstance(answer, Exceeded):
            break
        chain = answer.chain
        out.append(answer.amounts)
        if len(out) == at_once:
            chain = settle(chain, out.pop(0), {"calls": 1}).chain
    assert made == min([calls, *tree]) + 1


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1, 2.3]), max_size=60))
def test_float_error_lets_no_money_leak(prices):
    chain = (account(money=10),)
    paid = Fraction(0)
    for price in prices:
        reserved = reserve(chain, {"money": price})
        if isinstance(reserved, Exceeded):
            assert paid + Fraction(str(price)) > 10
            continue
        chain = settle(reserved.chain, reserved.amounts, {"money": price}).chain
        paid += Fraction(str(price))
        assert Fraction(chain[0].spent["money"], MICRO) == paid


@given(st.floats(0, 1000), st.integers(1, 50))
def test_an_amount_is_never_rounded_to_less(price, times):
    chain = (account(),)
    for _ in range(times):
        chain = settle(chain, {}, {"money": price}).chain
    spent, true = Fraction(chain[0].spent["money"], MICRO), Fraction(repr(price)) * times
    assert true <= spent <= true + Fraction(times, MICRO)


class AnyUse(RuleBasedStateMachine):
    """Two tasks below one root, any order of reserving, settling and releasing."""

    def __init__(self):
        super().__init__()
        self.accounts = {
            "a": account("a", calls=6, money=1.0),
            "b": account("b", tokens=5e5, money=2.0),
            "root": account("root", calls=9, money=2.5, seconds=300),
        }
        self.out = []
        self.paid = dict.fromkeys(("a", "b", "root"), 0)
        self.overrun = False

    def chain(self, task):
        return self.accounts[task], self.accounts["root"]

    def keep(self, chain):
        self.accounts.update({account.name: account for account in chain})

    @rule(task=st.sampled_from("ab"), asked=amounts)
    def reserve(self, task, asked):
        before = self.chain(task)
        answer = reserve(before, asked)
        if isinstance(answer, Exceeded):
            assert self.chain(task) == before
            assert answer.spent + answer.reserved + answer.asked > answer.limit
            return
        self.keep(answer.chain)
        self.out.append((task, answer.amounts))
        for account in answer.chain:
            for kind, limit in account.limit.items():
                used = account.spent.get(kind, 0) + account.reserved.get(kind, 0)
                assert used <= limit, "a reservation never passes a limit"

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50), used=amounts)
    def settle(self, index, used):
        task, reserved = self.out.pop(index % len(self.out))
        settled = settle(self.chain(task), reserved, used)
        self.keep(settled.chain)
        money = settled.chain[0].spent.get("money", 0) - self.paid[task]
        self.paid[task] += money
        self.paid["root"] += money
        assert money == math.ceil(Fraction(repr(float(used.get("money", 0)))) * MICRO)

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def release(self, index):
        task, reserved = self.out.pop(index % len(self.out))
        before = self.chain(task)
        released = release(before, reserved)
        self.keep(released.chain)
        assert [account.spent for account in released.chain] == [{**account.spent} for account in before]

    @invariant()
    def what_is_reserved_is_what_is_out(self):
        for name, account in self.accounts.items():
            for kind in SPENT:
                out = sum(reserved.get(kind, 0) for task, reserved in self.out if name in {task, "root"})
                assert account.reserved.get(kind, 0) == out

    @invariant()
    def the_root_has_spent_what_its_tasks_have(self):
        for kind in SPENT:
            spent = {name: account.spent.get(kind, 0) for name, account in self.accounts.items()}
            assert spent["root"] == spent["a"] + spent["b"]
        assert {name: account.spent.get("money", 0) for name, account in self.accounts.items()} == self.paid


TestAnyUse = AnyUse.TestCase


# Delegation


def test_a_child_has_the_smaller_one_of_its_own_and_what_its_parent_has_left():
    parent = reserve((account(money=2, tokens=100, depth=3),), {"money": 0.5}).chain[0]
    parent = settle((parent,), {}, {"money": 0.25}).chain[0]
    child = inherit(parent, Budget({"money": 5, "tokens": 10, "calls": 7}))
    assert child == Budget({"money": 1.25, "tokens": 10, "calls": 7, "depth": 2})


def test_depth_counts_delegations():
    budget = Budget({"depth": 2})
    for left in (1, 0):
        budget = inherit(Account.of("t", budget), Budget({"depth": 9}))
        assert budget.limits["depth"] == left
    assert inherit(Account.of("t", budget), Budget()) == Exceeded("t", "depth", limit=0.0, spent=0.0, reserved=0.0, asked=1.0)
    assert inherit(Account.of("t", Budget()), Budget()) == Budget()


def test_a_parent_that_has_overspent_leaves_nothing():
    parent = settle((account(tokens=10),), {}, {"tokens": 15}).chain[0]
    assert inherit(parent, Budget()) == Budget({"tokens": 0.0})


@given(st.lists(budgets, min_size=1, max_size=6), amounts)
def test_no_descendant_may_more_than_any_ancestor_has_left(generations, used):
    chain = [settle((Account.of("root", generations[0]),), {}, used).chain[0]]
    for budget in generations[1:]:
        child = inherit(chain[-1], budget)
        if isinstance(child, Exceeded):
            assert chain[-1].limit["depth"] == 0
            return
        chain.append(Account.of("child", child))
        for kind in BUDGETS:
            for elder in chain[:-1]:
                if kind in elder.limit:
                    assert child.micros[kind] <= elder.left(kind)
        assert all(child.micros[kind] <= limit for kind, limit in budget.micros.items())


@given(st.integers(0, int(1e9) * MICRO))
def test_what_is_left_comes_through_a_budget_exactly(left):
    parent = Account("parent", {"money": left})
    assert inherit(parent, Budget()).micros == {"money": left}


# Money per minute


def test_a_rate_trips_over_its_limit_and_clears_when_enough_is_past():
    rate = Rate(limit=1.0).note(0.6, 10.2).note(0.4, 30.0)
    assert rate.clears(30.0) is None
    rate = rate.note(0.1, 40.0)
    assert rate.clears(40.0) == 71.0
    assert rate.spent(40.0) == 1.1
    assert rate.clears(70.9) == 71.0
    assert rate.clears(71.0) is None
    assert rate.spent(71.0) == 0.5


def test_more_than_the_whole_limit_at_once_waits_for_its_own_end():
    assert Rate(limit=1.0).note(5.0, 3.0).clears(3.0) == 64.0
    assert Rate(limit=0.0).note(0.0, 3.0).clears(3.0) is None


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), max_size=80), st.floats(0.5, 20))
def test_it_never_misses_a_minute_that_was_too_expensive_and_keeps_few_marks(steps, limit):
    rate, now, spent = Rate(limit), 0.0, []
    for pause, amount in steps:
        now += pause
        rate = rate.note(amount, now)
        spent.append((now, amount))
        minute = math.fsum(amount for at, amount in spent if at > now - 60)
        wider = math.fsum(amount for at, amount in spent if at > now - 61.001)
        assert minute - 1e-9 <= rate.spent(now) <= wider + 1e-3
        if minute > limit:
            assert rate.clears(now) > now
        if wider + 1e-3 < limit:
            assert rate.clears(now) is None
        assert len(rate.marks) <= 62


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), min_size=1, max_size=30), st.floats(0.5, 5))
def test_it_clears_when_it_says(steps, limit):
    rate, now = Rate(limit), 0.0
    for pause, amount in steps:
        now += pause
        rate = rate.note(amount, now)
    clears = rate.clears(now)
    if clears is not None:
        assert rate.clears(clears) is None
        assert rate.clears(clears - 0.01) is not None


def test_a_day_is_that_of_utc():
    assert day(1_795_910_399.0) == "2026-11-28"
    assert day(1_795_910_400.0) == "2026-11-29"
    assert day(0.0) == "1970-01-01"
