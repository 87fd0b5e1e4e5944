"""The gate: who is refused, for how long, and who never is."""

import asyncio
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from quarterdeck.api.errors import refuse
from quarterdeck.clock import VirtualClock
from quarterdeck.model.desired import Intake
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Order, Overloaded, Submitted, Target
from quarterdeck.store import overview
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.desk import Work
from quarterdeck.work.gate import COUNT_EVERY, Gate

HUMAN = Actor("uid:0", "socket")
TARGET = Target("s", "c", "a")


class Door:
    """A desk over a real store with a gate, and no ledger."""

    def __init__(self, folder, **intake):
        self.clock = VirtualClock()
        self.store = Store.open(Home(folder), self.clock)
        self.intake = Intake(**intake)
        self.gate = Gate(self.clock, lambda _: self.intake, self._count, self._knows)
        self.work = Work(self.store, self.clock, Fairness(), lambda *_: "", self.gate.heard, gate=self.gate)

    def _count(self, system):
        with self.store.read() as conn:
            return overview.unfinished(conn, system)

    def _knows(self, system, keys):
        with self.store.read() as conn:
            return overview.known_keys(conn, system, keys)

    async def give(self, *orders, retry=False):
        return list(await self.work.submit([Order(TARGET, **order) for order in orders], HUMAN, retry=retry))

    def stored(self):
        return self._count("s")


@pytest.fixture
def door(tmp_path):
    """Runs a body with a door that takes as much as is said."""

    def run(body, **intake):
        made = Door(tmp_path, **intake)
        try:
            asyncio.run(body(made))
        finally:
            made.store.close()

    return run


def kinds(made):
    return ["in" if isinstance(one, Submitted) else type(one).__name__ for one in made]


def test_a_tenant_that_asks_too_often_is_told_when_to_come_again_and_others_are_not(door):
    async def body(d):
        made = await d.give(*[{"tenant": "loud"}] * 5, {"tenant": "calm"})
        assert kinds(made) == ["in", "in", "in", "Overloaded", "Overloaded", "in"]
        assert made[3].after == pytest.approx(0.5)
        assert d.stored() == 4
        assert d.gate.refused == {"rate": 2}
        d.clock.advance(0.5)
        assert kinds(await d.give({"tenant": "loud"}, {"tenant": "loud"})) == ["in", "Overloaded"]

    door(body, rate=2.0, burst=3)


def test_without_a_tenant_the_one_who_asks_is_it(door):
    async def body(d):
        assert kinds(await d.give({}, {})) == ["in", "Overloaded"]
        (made,) = await d.work.submit([Order(TARGET)], Actor("uid:1", "socket"))
        assert isinstance(made, Submitted)

    door(body, rate=1.0, burst=1)


def test_unfinished_tasks_are_bounded_and_one_that_ends_makes_room(door):
    async def body(d):
        made = await d.give({}, {}, {})
        assert kinds(made) == ["in", "in", "Overloaded"]
        assert "2 unfinished tasks" in made[2].message
        await d.work.cancel(made[0].task.id, HUMAN, "")
        assert kinds(await d.give({}, {})) == ["in", "Overloaded"]
        assert d.stored() == 2

    door(body, open=2)


def test_orders_that_arrive_together_do_not_pass_the_bound_together(door):
    async def body(d):
        made = await asyncio.gather(*(d.give({}) for _ in range(20)))
        assert sorted(kind for (one,) in made for kind in kinds([one])) == ["Overloaded"] * 15 + ["in"] * 5
        assert d.stored() == 5

    door(body, open=5)


def test_a_known_key_is_never_refused(door):
    async def body(d):
        (first,) = await d.give({"key": "k"})
        assert kinds(await d.give({"key": "other"})) == ["Overloaded"]
        (again,) = await d.give({"key": "k"})
        assert (again.task.id, again.created) == (first.task.id, False)
        assert d.gate.refused == {"full": 1}

    door(body, open=1)


def test_what_others_wrote_is_counted_after_a_while(door):
    async def body(d):
        await d.give({})
        d.gate._open["s"].known = 50  # as if ends had been missed
        assert kinds(await d.give({})) == ["Overloaded"]
        d.clock.advance(COUNT_EVERY)
        assert kinds(await d.give({})) == ["in"]

    door(body, open=10)


def test_retries_are_a_part_of_the_traffic(door):
    async def body(d):
        made = [kinds(await d.give({}, retry=True))[0] for _ in range(12)]
        assert made == ["in"] * 10 + ["Overloaded"] * 2
        d.clock.advance(1.0)
        assert kinds(await d.give({}, retry=True)) == ["in"]
        assert kinds(await d.give({})) == ["in"]

    door(body)


def test_a_deadline_that_has_passed_is_refused_and_nothing_is_stored(door):
    async def body(d):
        (made,) = await d.give({"deadline": d.clock.now() - 1.0})
        assert isinstance(made, Overloaded)
        assert d.stored() == 0

    door(body)


def test_one_that_passes_while_it_waits_for_others_is_refused_too(door):
    async def body(d):
        order = Order(TARGET, deadline=d.clock.now() + 1.0)
        admitted = await d.gate.admit(order, "x")
        d.clock.advance(2.0)
        (made,) = await d.work._keep([(admitted, HUMAN)])
        assert isinstance(made, Overloaded)
        assert d.stored() == 0

    door(body)


def test_a_new_rate_in_the_spec_holds_at_once(door):
    async def body(d):
        assert kinds(await d.give({}, {})) == ["in", "Overloaded"]
        d.intake = replace(d.intake, rate=100.0, burst=50)
        assert kinds(await d.give(*[{}] * 10)) == ["in"] * 10

    door(body, rate=1.0, burst=1)


