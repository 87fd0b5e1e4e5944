"""A small fleet in which everything is real but time, network and disk: the store's functions, the ledger, the desk and the SDK.

What is simulated: a network that delays, loses and doubles; a database in memory that commits at once and answers later; a control plane
that dies in between; replicas that die, or stop for longer than their lease and go on; humans who answer, and look before they say what
happened.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from contextlib import contextmanager, suppress

from sqlalchemy import select
from sqlalchemy.pool import StaticPool
from tests.simulation.loop import Loop

from quarterdeck import Agent, Context
from quarterdeck.agents.context import Place
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.line import Line
from quarterdeck.agents.taskwork import Taskwork
from quarterdeck.bus.chores import Chores
from quarterdeck.errors import QuarterdeckError, Transient, UserError
from quarterdeck.model.records import Actor
from quarterdeck.model.work import ENDED, Holder, Order, Target
from quarterdeck.store import effects, engine, events, questions, tables
from quarterdeck.store.chain import EMPTY
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.writing import Writing
from quarterdeck.work.desk import Work
from quarterdeck.work.history import Call, Violation, check
from quarterdeck.work.ledger import Ledger

HUMAN = Actor("uid:0", "socket")
AGENTS = ("a", "b", "d")
"""Each gives work to the next: one that waited for work of its own agent could wait for itself."""
TROUBLE = 50.0
"""Seconds in which things go wrong."""
PEACE = 900.0
"""Seconds after them in which everything has to come to an end."""


class Disk:
    """A database in memory: commits at once. One for all runs, emptied between them, since the statements compiled for it are dear."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.engine = engine._engine(lambda: self.raw, "BEGIN", StaticPool)
        tables.metadata.create_all(self.engine)
        self.empty = sqlite3.connect(":memory:", check_same_thread=False)
        self.raw.backup(self.empty)

    def clear(self) -> None:
        self.empty.backup(self.raw)

    @contextmanager
    def read(self):
        with self.engine.connect() as connection:
            yield connection


class Clock:
    """The loop's time; the wall clock is set back and forth now and then."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.skew = loop, 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.loop.time() + self.skew

    def monotonic(self) -> float:
        return self.loop.time()


class Control:
    """The control plane: a process that serves, sweeps and writes, and may die between any two of its steps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.up = False

    def start(self) -> None:
        world = self.world
        self.process = world.loop.process("control")
        fairness = Fairness()
        self.ledger = Ledger(self.write, world.clock, lambda *_: "", world.tell, fairness, world.chance.random)
        self.work = Work(self, world.clock, fairness, lambda *_: "", self._heard)
        self.process.start(self._live())

    def die(self) -> None:
        self.up = False
        self.process.kill()

    async def _live(self) -> None:
        await self.ledger.open()
        self.up = True
        while True:
            await asyncio.sleep(0.25)
            await self.ledger.sweep()

    def _heard(self, turn) -> None:
        ledger = self.ledger
        self.world.loop.call_later(self.world.chance.random() * 0.02, lambda: ledger.heard(turn))

    async def write(self, work):
        """The commit is somewhere between the call and its answer."""
        world = self.world
        await asyncio.sleep(world.chance.random() * 0.02)
        found = world.commit(work)
        await asyncio.sleep(world.chance.random() * 0.02)
        return found

    def read(self):
        return self.world.disk.read()

    def serve(self, holder, body, answer) -> None:
        """A request arrives; nobody hears it when nobody is there."""
        if not self.up:
            return
        ledger = self.ledger

        async def served() -> None:
            answer(await ledger.serve(holder, body))

        self.process.start(served())

    async def do(self, work, within=3.0):
        """What a human's client asks: its answer, or Transient when none comes."""
        if not self.up:
            raise Transient("nobody is there")
        found = self.world.loop.create_future()

        async def done() -> None:
            try:
                made = await work(self.work)
            except QuarterdeckError as error:
                if not found.done():
                    found.set_exception(error)
            else:
                if not found.done():
                    found.set_result(made)

        self.process.start(done())
        try:
            async with asyncio.timeout(within):
                return await found
        except TimeoutError:
            raise Transient("no answer") from None


