"""Deadlocks are found, told and broken; whoever may still go on is left alone, however long that takes."""

import gc
import random
import time
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.work.waiting import SETTLED, Activity, Edge, Places, Wait, confirm, deadlocks, look

LOOK = 0.5
"""Seconds between two looks of the one who watches."""


def running(name, at="", **more):
    return Activity(name, at or f"c/{name}-0", "task", **{"since": 0.0, **more})


def waits(waiter, *on, kind="ask", since=0.0):
    return Wait(waiter, on, kind, since)


# What a deadlock is


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


# Any picture

NAMES = [f"n{n}" for n in range(8)]
AGENTS = ["c/a", "c/b"]
pictures = st.tuples(
    st.lists(st.builds(Activity, st.sampled_from(NAMES), st.sampled_from([*AGENTS, "c/a-0", "c/b-0"]), st.just("task"),
                       st.integers(0, 3).map(float), st.integers(0, 2)), unique_by=lambda a: a.id),
    st.lists(st.builds(Wait, st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
                       st.sampled_from(["ask", "delegate", "barrier"]), st.just(0.0)), max_size=12),
    st.lists(st.builds(Places, st.sampled_from(AGENTS), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
                       st.sampled_from([0, 0, 0, 1])), max_size=3),
)  # fmt: skip


def alive(activities, graph, places):
    """Who is live, from the definition and in no hurry."""
    known, live = {a.id for a in activities}, set()

    def can_go_on(activity):
        mine = [w for w in graph if w.waiter == activity.id]
        here = [p for p in places if p.at == activity.at]
        queued = bool(here) and all(activity.id not in p.holders for p in here)
        holders = {holder for p in here for holder in p.holders}
        if any(not w.on or any(on not in known or on in live for on in w.on) for w in mine):
            return True
        if queued:
            return any(p.free for p in here) or not holders or any(holder not in known or holder in live for holder in holders)
        return not mine

    while True:
        more = {a.id for a in activities if a.id not in live and can_go_on(a)}
        if not more:
            return live
        live |= more


@given(pictures)
def test_no_live_activity_is_ever_a_member_and_every_dead_one_leads_to_a_deadlock(picture):
    dead = {a.id for a in picture[0]} - alive(*picture)
    found = deadlocks(*picture)
    assert {member for deadlock in found for member in deadlock.members} <= dead
    assert bool(found) == bool(dead)


@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=2), min_size=1, max_size=12))
def test_a_deadlock_is_all_that_one_can_get_to_from_each_of_its_members(needed):
    """Everybody waits, so all are dead; reachability, computed in no hurry, says which of them are in a deadlock."""
    names = [f"n{n:02}" for n in range(len(needed))]
    graph = {name: {names[n % len(names)] for n in needs} for name, needs in zip(names, needed, strict=True)}
    reach = {name: set(needs) for name, needs in graph.items()}
    for _ in names:
        reach = {name: there.union(*(reach[other] for other in there)) for name, there in reach.items()}
    expected = {tuple(sorted(there)) for there in reach.values() if all(reach[other] == there for other in there)}
    found = deadlocks([running(name) for name in names], [waits(name, *sorted(needs)) for name, needs in graph.items()], [])
    assert [deadlock.members for deadlock in found] == sorted(expected)


@given(pictures, st.randoms())
def test_the_same_picture_in_another_order_gives_the_same_answer(picture, chance):
    activities, graph, places = (list(part) for part in picture)
    before = deadlocks(activities, graph, places)
    for part in (activities, graph, places):
        chance.shuffle(part)
    assert deadlocks(activities, graph, places) == before


@given(pictures)
def test_a_cycle_goes_round_through_members_and_begins_at_the_victim(picture):
    for found in deadlocks(*picture):
        assert found.cycle[0].waiter == found.victim
        assert [edge.on for edge in found.cycle] == [*(edge.waiter for edge in found.cycle[1:]), found.victim]
        assert {edge.waiter for edge in found.cycle} <= set(found.members)
        assert len({edge.waiter for edge in found.cycle}) == len(found.cycle)
        real = {(w.waiter, w.kind, on) for w in picture[1] for on in w.on}
        assert all((e.waiter, e.kind, e.on) in real for e in found.cycle if e.kind != "place")
        assert found.told


