"""What a deadlock is, how it is told, and what it costs to find."""

import gc
import time

import pytest
from tests.unit.work.graphs import running, waits

from quarterdeck.work.waiting import Activity, Edge, Places, deadlocks


def test_two_that_ask_one_another_are_one_deadlock():
    (found,) = deadlocks([running("a"), running("b", since=5.0)], [waits("a", "b"), waits("b", "a")], [])
    assert found.members == ("a", "b")
    assert found.victim == "b"
    assert found.cycle == (Edge("b", "ask", "a"), Edge("a", "ask", "b"))


def test_one_that_waits_for_itself_is_a_deadlock():
    (found,) = deadlocks([running("a")], [waits("a", "a")], [])
    assert found.cycle == (Edge("a", "ask", "a"),)


def test_an_agent_with_one_place_that_asks_itself_waits_for_the_place_it_holds():
    asked = Activity("q", "c/a", "ask", 1.0)
    (found,) = deadlocks([running("t", at="c/a-0"), asked], [waits("t", "q")], [Places("c/a", ("t",), 0)])
    assert found.members == ("q", "t")
    assert found.cycle == (Edge("t", "ask", "q"), Edge("q", "place", "t"))
    assert found.victim == "t", "the one whose wait can be broken, not the younger one that has not begun"


def test_a_free_place_or_a_holder_that_runs_ends_it():
    around = [running("t", at="c/a-0"), Activity("q", "c/a", "ask", 1.0)], [waits("t", "q")]
    assert not deadlocks(*around, [Places("c/a", ("t",), 1)])
    assert not deadlocks([*around[0], running("other", at="c/a-1")], around[1], [Places("c/a", ("t", "other"), 0)])
    assert not deadlocks(*around, [Places("c/a", ("t",), 0), Places("c/a", (), 1)])


def test_a_replica_may_have_places_of_its_own_and_who_holds_one_there_runs():
    holder, asked = running("t", at="c/a-0"), Activity("q", "c/a-0", "ask", 1.0)
    assert not deadlocks([holder, asked], [], [Places("c/a-0", ("t",), 0)])
    assert deadlocks([holder, asked], [waits("t", "q")], [Places("c/a-0", ("t",), 0)])


def test_missing_information_condemns_nobody():
    two = [running("a"), running("b")]
    ring = [waits("a", "b"), waits("b", "a")]
    assert deadlocks(two, ring, [])
    assert not deadlocks(two, [waits("a", "b"), waits("b", "a", "never heard of")], [])
    assert not deadlocks(two[:1], ring, [])
    assert not deadlocks(two, [*ring, waits("b")], []), "a wait for something that has no name here"
    queued = Activity("q", "c/a", "ask", 0.0)
    assert not deadlocks([*two, queued], [waits("a", "q")], [Places("c/a", ("a", "never heard of"), 0)])
    assert not deadlocks([queued], [], [Places("c/a", (), 0)]), "no replica at all is a matter for whoever heals"


def test_whoever_only_waits_for_a_deadlock_is_no_member_of_it():
    chain = [running(name) for name in "abcd"]
    (found,) = deadlocks(chain, [waits("a", "b"), waits("b", "a"), waits("c", "a"), waits("d", "c")], [])
    assert found.members == ("a", "b")


def test_a_cycle_that_hangs_on_a_deadlock_is_none_of_its_own():
    """Its end is the end of both: `a` needs any of the two it waits for."""
    five = [running(name) for name in "abcd"]
    (found,) = deadlocks(five, [waits("a", "b", "c"), waits("b", "a"), waits("c", "d"), waits("d", "c")], [])
    assert found.members == ("c", "d")


def test_separate_deadlocks_are_told_apart():
    four = [running(name) for name in "abcd"]
    found = deadlocks(four, [waits("a", "b"), waits("b", "a"), waits("c", "d"), waits("d", "c")], [])
    assert [deadlock.members for deadlock in found] == [("a", "b"), ("c", "d")]


