"""The real doors over the real fleet and store, with the engine in memory: everything but processes."""

import asyncio
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.unit.api.working import Replica

from quarterdeck.api.access import Guard
from quarterdeck.api.door import Door, Place
from quarterdeck.api.exchange import Streams
from quarterdeck.api.limits import Backoff, Rates
from quarterdeck.api.services import Services
from quarterdeck.api.sessions import Sessions
from quarterdeck.app import application
from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.allowances import Allowances
from quarterdeck.deploy.composer import Composer
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.plan import structural
from quarterdeck.deploy.reach import Reach
from quarterdeck.deploy.reconcile import Reconciler
from quarterdeck.deploy.stops import Stops
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.memory import MemoryEngine, MemoryStopper
from quarterdeck.model.home import Home
from quarterdeck.store import journal
from quarterdeck.store.blobs import Blobs
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.work.desk import Work

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader", replicas: 2}
"""
CODE = "def reader(text: str) -> str:\n    return text\n"
PORT = 7410


@dataclass
class AbsentableEngine(MemoryEngine):
    """In memory; while `absent` it cannot be asked, and time passes with each try."""

    absent: bool = False

    async def observe(self, system):
        world = await super().observe(system)
        if not self.absent:
            return world
        self.clock.advance(1.0)
        return replace(world, reachable=False, reason="no node", namespaces=(), workloads=(), links=())


@dataclass
class Answer:
    status: int
    text: str
    headers: dict

    @property
    def json(self):
        return json.loads(self.text)


@dataclass
class Control:
    """A control plane without processes: `post` and `get` come through the socket as our own uid, `stranger` through the port."""

    home: Home
    folder: Path
    store: Store
    engine: AbsentableEngine
    fleet: Fleet
    guard: Guard
    sessions: Sessions
    stopping: asyncio.Event
    spec: str = SPEC
    headers: dict = field(default_factory=lambda: {"host": f"127.0.0.1:{PORT}"})

    @property
    def body(self):
        return {"text": self.spec, "base": str(self.folder)}

    def post(self, path, body=None, **headers):
        return self._ask("POST", path, (f"uid:{os.getuid()}", 1), json=body, headers=headers)

    def post_form(self, path, fields):
        return self._ask("POST", path, (f"uid:{os.getuid()}", 1), data=fields)

    def get(self, path, client=None, **headers):
        return self._ask("GET", path, client or (f"uid:{os.getuid()}", 1), headers=headers)

    def delete(self, path):
        return self._ask("DELETE", path, (f"uid:{os.getuid()}", 1))

    def stranger(self, method, path, **options):
        headers = {**self.headers, **options.pop("headers", {})}
        return self._ask(method, path, ("127.0.0.1", 40_000), headers=headers, **options)

    def _ask(self, method, path, client, **options):
        async def ask():
            door = httpx.ASGITransport(self.guard, client=client)
            async with httpx.AsyncClient(transport=door, base_url="http://quarterdeck") as session:
                return await session.request(method, path, **options)

        answer = asyncio.run(ask())
        return Answer(answer.status_code, answer.text, answer.headers)

    @staticmethod
    def run(work):
        return asyncio.run(work)

    def converge(self):
        """As the loop would, without its proofs."""

        async def steps():
            for step in structural(self.fleet.desired("pair"), await self.engine.observe("pair")):
                await self.engine.perform("pair", step)

        asyncio.run(steps())

    def up(self):
        applied = self.post("/v1/apply", self.body)
        assert applied.status == 200, applied
        self.converge()
        return applied.json

    def journalled(self):
        with self.store.read() as conn:
            return journal.head(conn).seq


async def answers_itself(system, target, verb, payload, seconds):
    """In place of the bus: an agent that gives back what it was asked."""
    return SimpleNamespace(value=payload, replica=f"{target}-0", ms=1.0)


async def nothing_left(within):
    """In place of the node, of which there is none to stop."""
    return {"left": {}}


@contextmanager
def opened(tmp_path, spec):
    clock, home, folder = VirtualClock(), Home(tmp_path / "home"), tmp_path / "project"
    folder.mkdir()
    (folder / "agents.py").write_text(CODE)
    store, engine, stopping = Store.open(home, clock), AbsentableEngine(clock), asyncio.Event()
    reconciler = Reconciler(store, engine, Composer(store, clock), {}, clock, EventWitness(store))
    fleet = Fleet(home, store, engine, reconciler, clock)
    door, sessions = Door(Place(), PORT), Sessions(store, clock, Streams())
    reach, allowances = Reach(reconciler.looks, reconciler.compose), Allowances(reconciler.looks, reconciler.compose)
    blobs = Blobs(home.blobs)
    blobs.open()
    work = Work(store, clock, Fairness(), reach, lambda _: None, allowances=allowances, use=blobs.use)  # no ledger: nobody works here
    stops = Stops(store, clock, MemoryStopper(engine), work.turn, reconciler.wake)
    services = Services(home, store, fleet, clock, door.url, clock.now(), stopping, answers_itself, nothing_left, work, stops, blobs)
    limits = (Rates(clock), Backoff(clock))
    guard = Guard(application(services), os.getuid(), door, sessions.known, lambda pid: pid == 666, *limits, sessions.streams)
    try:
        yield Control(home, folder, store, engine, fleet, guard, sessions, stopping, spec)
    finally:
        store.close()


@pytest.fixture(scope="session")
def make_control(tmp_path_factory):
    """Several, with specs of their own where they need them."""
    return lambda spec=SPEC: opened(tmp_path_factory.mktemp("control"), spec)


@pytest.fixture
def control(tmp_path):
    with opened(tmp_path, SPEC) as control:
        yield control


@pytest.fixture
def fleet(control):
    """The same, deployed."""
    control.up()
    return control


@pytest.fixture
def replica(fleet):
    """Somebody who works on its tasks."""
    return Replica(fleet)
