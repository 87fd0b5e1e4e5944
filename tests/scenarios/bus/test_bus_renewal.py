"""Two linked clusters with real credentials that end after three seconds: messages flow on, and nothing is lost at any renewal."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest

from quarterdeck.agents.runtime import serve
from quarterdeck.bus import claims
from quarterdeck.bus.accounts import account_name
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login
from quarterdeck.bus.envelope import NoAnswer
from quarterdeck.bus.keys import Key
from quarterdeck.bus.links import Routes
from quarterdeck.bus.session import Session
from quarterdeck.bus.subjects import Sender, inbox
from quarterdeck.clock import SystemClock
from quarterdeck.model.boot import Boot
from quarterdeck.model.desired import Link

CLOCK = SystemClock()
LIFE = 3.0
LINK = Link("front", "back", timeout=1.0, attempts=3)
AGENT = """
from quarterdeck import Agent, Context
agent = Agent("worker")
taken = []

@agent.on("echo")
async def echo(payload, ctx: Context):
    return payload

@agent.on("item")
async def item(payload: int):
    taken.append(payload)
"""


class Node:
    def __init__(self):
        self.heard = []
        self.orders = asyncio.Queue()

    def send(self, message):
        self.heard.append(message)

    async def receive(self):
        return await self.orders.get()

    def said(self, kind):
        return [message for message in self.heard if message["t"] == kind]


def mint(bus, system, sender, *, linked=(), life=LIFE):
    now = CLOCK.now()
    account = bus.keys.account(account_name(system, sender.cluster))
    return claims.replica_user(account, Key.fresh("user"), sender, 1, peers=(sender.agent,), linked=linked, issued=now, expires=now + life)


@pytest.fixture
def code(tmp_path):
    (tmp_path / "renewed_worker.py").write_text(AGENT)
    yield str(tmp_path)
    sys.path.remove(str(tmp_path))
    del sys.modules["renewed_worker"]


async def eventually(condition, within=10.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.01)


@asynccontextmanager
async def replica(bus, system, code):
    sender = Sender("back", "worker", 0)
    boot = Boot(
        system=system, cluster="back", agent="worker", n=0, incarnation=1, code=code, run="renewed_worker:agent", work=code,
        bus_url=bus.url, credential=mint(bus, system, sender), links=(), peers=("worker",), environment=(), revision="r1",
    )  # fmt: skip
    node = Node()
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(serve(boot, node))
        await eventually(lambda: node.said("ready"))
        yield node, sender
        node.orders.put_nowait({"t": "drain", "within": 5.0})
        await life


@asynccontextmanager
async def asker(bus, system):
    sender = Sender("front", "asker", 0)
    async with asyncio.TaskGroup() as tasks:
        login = Login(bus.url, "asker", inbox("asker", 0, 1), mint(bus, system, sender, linked=("back",), life=60.0))
        session = await Session.open(login, tasks)
        yield Client(session, sender, Routes("front", (LINK,)), CLOCK)
        await session.close()


def test_nothing_is_lost_while_credentials_end_and_are_renewed(own_bus, system, rooms, code):
    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("front", "back"), (LINK,))
            await admin.ensure_stream(system, "back", "worker", inventory=())
        sent = 0
        async with asker(own_bus, system) as client, replica(own_bus, system, code) as (node, sender):
            began = time.monotonic()
            renewed = began
            while time.monotonic() - began < 2.2 * LIFE:
                assert json.loads(await client.ask("back", "worker", "echo", str(sent).encode())) == sent
                await client.publish("back", "worker", "item", str(sent).encode())
                sent += 1
                if time.monotonic() - renewed > LIFE / 2:
                    renewed = time.monotonic()
                    node.orders.put_nowait({"t": "credentials", "credential": asdict(mint(own_bus, system, sender)), "url": own_bus.url})
            taken = sys.modules["renewed_worker"].taken
            await eventually(lambda: set(taken) == set(range(sent)))
            assert len(node.said("credentials")) >= 3
            await forbidden_paths(node)
        print(f"{sent} asks and {sent} durable messages through {len(node.said('credentials'))} renewals, none lost")

    asyncio.run(scenario())


async def forbidden_paths(node):
    """The replica itself reports that the bus refuses what it may not do."""
    for number, subject in enumerate(("ask.back.somebody.0.worker.echo", "to.front.ask.back.worker.0.asker.x", "$JS.API.STREAM.NAMES")):
        node.orders.put_nowait({"t": "probe", "id": number, "probe": {"kind": "forbidden", "subject": subject}})
    await eventually(lambda: len(node.said("reply")) == 3)
    assert [reply["ok"] for reply in node.said("reply")] == [{"refused": True}] * 3


async def eventually_unanswered(client):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            await client.ask("back", "worker", "echo", b"1")
        except NoAnswer:
            return
    pytest.fail("the server still lets an ended user answer")


def test_a_replica_whose_user_ended_comes_back_with_the_next_credentials(own_bus, system, rooms, code):
    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("front", "back"), (LINK,))
            await admin.ensure_stream(system, "back", "worker", inventory=())
        async with asker(own_bus, system) as client, replica(own_bus, system, code) as (node, sender):
            assert await client.ask("back", "worker", "echo", b"1") == b"1"
            await asyncio.sleep(LIFE)  # the life of the user itself
            client.session._current.since = 0.0
            await eventually_unanswered(client)
            node.orders.put_nowait({"t": "credentials", "credential": asdict(mint(own_bus, system, sender, life=60.0)), "url": own_bus.url})
            await eventually(lambda: node.said("credentials"), within=15.0)
            assert await client.ask("back", "worker", "echo", b"2") == b"2"

    asyncio.run(scenario())
