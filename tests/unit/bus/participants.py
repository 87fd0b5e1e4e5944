"""Participants of a real nats-server without users, and what they do with what they receive."""

import asyncio
from contextlib import asynccontextmanager

from quarterdeck.bus import subjects
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login
from quarterdeck.bus.envelope import Answer
from quarterdeck.bus.links import Routes
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.receiver import Intake
from quarterdeck.bus.session import Session
from quarterdeck.clock import SystemClock
from quarterdeck.model.table import Credential

FAKE = Credential(1, "not-a-jwt", "not-a-seed", 0.0)  # a server without users asks for neither


@asynccontextmanager
async def participant(server, agent="asker", n=0, routes=None, *, cluster="c"):
    sender = subjects.Sender(cluster, agent, n)
    async with asyncio.TaskGroup() as tasks:
        session = await Session.open(Login(server.url, f"{cluster}/{agent}-{n}", subjects.inbox(agent, n, 1), FAKE), tasks)
        yield Client(session, sender, routes or Routes(cluster), SystemClock())
        await session.pause(5.0)
        await session.close()


def intake(agent="echo", n=0, *, places=16, answer=None, settle=None):
    async def echo(incoming):
        return Answer(incoming.body)

    async def done(incoming):
        return Verdict("done")

    return Intake("c", agent, n, places, answer or echo, settle or done)