def broken(picture, deadlock):
    """The picture after the victim's wait failed; one that had not even begun is turned away instead."""
    activities, graph, places = picture
    if deadlock.cycle[0].kind == "place":
        return [a for a in activities if a.id != deadlock.victim], graph, places
    return activities, [w for w in graph if w.waiter != deadlock.victim], places


@given(pictures)
def test_breaking_a_victims_wait_frees_every_member_and_breaking_all_leaves_no_deadlock(picture):
    for _ in range(len(NAMES) + 1):
        found = deadlocks(*picture)
        if not found:
            return
        picture = broken(picture, found[0])
        victim = found[0].victim
        here = {p.at for p in picture[2] if victim not in p.holders}
        if not any(a.id == victim and a.at in here for a in picture[0]):  # a victim that is queued as well needs a place, too
            assert set(found[0].members) - {victim} <= alive(*picture)
    raise AssertionError("more victims than activities")


@given(st.data())
def test_a_graph_in_which_every_chain_ends_at_a_live_activity_has_no_deadlock(data):
    """Each waits for at least one that comes before it in some order, and for whatever else: cycles may be in there, nobody is dead."""
    count = data.draw(st.integers(1, 30))
    names = data.draw(st.permutations([f"n{n}" for n in range(count)]))
    graph = []
    for n, name in enumerate(names[1:], start=1):
        others = data.draw(st.lists(st.sampled_from(names), max_size=3))
        graph.append(waits(name, *others, names[data.draw(st.integers(0, n - 1))]))
    assert not deadlocks([running(name) for name in names], graph, [])


def test_a_slow_chain_of_any_length_is_live():
    chain = [running(str(n), since=float(n)) for n in range(20_000)]
    assert not deadlocks(chain, [waits(str(n + 1), str(n)) for n in range(19_999)], [])


# The watch, in virtual time


class Watch:
    """Looks each half second; what is certain comes out."""

    def __init__(self):
        self.suspects = ()

    def sees(self, now, activities, graph=(), places=()):
        self.suspects = confirm(self.suspects, look(activities, graph, places, now))
        return [suspect.deadlock for suspect in self.suspects if suspect.certain]


RING = [waits("a", "b"), waits("b", "a")]


@given(st.floats(0.0, 2.0), st.floats(0.0, 0.3))
def test_a_deadlock_is_certain_within_two_seconds_of_its_making(made, jitter):
    watch, now = Watch(), 0.0
    while not watch.sees(now, [running("a"), running("b")], RING if now >= made else RING[:1]):
        now += LOOK + jitter
        assert now < made + 2.0
    assert now >= made + SETTLED


def test_one_look_condemns_nobody():
    watch = Watch()
    assert not watch.sees(0.0, [running("a"), running("b")], RING)
    assert not watch.sees(0.4, [running("a"), running("b")], RING)
    assert watch.sees(0.6, [running("a"), running("b")], RING)


def test_whoever_moved_between_two_looks_is_looked_at_anew():
    two = [running("a"), running("b")]
    for change in (
        ([running("a", progress=1), running("b")], RING),
        ([running("a", at="c/a-1"), running("b")], RING),
        (two, [waits("a", "b", since=0.2), waits("b", "a")]),
        (two, [waits("a", "b", kind="delegate"), waits("b", "a")]),
    ):
        watch = Watch()
        watch.sees(0.0, two, RING)
        assert not watch.sees(0.5, *change)
        assert watch.sees(1.0, *change)


def test_one_that_vanished_for_a_look_is_looked_at_anew():
    watch = Watch()
    watch.sees(0.0, [running("a"), running("b")], RING)
    watch.sees(0.5, [running("a")], RING)
    assert not watch.sees(1.0, [running("a"), running("b")], RING)


