"""A ledger over a real store and a virtual clock, which replicas talk to without a bus."""

import asyncio
import json

import pytest

from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Conflict, Forbidden, NotFound, QuarterdeckError, Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Fenced, Holder, Order, Target
from quarterdeck.store import effects, events, tasks
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.desk import Work
from quarterdeck.work.ledger import Ledger

HUMAN = Actor("uid:0", "socket")
KINDS = {kind.__name__: kind for kind in (Fenced, Conflict, Forbidden, NotFound, UserError, Terminal, Transient)}


class Office:
    """`told` are the words that were sent. `held` keeps writes back until it is set, `lost` loses what the next ones answer."""

    def __init__(self, folder):
        self.clock, self.fairness, self.told = VirtualClock(), Fairness(), []
        self.store = Store.open(Home(folder), self.clock)
        self.reached = lambda *_: ""
        self.commits = 0
        self.start()

    def start(self):
        """A new process: it knows nothing but the rows."""
        self.held = asyncio.Event()
        self.held.set()
        reach = lambda *asked: self.reached(*asked)  # noqa: E731, PLW0108 a test may replace it
        self.ledger = Ledger(
            self._write, self.clock, reach, lambda target, n: self.told.append((target.name, n)), self.fairness, lambda: 0.0
        )
        self.work = Work(self.store, self.clock, self.fairness, reach, self.ledger.heard)

    async def restart(self):
        self.fairness = Fairness()
        self.start()
        await self.ledger.open()

    async def _write(self, work):
        found = await self.store.write(work)
        self.commits += 1
        await self.held.wait()
        return found

    async def say(self, holder, *asked):
        """The answer to each op; an error is raised where only one was asked."""
        found = json.loads(await self.ledger.serve(holder, json.dumps({"ops": [ops.pack(op) for op in asked]}).encode()))
        if "error" in found:
            raise self._error(found["error"])
        answers = [self._error(one["error"]) if "error" in one else one.get("ok", "later") for one in found["answers"]]
        if len(answers) > 1:
            return answers
        if isinstance(answers[0], QuarterdeckError):
            raise answers[0]
        return answers[0]

    @staticmethod
    def _error(found):
        return KINDS[found["kind"]](found["message"], hint=found["hint"])

    async def submit(self, payload="1", *, to="c/a", **more):
        cluster, _, agent = to.partition("/")
        (made,) = await self.work.submit([Order(Target("s", cluster, agent), payload, **more)], HUMAN)
        return made.task.id

    async def claim(self, holder, free=1, holding=()):
        return [(one["task"], one["fence"]) for one in await self.say(holder, ops.Claim(free, tuple(holding)))]

    async def running(self, holder, **more):
        task = await self.submit(to=holder.target.name, **more)
        ((given, fence),) = await self.claim(holder)
        assert given == task
        return task, fence

    async def pass_time(self, seconds, *, renewing=()):
        """In steps in which those who renew do so: (holder, task, fence) each."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
            for holder, task, fence in renewing:
                await self.say(holder, ops.Renew(((task, fence),)))
            await self.ledger.sweep()

    def get(self, task):
        return self.work.get(task)

    def kinds(self, task):
        with self.store.read() as connection:
            return [event.kind for event in events.of(connection, [task])]

    def effects(self, task):
        with self.store.read() as connection:
            return {effect.key: effect.outcome for effect in effects.of_task(connection, task)}

    def body(self, task, kind="result"):
        with self.store.read() as connection:
            return tasks.body(connection, task, kind)


@pytest.fixture
def replica():
    """`replica("a", 0, 1)`: the holder of that name."""
    return lambda agent="a", n=0, incarnation=1, cluster="c", system="s": Holder(system, cluster, agent, n, incarnation)


@pytest.fixture
def office(tmp_path):
    """Runs a test's body with an open office."""

    def run(play):
        async def whole():
            made = Office(tmp_path / "home")
            try:
                await made.ledger.open()
                async with asyncio.timeout(30):
                    await play(made)
            finally:
                made.store.close()

        asyncio.run(whole())

    return run
