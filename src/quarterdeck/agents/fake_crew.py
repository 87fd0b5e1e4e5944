"""The replicas of a fleet under test, as far as tasks go: one of each agent, its line to the ledger in memory, and what kills it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

from quarterdeck.agents.agent import Agent
from quarterdeck.agents.context import Place
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.fake_ledger import FakeLedger
from quarterdeck.agents.line import Line
from quarterdeck.agents.taskwork import Taskwork
from quarterdeck.bus.chores import Chores
from quarterdeck.bus.tally import Outgoing
from quarterdeck.errors import Transient
from quarterdeck.model import ops


@dataclass(frozen=True, slots=True)
class Point:
    """Where a replica dies; see `Fleet.crash_at`."""

    step: str
    effect: str
    called: bool

    def reached(self, word: str, values: dict[str, str]) -> bool:
        """Whether an operation is the one there."""
        if self.step:
            return word == "step" and self.step in (values["name"], values["name"].rpartition("#")[0])
        return word == ("finish" if self.called else "begin") and values["key"] == self.effect


@dataclass(slots=True)
class _Replica:
    agent: Agent
    place: Place
    incarnation: int
    work: Taskwork

    @property
    def holder(self) -> str:
        return f"{self.place.name}#{self.incarnation}"


class Crew:
    """`points` are places to die at, each used once."""

    def __init__(self, ledger: FakeLedger, tasks: asyncio.TaskGroup, blobs: FakeBlobs) -> None:
        self.points: list[Point] = []
        self._ledger = ledger
        self._blobs = blobs
        self._tasks = tasks
        self._chores = Chores(tasks)
        self._replicas: dict[str, _Replica] = {}

    def line(self, holder: str) -> Line:
        """To the ledger, in the name of a holder."""

        async def ask(body: bytes, limit: float) -> bytes:
            agent = holder.partition("#")[0].rpartition("-")[0]
            mine = self._replicas.get(agent)
            if mine is not None and mine.holder != holder and not holder.endswith("#0"):
                raise Transient("this replica is dead")
            point = None if mine is None else self._point(body)
            if mine is None or point is None:
                return self._ledger.serve(holder, body)
            if point.effect and not point.called:
                self._ledger.serve(holder, body)
            self._kill(mine)
            raise Transient("this replica died just now")

        return Line(ask, self._chores, self._blobs)

    def start(self, agent: Agent, place: Place, incarnation: int = 1) -> None:
        """Begin a replica's work on tasks."""
        own = replace(place, line=(line := self.line(f"{place.name}#{incarnation}")), sent=Outgoing())
        self._replicas[f"{place.cluster}/{place.agent}"] = _Replica(agent, place, incarnation, Taskwork(agent, own, line, self._tasks))
        self._replicas[f"{place.cluster}/{place.agent}"].work.open()

    def tell(self, agent: str) -> None:
        """The ledger has something to say to it."""
        if agent in self._replicas:
            self._replicas[agent].work.word()

    async def close(self) -> None:
        """Hand back what is open, and end."""
        for mine in self._replicas.values():
            await mine.work.close(0.0)
        self._chores.cancel()

    def _point(self, body: bytes) -> Point | None:
        asked = json.loads(body)["ops"]
        for point in self.points:
            if any(point.reached(word, values) for word, values in asked if ops.WORDS[word] in (ops.Step, ops.Begin, ops.Finish)):
                self.points.remove(point)
                return point
        return None

    def _kill(self, mine: _Replica) -> None:
        mine.work.abandon()
        self.start(mine.agent, mine.place, mine.incarnation + 1)
        self._ledger.gone(mine.holder)