def test_the_cycle_is_a_shortest_one():
    ring = [waits(str(n), str((n + 1) % 6), *(["0"] if n == 2 else [])) for n in range(6)]
    (found,) = deadlocks([running(str(n), priority=-(n == 0)) for n in range(6)], ring, [])
    assert len(found.members) == 6
    assert [edge.waiter for edge in found.cycle] == ["0", "1", "2"]


def test_the_least_important_and_then_the_youngest_gives_way():
    ring = [waits("a", "b"), waits("b", "c"), waits("c", "a")]

    def victim(*of):
        return deadlocks([running(name, since=since, priority=priority) for name, since, priority in of], ring, [])[0].victim

    assert victim(("a", 1.0, 0), ("b", 9.0, 5), ("c", 2.0, 5)) == "a"
    assert victim(("a", 1.0, 5), ("b", 9.0, 5), ("c", 2.0, 5)) == "b"
    assert victim(("a", 1.0, 5), ("b", 1.0, 5), ("c", 1.0, 5)) == "a"


def test_a_deadlock_is_told_in_one_sentence():
    activities = [
        Activity("01A", "analysts/analyst-0", "task", 3.0),
        Activity("01B", "reporting/reporter", "task", 4.0),
        Activity("01C", "reporting/reporter-0", "task", 1.0, priority=1, label="INC-4711"),
        Activity("q7", "analysts/analyst", "ask", 5.0),
    ]
    picture = [waits("01A", "01B", kind="delegate"), waits("01C", "q7")]
    (found,) = deadlocks(activities, picture, [Places("reporting/reporter", ("01C",), 0), Places("analysts/analyst", ("01A",), 0)])
    assert found.told == (
        "analysts/analyst-0 task 01A delegates to reporting/reporter task 01B → queued behind reporting/reporter-0 task INC-4711"
        " → asks analysts/analyst ask q7 → queued behind analysts/analyst-0 task 01A"
    )


def test_a_long_cycle_is_cut_short_in_the_telling():
    around = 500
    ring = [waits(f"{n:03}", f"{(n + 1) % around:03}") for n in range(around)]
    (found,) = deadlocks([running(f"{n:03}") for n in range(around)], ring, [])
    assert len(found.cycle) == around
    assert found.told.endswith("→ … and 488 more, back to c/000-0 task 000")
    assert len(found.told) < 1000


def test_a_slow_chain_of_any_length_is_live():
    chain = [running(str(n), since=float(n)) for n in range(20_000)]
    assert not deadlocks(chain, [waits(str(n + 1), str(n)) for n in range(19_999)], [])


# What it costs


@pytest.fixture
def no_collector():
    """What the rest of the test run keeps in memory is not our cost."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_ten_thousand_activities_and_twenty_thousand_waits_take_about_a_tenth_of_a_second(no_collector, slowness):
    """Processor time, the best of some: the machine may be busy with other things."""
    count = 10_000
    ring = [running(f"{n:05}", at=f"c/a-{n}") for n in range(count)]
    graph = [waits(f"{n:05}", f"{(n + step) % count:05}") for n in range(count) for step in (1, 7)]
    taken = []
    for _ in range(10):
        begun = time.process_time()
        (found,) = deadlocks(ring, graph, [])
        taken.append(time.process_time() - begun)
        assert len(found.members) == count
        if taken[-1] < 0.2 * slowness():
            return
    raise AssertionError(f"{min(taken):.3f} s")


def test_a_crowd_that_queues_for_few_places_costs_no_more(slowness):
    holders = [running(f"h{n}", at=f"c/a-{n}") for n in range(1000)]
    crowd = [Activity(f"q{n}", "c/a", "ask", 0.0) for n in range(9000)]
    graph = [waits(f"h{n}", *(f"q{(n * 20 + k) % 9000}" for k in range(20))) for n in range(1000)]
    begun = time.process_time()
    (found,) = deadlocks(holders + crowd, graph, [Places("c/a", tuple(h.id for h in holders), 0)])
    assert time.process_time() - begun < 1.0 * slowness(), "nine million edges would take longer"
    assert len(found.members) == 10_000