def test_a_normal_user_never_meets_it(door):
    async def body(d):
        for _ in range(5):
            assert set(kinds(await d.give(*[{}] * 1000))) == {"in"}

    door(body)


class Agent:
    """A gate in front of an agent that begins one task every `pace` seconds, each only before its deadline; nothing is stored."""

    def __init__(self, pace):
        self.clock, self.pace, self.queue, self.begun = VirtualClock(), pace, deque(), []
        self.gate = Gate(self.clock, lambda _: Intake(rate=1e6, burst=1_000_000), lambda _: 0, lambda keys: [False for _ in keys])
        self._given = 0

    async def give(self, within=None, *, priority=0, tenant="", after=0.0, lane=None):
        deadline = None if within is None else self.clock.now() + within
        order = Order(TARGET, deadline=deadline, priority=priority, tenant=tenant, after=after, lane=lane)
        made = await self.gate.admit(order, tenant)
        if isinstance(made, Overloaded):
            return made
        self._given += 1
        task = SimpleNamespace(id=str(self._given), deadline=deadline, target=TARGET)
        self.gate.written(made, Submitted(task, created=True))
        self.queue.append(task)
        return task

    def turns(self, count=1):
        """Let so many turns pass; what is too late leaves unbegun, as the ledger has it."""
        for _ in range(count):
            self.clock.advance(self.pace)
            late = []
            while self.queue and self._too_late(self.queue[0]):
                late.append(self.queue.popleft())
            now = [self.queue.popleft()] if self.queue else []
            self.begun += now
            self.gate.heard(SimpleNamespace(made=[], claimed={task.id: (1, None) for task in now}, ended=late))

    def _too_late(self, task):
        return task.deadline is not None and task.deadline <= self.clock.now()


def overloaded(agent, times, seconds, within):
    """Orders at so many times the rate of an agent, spread evenly; gives those that were let in."""

    async def run():
        given = []
        for _ in range(int(seconds / agent.pace)):
            given += [await agent.give(within) for _ in range(times)]
            agent.turns()
        return [one for one in given if not isinstance(one, Overloaded)]

    return asyncio.run(run())


@pytest.mark.parametrize("times", [1, 2, 5, 20])
def test_at_any_load_nearly_all_that_is_let_in_is_begun_in_time_and_no_turn_is_missed(times):
    agent = Agent(0.005)
    inside = overloaded(agent, times, 20.0, 1.0)
    assert len(agent.begun) >= 0.98 * 20.0 / agent.pace
    assert len(inside) <= 1.1 * 20.0 / agent.pace
    assert agent.gate.refused.keys() == ({"wait"} if times > 1 else set())


def test_who_would_be_begun_too_late_is_told_when_to_come_again_and_who_has_time_is_let_in():
    async def run():
        agent = Agent(0.01)
        for _ in range(300):
            await agent.give()
        agent.turns(100)
        refused = await agent.give(1.0)
        assert isinstance(refused, Overloaded)
        assert refused.after == pytest.approx(1.5, rel=0.1)
        assert "too late for a deadline in 1.0 s" in refused.message
        assert not isinstance(await agent.give(10.0), Overloaded)
        assert not isinstance(await agent.give(), Overloaded)
        assert agent.gate.refused == {"wait": 1}

    asyncio.run(run())


def test_a_higher_priority_another_tenant_a_lane_and_a_later_time_do_not_wait_in_that_line():
    async def run():
        agent = Agent(0.01)
        for _ in range(300):
            await agent.give(tenant="loud")
        agent.turns(100)
        assert isinstance(await agent.give(1.0, tenant="loud"), Overloaded)
        others = [{"priority": 1, "tenant": "loud"}, {"tenant": "calm"}, {"lane": "x"}, {"after": agent.clock.now() + 0.5}]
        assert [isinstance(await agent.give(1.0, **one), Overloaded) for one in others] == [False] * 4

    asyncio.run(run())


def test_a_task_that_is_begun_before_we_hear_that_it_was_written_waits_nowhere():
    async def run():
        agent = Agent(1.0)
        made = await agent.gate.admit(Order(TARGET), "")
        agent.gate.heard(SimpleNamespace(made=[], claimed={"early": (1, None)}, ended=[]))
        agent.gate.written(made, Submitted(SimpleNamespace(id="early"), created=True))
        assert (agent.gate._lines, agent.gate._waiting) == ({}, {})

    asyncio.run(run())


def test_what_was_not_written_after_all_waits_nowhere(door):
    async def body(d):
        await d.give({"key": "k"})
        (task,) = d.gate._waiting
        await d.give({"key": "k"}, {"key": "k", "payload": "2"})
        assert list(d.gate._waiting) == [task]
        await d.work.cancel(task, HUMAN, "")
        assert (d.gate._lines, d.gate._waiting) == ({}, {})

    door(body)


def test_orders_that_were_let_in_before_one_failed_wait_nowhere(door):
    async def body(d):
        once = [d.intake]
        d.gate.intake = lambda _: once.pop()
        with pytest.raises(IndexError):
            await d.give({}, {})
        assert (d.gate._lines, d.gate._open["s"].coming) == ({}, 0)

    door(body)


def test_the_keys_of_many_refused_orders_are_looked_for_together(door):
    async def body(d):
        await d.give({"key": "k"})
        looks = []
        d.gate.knows = lambda _, keys: looks.append(len(keys)) or {"k"}.intersection(keys)
        made = await asyncio.gather(*(d.give({"key": key}) for key in ("k", *map(str, range(50)))))
        assert [kinds(one)[0] for one in made] == ["in"] + ["Overloaded"] * 50
        assert sum(looks) == 51
        assert len(looks) <= 3

    door(body, open=1)


def test_the_doors_answer_with_429_and_when_to_come_again():
    answer = refuse(Overloaded("x", after=1.2))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
