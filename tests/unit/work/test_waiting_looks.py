"""Deadlocks are certain after two looks; whoever may still go on is left alone, however long that takes."""

import random
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.work.graphs import running, waits

from quarterdeck.work.waiting import SETTLED, Activity, Places, Wait, confirm, deadlocks, look

LOOK = 0.5
"""Seconds between two looks of the one who watches."""


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
