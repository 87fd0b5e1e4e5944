"""A real nats-server without users, for what does not depend on them; and how slow this machine is just now."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest

from quarterdeck.bus import streams, subjects

USUAL = 0.055
"""Processor seconds that the loop of `slowness` takes on the machine for which the limits of tests are written."""
SERVER = Path(sys.executable).with_name("nats-server")


@pytest.fixture(scope="session")
def slowness():
    """How often longer than usual a piece of Python takes now, at least 1: what a limit of processor time is multiplied by.

    Virtual machines lend their cores to others: the same loop takes twice as long from one quarter of an hour to the next.
    """

    def measured():
        begun = time.process_time()
        sum(n % 7 for n in range(1_000_000))
        return max(1.0, (time.process_time() - begun) / USUAL)

    return measured


@dataclass
class PlainServer:
    folder: Path
    port: int = 0
    name: str = field(default_factory=lambda: f"plain-{uuid.uuid4().hex[:8]}")
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same port as before, or on a free one; only a server with our name counts as started."""
        for _ in range(5):
            port = self.port or _free_port()
            argv = [SERVER, "-a", "127.0.0.1", "-p", str(port), "--name", self.name, "-js", "-sd", str(self.folder)]
            self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers(port):
                self.port = port
                return
            self.kill()
        raise AssertionError("nats-server does not start")

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self, port: int) -> bool:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
                    return self.name.encode() in sock.recv(4096)
            except OSError:
                time.sleep(0.01)
        return False

    async def make_stream(self, agent: str, **limits: int) -> None:
        """The agent's stream and its consumer, as the control plane makes them."""
        connection = await nats.connect(self.url)
        name = subjects.stream(agent)
        shape = streams.Shape(**limits)
        js = connection.jetstream()
        for verb, body in (
            (f"STREAM.CREATE.{name}", streams.stream_config(agent, shape, 1)),
            (f"CONSUMER.CREATE.{name}.{name}", {"stream_name": name, "config": streams.consumer_config(name, shape)}),
        ):
            answer = await js._api_request(f"$JS.API.{verb}", json.dumps(body).encode(), timeout=5)
            assert "error" not in answer
        await connection.close()

    async def pending(self, agent: str) -> int:
        """Messages of the agent's stream that are not acknowledged."""
        connection = await nats.connect(self.url)
        info = await connection.jetstream().consumer_info(subjects.stream(agent), subjects.stream(agent))
        await connection.close()
        return info.num_pending + info.num_ack_pending


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def eventually(condition, within: float = 10.0) -> None:
    """Poll until `condition()` (a value or a coroutine) is true."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"not within {within} s: {condition}"
        await asyncio.sleep(0.01)


@pytest.fixture
def until():
    return eventually


@pytest.fixture
def plain_nats(tmp_path):
    server = PlainServer(tmp_path / "jetstream")
    server.start()
    yield server
    server.kill()
