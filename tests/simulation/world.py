"""A small fleet in which everything is real but time, network and disk: the store's functions, the ledger, the desk and the SDK.

What is simulated: a network that delays, loses and doubles; a database in memory that commits at once and answers later; a control plane
that dies in between; replicas that die, or stop for longer than their lease and go on; humans who answer, and look before they say what
happened.
"""

from __future__ import annotations

import asyncio
import random

from sqlalchemy import select
from tests.simulation.ground import AGENTS, Clock, Disk
from tests.simulation.loop import Loop
from tests.simulation.nemesis import Nemesis
from tests.simulation.people import People
from tests.simulation.processes import Control, Replica

from quarterdeck import Agent, Context
from quarterdeck.errors import UserError
from quarterdeck.model.work import ENDED
from quarterdeck.store import events, questions, tables
from quarterdeck.store.chain import EMPTY
from quarterdeck.store.writing import Writing
from quarterdeck.work.history import Call, Violation, check

PEACE = 900.0
"""Seconds after the trouble in which everything has to come to an end."""


class World:
    """One run. `problems` says what was wrong with it."""

    def __init__(self, disk: Disk, seed: int) -> None:
        self.seed, self.disk = seed, disk
        self.loop = Loop(seed)
        self.chance = self.loop.chance
        random.seed(seed)  # what the SDK uses
        self.clock = Clock(self.loop)
        self.head = EMPTY
        self.rough = True
        self.loss, self.doubling = self.chance.choice([(0.0, 0.0), (0.05, 0.05), (0.2, 0.1)])
        self.calls: list[Call] = []
        self.acknowledged: dict[str, str] = {}
        self.seen: dict[tuple[str, str, int], object] = {}
        self.wrong: list[Violation] = []
        self.control = Control(self)
        self.replicas = [Replica(self, agent, n) for agent in AGENTS for n in range(self.chance.choice([1, 2]))]
        self.told: dict[str, int] = {}

    # the world outside

    def commit(self, work):
        with self.disk.engine.connect() as connection:
            tx = Writing(connection, self.clock, self.head)
            with connection.begin():
                found = work(tx)
            self.head = tx.head
        return found

    def carry(self, replica: Replica, deliver) -> None:
        """A message of or to a replica: late, lost or doubled."""
        lost = self.rough and (replica.cut_off or self.chance.random() < self.loss)
        for _ in range(0 if lost else 2 if self.rough and self.chance.random() < self.doubling else 1):
            slow = self.rough and self.chance.random() < 0.03
            self.loop.call_later(self.chance.random() * (8.0 if slow else 0.05), deliver)

    def tell(self, target, n) -> None:
        those = [r for r in self.replicas if r.agent == target.agent and n in (None, r.n)]
        if those:
            replica = self.chance.choice(those)
            self.carry(replica, replica.word)

    def inform(self, what) -> None:
        """What the node saw, if there is somebody to hear of it."""

        def heard() -> None:
            if not self.control.up:
                return
            ledger = self.control.ledger
            made = what(ledger)
            if asyncio.iscoroutine(made):
                self.control.process.start(made)

        self.loop.call_later(self.chance.random() * 0.5, heard)

    # what agents do

    def agent(self, name: str) -> Agent:
        found, below = Agent(name, concurrency=2), AGENTS[-1] if name == AGENTS[1] else AGENTS[1]

        async def work(payload: dict, ctx: Context):
            for n in range(payload.get("steps", 0)):
                self._saw(ctx.task.id, n, await ctx.step("part", self.part, n))
            if payload.get("effect"):
                await self._effect(payload, ctx)
            if payload.get("children"):
                wanted = [ctx.delegate(f"c/{below}", "task", child) for child in payload["children"]]
                await asyncio.gather(*wanted, return_exceptions=True)
            if payload.get("ask"):
                await ctx.ask_human("go on?", options=["yes", "no"], default="no", until=payload["ask"])
            await asyncio.sleep(payload.get("sleep", 0))
            if self.chance.random() < payload.get("fails", 0):
                raise RuntimeError("as it was told to")
            return payload["n"]

        found.task()(work)
        return found

    async def part(self, n: int) -> float:
        await asyncio.sleep(self.chance.random())
        return self.chance.random()

    def _saw(self, task: str, n: int, value: object) -> None:
        if self.seen.setdefault((task, "part", n), value) != value:
            self.wrong.append(Violation("a step keeps its value", task, f"part {n} was {self.seen[task, 'part', n]}, then {value}"))

    async def _effect(self, payload: dict, ctx: Context) -> None:
        name, semantics = payload["key"], payload["effect"]

        async def call(root: str, name: str, value: str, key: str = "") -> str:
            made = Call(root, name, value)
            self.calls.append(made)
            await asyncio.sleep(self.chance.random() * self.chance.choice([0.1, 1.0, 20.0]))
            match int(self.chance.random() * 10) if self.rough else None:
                case 0:
                    raise RuntimeError("who knows")
                case 1:
                    self.calls.remove(made)
                    raise UserError("it did not happen", hint="")
            return f"{value} is done"

        self.told["effects"] = self.told.get("effects", 0) + 1
        await ctx.effect(name, call, ctx.task.root, name, payload["value"], semantics=semantics)

    # the run

    def run(self) -> list[Violation]:
        """Everything that was wrong."""
        self.disk.clear()
        self.loop.run(self._run())
        return self.wrong

    async def _run(self) -> None:
        self.control.start()
        for replica in self.replicas:
            replica.start()
        people, nemesis = People(self), Nemesis(self)
        human = asyncio.create_task(people.human())
        async with asyncio.TaskGroup() as group:
            for n in range(self.chance.choice([2, 4, 6])):
                group.create_task(people.user(n))
            group.create_task(nemesis.run())
        self.rough = False
        self.clock.skew = 0.0
        await self._calm()
        human.cancel()
        self._judge()

    async def _calm(self) -> None:
        until = self.loop.time() + PEACE
        while self.loop.time() < until and self._open():  # noqa: ASYNC110 looked at from outside
            await asyncio.sleep(5.0)

    def _open(self) -> bool:
        t = tables.tasks
        with self.disk.read() as connection:
            return connection.execute(select(t.c.id).where(t.c.state.not_in(ENDED)).limit(1)).first() is not None

    def _judge(self) -> None:
        t, e = tables.tasks, tables.effects
        with self.disk.read() as connection:
            every = events.every(connection, limit=1_000_000)
            started = [row.key for row in connection.execute(select(e.c.key).where(e.c.outcome == "started"))]
            asked = questions.open_(connection)
            self.told["refused"] = sum(event.kind == "refused" for event in every)
            self.told["tasks"] = len(connection.execute(select(t.c.id)).all())
        self.wrong += check(every, self.calls, self.acknowledged.values(), over=True)
        self.wrong += [Violation("no effect stays under way", "", key) for key in started]
        self.wrong += [Violation("no question outlives its task", q.task, q.name) for q in asked]
        self.wrong += [Violation("nothing fails unheard", "", repr(one.get("exception") or one)) for one in self.loop.failures]
        self.told["events"] = len(every)
