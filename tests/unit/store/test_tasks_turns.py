"""Whose turn it is: lanes, tenants and times; and that it costs the same however many wait."""

import itertools

import pytest

from quarterdeck.model.work import Hold, Holder, Order, Target
from quarterdeck.store import claims, orders, standing, tables, tasks
from quarterdeck.store.fairness import Fairness

WORKER = Target("s", "core", "worker")
ONE, TWO = Holder("s", "core", "worker", 0, 1), Holder("s", "core", "worker", 1, 1)


# lanes


def test_a_lane_has_one_task_at_a_time_in_the_order_in_which_they_came(work):
    first, second, third = (work.submit(lane="l") for _ in range(3))
    other = work.submit(lane="m")
    assert [hold.task for hold in work.claim(free=9)] == [first, other]
    assert [work.get(name).behind for name in (first, second, third)] == [None, first, second]
    work.fail(Hold(ONE, first, 1), again=None)
    assert [hold.task for hold in work.claim(free=9, holding=(other,))] == [second]


def test_one_that_leaves_the_middle_of_a_lane_lets_nobody_pass(work):
    names = [work.submit(lane="l") for _ in range(5)]
    (hold,) = work.claim(free=9)
    work.cancel(names[1])
    work.cancel(names[3])
    assert work.claim(free=9, holding=(names[0],)) == []
    assert [work.get(name).behind for name in (names[2], names[4])] == [names[0], names[2]]
    work.done(hold)
    assert [each.task for each in work.claim(free=9)] == [names[2]]


def test_tasks_that_left_a_lane_early_do_not_come_back_into_it(work):
    """Seeds 53 and 198 of the simulation: those behind the first waited for one that had been cancelled."""
    names = [work.submit(lane="l") for _ in range(4)]
    (hold,) = work.claim(free=9)
    work.cancel(names[1])
    work.cancel(names[2])
    work.done(hold)
    assert [each.task for each in work.claim(free=9)] == [names[3]]


def test_one_that_is_tried_again_takes_its_place_at_the_end_of_its_lane(work):
    first, second, third = (work.submit(lane="l", attempts=1) for _ in range(3))
    for name in (first, second):
        work.fail(Hold(ONE, name, work.claim()[0].fence))
    work.retry(first)
    work.retry(second)
    fourth = work.submit(lane="l")
    done = []
    while given := work.claim(free=9):
        (hold,) = given
        work.done(hold)
        done.append(hold.task)
    assert sorted(done) == sorted([first, second, third, fourth])
    assert done[0] == third


def test_lanes_of_other_agents_are_others(work):
    work.submit(lane="l")
    other = work.submit(target=Target("s", "core", "other"), lane="l")
    assert work.get(other).behind is None


# tenants


def test_tenants_take_turns_however_much_each_of_them_wants(work):
    many = [work.submit(tenant="big") for _ in range(5)]
    few = [work.submit(tenant="small") for _ in range(2)]
    assert [hold.task for hold in work.claim(free=9)] == [many[0], few[0], many[1], few[1], *many[2:]]


def test_a_new_process_knows_who_stands_in_line(work):
    [work.submit(tenant="big") for _ in range(4)]
    work.claim(free=2)
    work.fairness = Fairness()
    work.turn(lambda turn: standing.fill(turn.connection, work.fairness))
    small = work.submit(tenant="small")
    big = work.submit(tenant="big")
    order = [hold.task for hold in work.claim(TWO, free=9)]
    assert order.index(small) <= 1
    assert order[-1] == big


def test_tenants_whose_turn_is_over_are_forgotten(monkeypatch):
    monkeypatch.setattr("quarterdeck.store.fairness.MOST_TENANTS", 3)
    fairness, line = Fairness(), (WORKER, 0)
    for n in range(3):
        fairness.take(line, fairness.tag(line, f"t{n}"))
    fairness.take(line, 5.0)
    assert fairness.tag(line, "t9") == 5.0
    assert set(fairness.last) == {(line, "t9")}


# times


def test_who_begins_later_comes_like_one_that_comes_then_and_who_is_tried_again_keeps_its_place(work, clock):
    later = work.submit(tenant="a", after=clock.now() + 5)
    first, second = work.submit(tenant="a"), work.submit(tenant="a")
    (hold,) = work.claim()
    work.turn(lambda turn: tasks.fail(turn, hold, "no", again=5.0))
    other = work.submit(tenant="b")
    assert [one.task for one in work.claim(free=1)] == [other]
    clock.advance(6)
    assert [one.task for one in work.claim(free=9, holding=(other,))] == [first, second, later]


def test_tasks_in_line_from_an_earlier_version_begin_when_their_time_has_come(work, clock):
    name = work.submit(after=clock.now() + 5)
    work.turn(lambda turn: turn.update(tables.tasks, turn.find(tables.tasks, name), turn=1.0))
    assert work.claim() == []
    clock.advance(6)
    assert [hold.task for hold in work.claim()] == [name]


# what it costs


def effort(work, op):
    """How many hundred steps SQLite takes for what a turn does."""
    count = itertools.count()

    def counted(turn):
        counting = turn.connection.connection.dbapi_connection
        counting.set_progress_handler(lambda: next(count) < 0, 100)
        try:
            op(turn)
            turn.close()
        finally:
            counting.set_progress_handler(None, 0)

    work.turn(counted)
    return next(count)


@pytest.mark.parametrize(
    ("others", "over"), [({"after": 2e9, "priority": 99}, False), ({"lane": "l"}, False), ({}, False), ({"lane": "other"}, True)]
)
def test_what_a_task_costs_does_not_grow_with_what_waits_beside_it_or_is_over(work, others, over):
    def costs():
        claiming = [work.submit(priority=9) for _ in range(20)]
        held = []
        taking = effort(work, lambda turn: held.extend(claims.claim(turn, ONE, 20, (), 1 << 20)))
        holds = [Hold(ONE, task.id, task.fence) for task, _ in held]
        assert {hold.task for hold in holds} == set(claiming)
        ending = effort(work, lambda turn: [tasks.done(turn, hold, "1") for hold in holds])
        adding = effort(work, lambda turn: orders.submit(turn, Order(WORKER, "1", priority=-9, lane="other"), "me"))
        return taking, ending, adding

    few = costs()
    made = work.turn(lambda turn: [orders.submit(turn, Order(WORKER, "1", **others), "me").task.id for _ in range(2_000)])
    if over:
        work.turn(lambda turn: [tasks.cancel(turn, turn.find(tables.tasks, name), "", "me") for name in reversed(made)])
    for before, now in zip(few, costs(), strict=True):
        assert now <= 1.5 * before + 10
