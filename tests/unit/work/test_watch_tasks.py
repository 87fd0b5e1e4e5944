"""Tasks that wait for one another, as the rows tell of them beside the reports; and what the watch keeps and refuses."""

import json

import pytest
from tests.unit.work.reporters import HOUR, Office, holder, row, task

from quarterdeck.errors import UserError
from quarterdeck.model import ops
from quarterdeck.work.requests import unpack
from quarterdeck.work.watch import FORGET


@pytest.fixture
def office():
    return Office()


def full(office):
    """One agent of one place, whose task delegates to the agent itself."""
    a = office.replica("a")
    parent, child = row(office, "P", "a", state="waiting"), row(office, "K", "a")
    office.leases.grant(parent, 3, a.who, office.clock.monotonic())
    a.asking(parent, child, "task", "delegate", "c/a")
    return a, parent, child


def test_a_task_that_waits_for_one_that_is_queued_behind_it_is_broken_and_the_child_given_up(office):
    a, parent, child = full(office)
    office.pass_time(1.0)
    assert [(waiter, on) for waiter, on, _ in a.broken] == [(parent, child)]
    office.pass_time(0.5)
    assert [broken.child for broken in office.watch.ended] == [child]


def test_another_replica_that_we_have_not_heard_of_could_take_it(office):
    full(office)
    office.staff["c/a"] = frozenset({(0, 1), (1, 1)})
    office.pass_time(HOUR / 60)
    assert not office.broken
    office.watch.serves(holder("a", 1), None)
    office.pass_time(HOUR / 60)
    assert not office.broken
    office.watch.serves(holder("a", 1), 1)
    office.leases.grant(task("other"), 1, holder("a", 1), 0.0)
    office.pass_time(5.0)
    assert not office.broken, "the other one works"
    office.watch.gone(holder("a", 1))
    office.leases.drop(task("other"))
    office.staff["c/a"] = frozenset({(0, 1)})
    office.pass_time(3.0)
    assert office.broken


def test_nobody_knows_the_replicas_so_there_may_be_one_that_is_free(office):
    full(office)
    office.staff.clear()
    office.pass_time(HOUR / 60)
    assert not office.broken


@pytest.mark.parametrize("changed", [{"state": "unknown"}, {"state": "done"}, {"after": 1e12}])
def test_a_child_that_waits_for_something_else_than_a_place_is_no_reason(office, changed):
    full(office)
    row(office, "K", "a", **changed)
    office.pass_time(HOUR / 60)
    assert not office.broken


def test_a_child_in_the_lane_of_its_parent_is_behind_it(office):
    a = office.replica("a", places=5)
    parent = row(office, "P", "a", state="waiting")
    child = row(office, "K", "a", behind=parent)
    office.leases.grant(parent, 3, a.who, 0.0)
    a.asking(parent, child, "task", "lane", "c/a")
    office.pass_time(1.0)
    assert [(waiter, on) for waiter, on, _ in a.broken] == [(parent, child)]


def test_a_task_that_also_waits_for_a_human_goes_on_when_he_answers(office):
    a, parent, _ = full(office)
    a.asking(parent, "question#1", "task", "human", "")
    office.pass_time(HOUR / 60)
    assert not office.broken


def test_the_lowest_priority_gives_way(office):
    a, b = office.replica("a"), office.replica("b")
    first, second = row(office, "1", "a", state="waiting", priority=5), row(office, "2", "b", state="waiting", priority=9)
    third, fourth = row(office, "3", "b", priority=5), row(office, "4", "a", priority=9)
    office.leases.grant(first, 1, a.who, 0.0)
    office.leases.grant(second, 1, b.who, 0.0)
    b.asking(second, fourth, "task", "delegate", "c/a")
    a.asking(first, third, "task", "delegate", "c/b")
    office.pass_time(1.0)
    assert [waiter for waiter, *_ in office.broken] == [first]


# What it keeps


def test_a_task_shows_what_it_asked(office):
    a = office.replica("a")
    a.asking(task("T"), "9", "task", to="c/b")
    a.report()
    (found,) = office.watch.asks(task("T"))
    assert (found.to, found.since) == ("c/b", office.clock.now())
    assert office.watch.asks(task("U")) == ()
    a.waits.clear()
    a.report()
    assert office.watch.asks(task("T")) == ()


def test_nothing_is_kept_of_replicas_that_are_gone_or_say_nothing_any_more(office):
    for n in range(50):
        replica = office.replica("a", n)
        replica.held("h")
        replica.asking("h", "x")
        replica.report()
    office.watch.gone(holder("a", 0))
    office.pass_time(FORGET + 3.0, reports=False)
    assert not office.watch._reports
    assert not office.watch._suspects


def test_a_loop_is_told_once_a_minute(office):
    looped = ops.Looped(("c/a", "c/b"), 18, "c/a-0", "v")
    assert [office.watch.is_new("s", looped) for _ in range(3)] == [True, False, False]
    assert office.watch.is_new("other", looped)
    office.clock.advance(61)
    assert office.watch.is_new("s", looped)


@pytest.mark.parametrize(
    "fields",
    [
        {"asks": [["a", "v", 1.0]]},
        {"asks": [["a", "v", "soon", True]]},
        {"waits": [["w", "nobody", "v", "on", "ask", "to", 1.0]]},
        {"waits": [["w", "ask", "v", "on", "hope", "to", 1.0]]},
        {"waits": [["w", "ask", "v", "on", "ask", "to", float("nan")]]},
        {"n": "many"},
        {"seen": None},
        {"asks": [["a", "v", 1.0, True]] * 2000},
    ],
)
def test_a_report_that_is_none_is_refused(fields):
    whole = {"n": 1, "seen": 0.0, "places": 1, "free": 0, "asks": [], "waits": [], **fields}
    with pytest.raises(UserError):
        unpack(json.dumps({"ops": [["waits", whole]]}).encode())