class Replica:
    """One process of an agent at a time."""

    def __init__(self, world: World, agent: str, n: int) -> None:
        self.world, self.agent, self.n = world, agent, n
        self.incarnation = 0
        self.cut_off = False

    def start(self) -> None:
        self.incarnation += 1
        self.holder = Holder("s", "c", self.agent, self.n, self.incarnation)
        self.process = self.world.loop.process(self.holder.name)
        self.process.start(self._live(self.holder))
        self.world.inform(lambda ledger, holder=self.holder: ledger.ready(holder))

    async def _live(self, holder) -> None:
        async with asyncio.TaskGroup() as group:
            line = Line(lambda body, within: self._ask(holder, body, within), Chores(group), FakeBlobs())
            place = Place("c", self.agent, self.n, None, self.world.clock, lambda: None, line)
            self.taskwork = Taskwork(self.world.agent(self.agent), place, line, group)
            self.taskwork.open()
            await asyncio.Event().wait()

    async def drain(self) -> None:
        """A rolling restart: time to hand back what has not ended."""
        self.process.start(self.taskwork.close(2.0))
        await asyncio.sleep(4.0)

    def die(self) -> None:
        self.process.kill()
        holder = self.holder

        async def gone(ledger) -> None:
            await ledger.gone(holder, "signal 9")

        self.world.inform(gone)

    async def _ask(self, holder, body, within):
        world, answered = self.world, self.world.loop.create_future()

        def answer(found) -> None:
            world.carry(self, lambda: None if answered.done() else answered.set_result(found))

        world.carry(self, lambda: world.control.serve(holder, body, answer))
        try:
            async with asyncio.timeout(within):
                return await answered
        except TimeoutError:
            raise Transient("no answer") from None

    def word(self) -> None:
        if self.process.alive and hasattr(self, "taskwork"):
            self.taskwork.word()


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

    # what people do

    def order(self, n: int) -> Order:
        chance = self.chance
        payload = self._payload(f"{n}", 2)
        return Order(
            Target("s", "c", AGENTS[0]),
            json.dumps(payload),
            key=f"k{n}",
            tenant=chance.choice(["x", "y"]),
            priority=chance.choice([0, 0, 5]),
            lane=chance.choice([None, None, "l"]),
            after=self.clock.now() + 3 if chance.random() < 0.1 else 0.0,
            deadline=self.clock.now() + chance.random() * 60 if chance.random() < 0.15 else None,
            attempts=chance.choice([1, 3, 5]),
        )

    def _payload(self, name: str, depth: int) -> dict:
        chance = self.chance
        found = {
            "n": name,
            "steps": chance.choice([0, 1, 3]),
            "sleep": chance.random() * chance.choice([0.1, 5]),
            "fails": chance.choice([0, 0.3]),
        }
        if chance.random() < 0.7:
            found |= {"effect": chance.choice(["idempotent", "dedupes", "unsafe"]), "key": f"e{name}", "value": f"v{name}"}
        if depth and chance.random() < 0.3:
            found["children"] = [self._payload(f"{name}.{n}", depth - 1) for n in range(chance.choice([1, 2, 4]))]
        if chance.random() < 0.15:
            found["ask"] = 10.0 + chance.random() * 30
        return found

    async def user(self, n: int) -> None:
        await asyncio.sleep(self.chance.random() * TROUBLE / 2)
        order = self.order(n)
        for again in range(2 if self.chance.random() < 0.3 else 1):
            made = await self._until_answered(lambda work: work.submit([order], HUMAN))
            task = made[0].task.id
            if again and self.acknowledged[order.key] != task:
                self.wrong.append(Violation("each key once", task, f"key {order.key} was task {self.acknowledged[order.key]} before"))
            self.acknowledged[order.key] = task
        if self.chance.random() < 0.1:
            await asyncio.sleep(self.chance.random() * 20)
            with suppress(QuarterdeckError):
                await self.control.do(lambda work: work.cancel(task, HUMAN, "not wanted"))

    async def _until_answered(self, ask):
        while True:
            try:
                return await self.control.do(ask)
            except Transient:
                await asyncio.sleep(1.0)

    async def human(self) -> None:
        """Answers, looks what really happened before saying so, and sends some dead letters back."""
        while True:
            await asyncio.sleep(4.0 + self.chance.random())
            with self.disk.read() as connection:
                asked = questions.open_(connection)
                lost = effects.with_outcome(connection, "unknown")
                t = tables.tasks
                dead = [row.id for row in connection.execute(select(t.c.id).where(t.c.state.in_(("dead", "failed")), t.c.parent.is_(None)))]
            for q in asked:
                if self.chance.random() < 0.4:
                    await self._try(lambda work, q=q: work.answer(q.task, q.name, "yes", HUMAN))
            for effect in lost:
                happened = sum((call.root, call.key) == (effect.root, effect.key) for call in self.calls)
                said = effects.Said("done" if happened else self.chance.choice(["again", "failed"]), '"so I see"', HUMAN, "I looked")
                await self._try(lambda work, e=effect, said=said: work.resolve(e.task, e.key, said))
            for task in dead:
                if self.rough and self.chance.random() < 0.2:
                    await self._try(lambda work, task=task: work.retry(task, HUMAN, "once more"))

    async def _try(self, ask) -> None:
        with suppress(QuarterdeckError):
            await self.control.do(ask)

    # what goes wrong

    async def nemesis(self) -> None:
        troubles = [self._kill, self._kill, self._stop, self._cut, self._crash, self._crash, self._drain, self._wall]
        async with asyncio.TaskGroup() as group:
            while self.loop.time() < TROUBLE:
                await asyncio.sleep(self.chance.random() * 8)
                group.create_task(self.chance.choice(troubles)())

    async def _kill(self) -> None:
        replica = self.chance.choice(self.replicas)
        if replica.process.alive:
            self._count("kills")
            replica.die()
            await asyncio.sleep(self.chance.random() * 3)
            replica.start()

    async def _stop(self) -> None:
        process = self.chance.choice(self.replicas).process
        self._count("stops")
        process.stop()
        await asyncio.sleep(self.chance.random() * 40)
        process.go_on()

    async def _cut(self) -> None:
        replica = self.chance.choice(self.replicas)
        replica.cut_off = True
        await asyncio.sleep(self.chance.random() * 30)
        replica.cut_off = False

    async def _crash(self) -> None:
        if self.control.up:
            self._count("crashes")
            self.control.die()
            await asyncio.sleep(self.chance.random() * 5)
            self.control.start()

    async def _drain(self) -> None:
        replica = self.chance.choice(self.replicas)
        if replica.process.alive and not replica.process.stopped and hasattr(replica, "taskwork"):
            old = replica.process
            await replica.drain()
            if old.alive and replica.process is old:
                replica.die()
                replica.start()

    async def _wall(self) -> None:
        self.clock.skew = self.chance.choice([0.0, -5.0, 5.0])

    def _count(self, what: str) -> None:
        self.told[what] = self.told.get(what, 0) + 1

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
        human = asyncio.create_task(self.human())
        async with asyncio.TaskGroup() as group:
            for n in range(self.chance.choice([2, 4, 6])):
                group.create_task(self.user(n))
            group.create_task(self.nemesis())
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