def test_a_live_chain_is_left_alone_for_ten_minutes():
    """A hundred wait in a row for one that works without a sign of life, with all places taken and a queue behind them."""
    chain = [running(str(n), at=f"c/a{n}-0") for n in range(100)]
    queue = [Activity(f"q{n}", f"c/a{n}", "ask", 0.0) for n in range(100)]
    graph = [waits(str(n + 1), str(n), f"q{n}", kind="delegate") for n in range(99)]
    places = [Places(f"c/a{n}", (str(n),), 0) for n in range(100)]
    watch = Watch()
    for tick in range(1201):
        assert not watch.sees(tick * LOOK, chain + queue, graph, places)
    closed = [*graph, waits("0", "99")]
    assert not watch.sees(601.0, chain + queue, closed, places)
    assert watch.sees(601.5, chain + queue, closed, places), "the same chain, closed to a ring"


@dataclass
class Doing:
    """A task of the fleet below: where it is, what it asked, when it goes on by itself."""

    agent: int
    since: float
    until: float
    placed: bool = False
    on: str | None = None
    progress: int = 0


class Fleet:
    """Agents with one place each, whose tasks ask one another at random and give up after a while.

    Rings close and open again all the time. Each replica reports on its own, so that a picture shows several times at once.
    """

    def __init__(self, seed, oldest, agents=4):
        self.chance = random.Random(seed)  # noqa: S311 a seed that repeats
        self.oldest = oldest
        self.agents = agents
        self.tasks = {}
        self.count = 0
        self.reports = [(0.0, [])] * agents

    def begin(self, agent, now):
        self.count += 1
        self.tasks[f"t{self.count}"] = Doing(agent, now, now)
        return f"t{self.count}"

    def step(self, now):
        if len(self.tasks) < 3 * self.agents:
            self.begin(self.chance.randrange(self.agents), now)
        for name, task in list(self.tasks.items()):
            if not task.placed:
                task.placed = not any(other.placed and other.agent == task.agent for other in self.tasks.values())
                task.until = now + self.chance.uniform(0.0, 0.3)
            elif task.on is not None and (task.on not in self.tasks or now >= task.until):
                task.on, task.until, task.progress = None, now + self.chance.uniform(0.0, 0.3), task.progress + 1
            elif now >= task.until and self.chance.random() < 0.2:
                del self.tasks[name]
            elif now >= task.until:
                task.on, task.since, task.until = (
                    self.begin(self.chance.randrange(self.agents), now),
                    now,
                    now + self.chance.uniform(0.1, 2.0),
                )

    def report(self, now):
        for agent, (at, _) in enumerate(self.reports):
            if now - at >= self.oldest - 0.1 or self.chance.random() < 0.05:
                self.reports[agent] = now, [(name, replace(task)) for name, task in self.tasks.items() if task.agent == agent]

    def all(self):
        return list(self.tasks.items())

    def seen(self):
        return [reported for _, tasks in self.reports for reported in tasks]

    @staticmethod
    def picture(seen):
        at = {name: f"c/a{task.agent}-0" if task.placed else f"c/a{task.agent}" for name, task in seen}
        activities = [Activity(name, at[name], "task", task.since, progress=task.progress) for name, task in seen]
        graph = [Wait(name, (task.on,), "ask", task.since) for name, task in seen if task.on]
        return activities, graph, [Places(f"c/a{task.agent}", (name,), 0) for name, task in seen if task.placed]


def watched(oldest):
    """Looks of five minutes that gave a certainty, and those whose certainty had not been so when it was first seen."""
    certain = wrong = 0
    for seed in range(3):
        fleet, watch, true = Fleet(seed, oldest), Watch(), {}
        for tick in range(1, 1000):
            now = tick / 10
            fleet.step(now)
            fleet.report(now)
            if tick % 5 == 0:
                true[now] = {member for deadlock in deadlocks(*fleet.picture(fleet.all())) for member in deadlock.members}
                watch.sees(now, *fleet.picture(fleet.seen()))
                found = [suspect for suspect in watch.suspects if suspect.certain]
                certain += bool(found)
                wrong += any(not set(suspect.deadlock.members) <= true[suspect.since] for suspect in found)
    return certain, wrong


def test_what_is_certain_was_so_however_stale_the_reports_it_was_seen_through():
    certain, wrong = watched(oldest=SETTLED)
    assert certain > 20
    assert wrong == 0


def test_reports_that_are_older_than_that_would_deceive():
    """Why the picture must leave them out."""
    _, wrong = watched(oldest=4 * SETTLED)
    assert wrong > 0


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
