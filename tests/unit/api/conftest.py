"""The real doors over the real fleet and store, with the engine in memory: everything but processes."""

import asyncio
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from quarterdeck.api.access import Guard
from quarterdeck.api.server import build
from quarterdeck.api.services import Services
from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.composer import Composer
from quarterdeck.deploy.fleet import Fleet
from quarterdeck.deploy.plan import structural
from quarterdeck.deploy.reconcile import Reconciler
from quarterdeck.deploy.witness import EventWitness
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home
from quarterdeck.store import journal, tokens
from quarterdeck.store.store import Store

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
    json: dict


@dataclass
class Control:
    """A control plane without processes: `post` and `get` come through the socket as our own uid, `stranger` through the port."""

    home: Home
    folder: Path
    store: Store
    engine: AbsentableEngine
    fleet: Fleet
    guard: Guard
    spec: str = SPEC
    headers: dict = field(default_factory=lambda: {"host": f"127.0.0.1:{PORT}"})

    @property
    def body(self):
        return {"text": self.spec, "base": str(self.folder)}

    def post(self, path, body=None, **headers):
        return self._ask("POST", path, (f"uid:{os.getuid()}", 1), json=body, headers=headers)

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
        return Answer(answer.status_code, answer.json())

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


def _token_role(store, clock):
    def role(secret):
        try:
            with store.read() as conn:
                found = tokens.check(conn, secret, clock.now())
        except QuarterdeckError:
            return None
        return found.id, found.role

    return role


@pytest.fixture
def control(tmp_path):
    clock, home, folder = VirtualClock(), Home(tmp_path / "home"), tmp_path / "project"
    folder.mkdir()
    (folder / "agents.py").write_text(CODE)
    store, engine = Store.open(home, clock), AbsentableEngine(clock)
    reconciler = Reconciler(store, engine, Composer(store, clock), {}, clock, EventWitness(store))
    fleet = Fleet(home, store, engine, reconciler, clock)
    services = Services(home, store, fleet, clock, f"http://127.0.0.1:{PORT}", clock.now(), asyncio.Event(), None, None)
    guard = Guard(build(services), os.getuid(), PORT, _token_role(store, clock), lambda pid: pid == 666)
    yield Control(home, folder, store, engine, fleet, guard)
    store.close()
