"""One real nats-server per module, configured by the product's own code; each test works in a system of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.bus import claims, server
from quarterdeck.bus.accounts import account_name
from quarterdeck.bus.admin import Admin
from quarterdeck.bus.connection import Connection, Login
from quarterdeck.bus.keys import Key, Keys
from quarterdeck.bus.subjects import Sender, inbox
from quarterdeck.clock import SystemClock
from quarterdeck.model.desired import Namespace, Quota
from quarterdeck.model.home import Home

CLOCK = SystemClock()


class Bus:
    """A home with its nats-server, and ways into it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.keys = Keys(self.home.keys)
        self.port = server.claim_port(self.home, self.keys)
        self.url = server.url(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        service = server.service(self.home, self.keys, self.port, os.environ)
        self._process = subprocess.Popen(service.argv)
        deadline = time.monotonic() + 10
        while not server.greets_as(self.port, server.server_name(self.keys)):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        path = self.home.logs / "bus.log"
        return path.read_text() if path.exists() else "no log"

    def admin(self) -> Admin:
        return Admin(self.url, self.keys, CLOCK)

    def user(self, system: str, cluster: str, *, publish=(">",), subscribe=(">",), ttl: float = 60.0):
        """A user with any rights inside a cluster's account; by default all."""
        key = Key.fresh("user")
        account = self.keys.account(account_name(system, cluster))
        now = CLOCK.now()
        return key, claims.user(account, key, "test", publish=publish, subscribe=subscribe, issued=now, expires=now + ttl)

    def replica(self, system: str, sender: Sender, *, peers=(), linked=(), incarnation: int = 1):
        key = Key.fresh("user")
        now = CLOCK.now()
        account = self.keys.account(account_name(system, sender.cluster))
        credential = claims.replica_user(account, key, sender, incarnation, peers=peers, linked=linked, issued=now, expires=now + 60)
        return key, credential

    async def enter(self, credential, prefix: str = "_INBOX.test") -> Connection:
        return await Connection.open(Login(self.url, "test", prefix, credential))

    async def enter_as_replica(self, system: str, sender: Sender, **rights) -> Connection:
        _, credential = self.replica(system, sender, **rights)
        return await self.enter(credential, inbox(sender.agent, sender.n, 1))

    async def pull(self, connection: Connection, agent: str):
        """One message of an agent's stream, by the subject a replica is allowed."""
        inbox = connection.inbox()
        subscription = await connection.nats.subscribe(inbox)
        request = json.dumps({"batch": 1, "expires": int(2e9)}).encode()
        await connection.send(f"$JS.API.CONSUMER.MSG.NEXT.IN_{agent}.IN_{agent}", request, reply=inbox)
        message = await subscription.next_msg(3.0)
        await subscription.unsubscribe()
        return message


@pytest.fixture(scope="module")
def bus(tmp_path_factory) -> Iterator[Bus]:
    bus = Bus(tmp_path_factory.mktemp("bus"))
    bus.start()
    yield bus
    bus.kill()


@pytest.fixture
def own_bus(tmp_path) -> Iterator[Bus]:
    """For tests that kill the server or damage its files."""
    bus = Bus(tmp_path)
    bus.start()
    yield bus
    bus.kill()


@pytest.fixture
def system() -> str:
    return f"s{uuid.uuid4().hex[:8]}"


@pytest.fixture
def rooms():
    def rooms(*clusters: str, replicas: int = 4) -> tuple[Namespace, ...]:
        return tuple(Namespace(cluster, Quota(None, None, replicas)) for cluster in clusters)

    return rooms
