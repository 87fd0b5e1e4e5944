"""A real ledger over a real store, and replicas whose line to it a test may cut; no bus. And the code of an agent for those with one."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import pytest
from tests.unit.agents.fake_node import AGENT

from quarterdeck import Agent
from quarterdeck.agents import line as line_module
from quarterdeck.agents import part, taskwork
from quarterdeck.agents.blobs import Blobs
from quarterdeck.agents.context import Place
from quarterdeck.agents.line import Line
from quarterdeck.agents.taskwork import Taskwork
from quarterdeck.bus.chores import Chores
from quarterdeck.bus.tally import Worked
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Transient
from quarterdeck.masks import Mask
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.model.work import ENDED, Holder, Order, Target
from quarterdeck.store import blobs, effects, events, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.depot import Depot
from quarterdeck.work.desk import Work
from quarterdeck.work.ledger import Ledger

HUMAN = Actor("uid:0", "socket")

SLIPPED = "hunter2-hunter2"
"""The value of a secret of every replica here."""


class Replica:
    """One process: `cut(body)` is asked before each request whether it, or its answer, gets lost."""

    def __init__(self, office, agent, name, number, incarnation):
        self.office = office
        self.holder = Holder("s", "c", name, number, incarnation)
        self.cut = lambda _: None
        self.sent = []
        line = Line(self._ask, Chores(office.group), Blobs(lambda body, _: office.depot.serve(self.holder, body)))
        self.place = Place("c", name, number, None, office.clock, lambda: None, line, worked=Worked(), mask=Mask([("KEY", SLIPPED)]))
        self.work = Taskwork(agent, self.place, line, office.group)

    async def _ask(self, body, limit):
        self.sent += [word for word, _ in json.loads(body)["ops"]]
        lost = self.cut(body)
        if lost == "request":
            raise Transient("lost on the way")
        answer = await self.office.ledger.serve(self.holder, body)
        if lost == "answer":
            raise Transient("lost on the way back")
        return answer

    def open(self):
        self.office.replicas.append(self)
        self.work.open()
        return self

    def die(self):
        """As SIGKILL: nothing more is sent, and the node says so."""
        self.office.replicas.remove(self)
        self.cut = lambda _: "request"
        self.work.abandon()
        return self.office.ledger.gone(self.holder, "signal 9")


class Office:
    """The store, the ledger, and who talks to it."""

    def __init__(self, folder):
        self.clock = VirtualClock()
        self.store = Store.open(Home(folder), self.clock)
        self.replicas = []
        fairness, reach = Fairness(), lambda *_: ""
        self.depot = Depot(blobs.Blobs(self.store.home.blobs), self.clock)
        self.depot.blobs.open()
        use = self.depot.blobs.use
        self.ledger = Ledger(self.store.write, self.clock, reach, self._tell, fairness, lambda: 0.0, use=use)
        self.work = Work(self.store, self.clock, fairness, reach, self.ledger.heard, self.ledger.output, use=use)
        self.group = None

    def _tell(self, target, n):
        for replica in self.replicas:
            if replica.holder.agent == target.agent and n in (None, replica.holder.n):
                replica.work.word()

    def replica(self, agent, name="a", number=0, incarnation=1):
        return Replica(self, agent, name, number, incarnation)

    async def submit(self, payload=None, *, name="a", ref=None, **more):
        (made,) = await self.work.submit([Order(Target("s", "c", name), ref or json.dumps(payload), **more)], HUMAN)
        return made.task.id

    async def pass_time(self, seconds):
        """Of the ledger and its replicas, in steps in which renewals get through."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
            await asyncio.sleep(0.03)
            await self.ledger.sweep()

    async def over_any(self, task):
        """The task once it has ended, claimed or not."""
        async with asyncio.timeout(10):
            while (found := self.work.get(task)).state not in ENDED:  # noqa: ASYNC110 nothing tells
                await asyncio.sleep(0.005)
        return found

    async def over(self, task, *states, claims=1):
        """The task, once it was claimed that often and is in one of these states (any end when none is named)."""
        async with asyncio.timeout(10):
            while (found := self.work.get(task)).state not in (states or (*ENDED, "unknown")) or found.fence < claims:
                await asyncio.sleep(0.005)
                await self.ledger.sweep()
        return found

    def text(self, task, kind="result"):
        with self.store.read() as conn:
            return tasks.body(conn, task, kind)

    def body(self, task, kind="result"):
        text = self.text(task, kind)
        return text if kind == "error" or text is None else json.loads(text)

    def effects(self, task):
        with self.store.read() as conn:
            return {effect.key: effect for effect in effects.of_task(conn, task)}

    def events(self, task):
        with self.store.read() as conn:
            return [event.kind for event in events.of(conn, [task])]


@pytest.fixture
def office(tmp_path, monkeypatch):
    """Runs a test's body with an open office: `office(body)`. Renewals each 10 ms, so that virtual seconds pass quickly."""
    monkeypatch.setattr(taskwork, "RENEW_EVERY", 0.01)
    monkeypatch.setattr(line_module, "PAUSE_FIRST", 0.005)
    monkeypatch.setattr(line_module, "ATTEMPT", 0.5)
    monkeypatch.setattr(part, "GRACE", 0.5)

    @asynccontextmanager
    async def opened():
        made = Office(tmp_path)
        try:
            await made.ledger.open()
            async with asyncio.TaskGroup() as made.group:
                yield made
                for replica in list(made.replicas):
                    await replica.work.close(0.2)
                    replica.place.line._chores.cancel()
        finally:
            made.store.close()

    def run(body):
        async def whole():
            async with opened() as made, asyncio.timeout(25):
                await body(made)

        asyncio.run(whole())

    return run


@pytest.fixture
def agent():
    """An agent with one task handler: the decorated function."""

    def make(function, **options):
        found = Agent(**options)
        found.task()(function)
        return found

    return make


@pytest.fixture
def code(tmp_path):
    """A folder with the agent that `fake_node.make_boot` starts; forgotten by Python afterwards."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "worker_under_test.py").write_text(AGENT)
    yield root
    sys.path[:] = [one for one in sys.path if one != str(root)]
    sys.modules.pop("worker_under_test", None)
