"""The processes of a simulated fleet, which die and stop as the run wants it: a control plane, and replicas that really use the SDK."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quarterdeck.agents.context import Place
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.line import Line
from quarterdeck.agents.taskwork import Taskwork
from quarterdeck.bus.chores import Chores
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.work import Holder
from quarterdeck.store.fairness import Fairness
from quarterdeck.work.desk import Work
from quarterdeck.work.ledger import Ledger

if TYPE_CHECKING:
    from tests.simulation.world import World


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
