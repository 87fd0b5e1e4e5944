"""Replicas over a real nats-server, whose node is a fake; and who asks them."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

from quarterdeck.agents.runtime import serve
from quarterdeck.bus import subjects
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login
from quarterdeck.bus.links import Routes
from quarterdeck.bus.session import Session
from quarterdeck.clock import SystemClock
from quarterdeck.model.boot import Boot
from quarterdeck.model.table import Credential

AGENT = '''
import asyncio
from quarterdeck import Agent, Context, Transient

agent = Agent("worker")
story = []
gate = asyncio.Event()

@agent.start
async def start(ctx: Context):
    story.append("start")

@agent.stop
async def stop(ctx: Context):
    story.append("stop")

@agent.every(0.02)
async def tick(ctx: Context):
    story.append("tick")

@agent.on("echo")
async def echo(payload, ctx: Context):
    return [payload, ctx.name, ctx.sender]

@agent.on("wait")
async def wait(payload):
    story.append("waiting")
    await gate.wait()
    story.append("waited")
    return payload

@agent.on("item")
async def item(payload: int):
    story.append(payload)

@agent.on("pass")
async def pass_on(ctx: Context):
    """Ask somebody far away.

    And take silence for an answer.
    """
    try:
        await ctx.ask("far/agent", "anything")
    except Transient:
        return "silence"

class Sullen(dict):
    @classmethod
    def model_validate(cls, value):
        return cls(value)

    @classmethod
    def model_json_schema(cls):
        raise RuntimeError("no words")

@agent.on("sullen")
async def sullen(payload: Sullen):
    return None

@agent.on("block")
def block(payload: float):
    import time
    time.sleep(payload)
    return "done"
'''


class FakeNode:
    """The node's end of the channel, in this process."""

    def __init__(self):
        self.heard = []
        self._orders = asyncio.Queue()

    def send(self, message):
        self.heard.append(json.loads(json.dumps(message)))

    async def receive(self):
        return await self._orders.get()

    def order(self, **message):
        self._orders.put_nowait(message)

    def gone(self):
        self._orders.put_nowait(None)

    def said(self, kind):
        return [message for message in self.heard if message["t"] == kind]


def credential(expires=0.0):
    return Credential(1, "not-a-jwt", "not-a-seed", expires)


def make_boot(url, code, *, n=0, run="worker_under_test:agent", links=(), heartbeat=0.05):
    return Boot(
        system="s", cluster="c", agent="worker", n=n, incarnation=1, code=str(code), run=run, work=str(code), bus_url=url,
        credential=credential(), links=links, peers=("worker",), environment=(), revision="r1", heartbeat=heartbeat,
    )  # fmt: skip


@asynccontextmanager
async def asking(server, links=()):
    async with asyncio.TaskGroup() as tasks:
        session = await Session.open(Login(server.url, "asker", subjects.inbox("asker", 0, 1)), tasks)
        yield Client(session, subjects.Sender("c", "asker", 0), Routes("c", links), SystemClock())
        await session.close()


@asynccontextmanager
async def living(boot, until):
    """A replica that is ready; drained at the end, if it was not before."""
    node = FakeNode()
    async with asyncio.TaskGroup() as tasks:
        replica = tasks.create_task(serve(boot, node))
        await until(lambda: node.said("ready") or replica.done())
        yield node, sys.modules["worker_under_test"]
        if not replica.done():
            node.order(t="drain", within=5.0)
        await asyncio.wait_for(replica, 10)
    assert node.heard[-1]["t"] == "drained"


async def ask(client, verb, payload, to="worker"):
    return json.loads(await client.ask("c", to, verb, json.dumps(payload).encode()))
