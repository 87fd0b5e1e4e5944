"""A real node with a small runtime of its own in place of the SDK, for scenarios: tables in, processes out."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from quarterdeck import linux
from quarterdeck.model.desired import Namespace, Quota, Restart, Rollout, Template
from quarterdeck.model.home import Home
from quarterdeck.model.table import Room, Row, Slot, Table

RUNTIME = """
import asyncio, importlib, os

async def serve(boot, channel):
    module, _, name = boot.run.partition(":")
    agent = getattr(importlib.import_module(module), name)
    agent(boot)
    channel.send({"t": "ready"})
    beats = asyncio.create_task(beat(channel))
    heard = []
    while (message := await channel.receive()) is not None:
        heard.append(message)
        if message["t"] == "drain":
            channel.send({"t": "drained"})
            break
        if message["t"] == "probe":
            found = eval(message["probe"]["code"], {"os": os, "boot": boot, "heard": heard})
            channel.send({"t": "reply", "id": message["id"], "ok": found})
    beats.cancel()

async def beat(channel):
    progress = 0
    while True:
        progress += 1
        channel.send({"t": "beat", "progress": progress, "lag": 0.0, "inflight": 0})
        await asyncio.sleep(0.3)
"""
AGENTS = """
import os, sys, time

def plain(boot):
    print("hello from", boot.name, flush=True)

def attempt(code):
    try:
        eval(code)
    except Exception as error:
        return type(error).__name__
    return "nothing stopped it"

def knock(path):
    import socket
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(3)
        try:
            sock.connect(path)
            sock.sendall(b'{"id": 1, "verb": "ping"}\\n')
            return sock.recv(100).decode()
        except PermissionError:
            return ""
        except ConnectionError:
            return ""

def crash(boot):
    sys.exit(7)

def daemon(boot):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ.clear()
            while True:
                time.sleep(1)
        os._exit(0)

def missing(boot):
    import no_such_module

def spin(boot):
    import asyncio
    asyncio.get_running_loop().call_later(0.2, forever)

def forever():
    while True:
        pass

def flood(boot):
    import threading
    def pour():
        while True:
            os.write(1, b"x" * 80 + b"\\n")
    threading.Thread(target=pour, daemon=True).start()

def glutton(boot):
    import asyncio
    asyncio.get_running_loop().call_later(0.7, lambda: bytearray(os.urandom(1) * (200 << 20)))
"""


def row(agent="plain", slots=3, code="one", digest=None, **fields):
    template = Template(
        digest or f"{code}-{agent}", code, f"agents:{agent}", hang_after=fields.pop("hang_after", 10.0), memory=fields.pop("memory", None)
    )
    template = replace(template, env=fields.pop("env", ()), secrets=fields.pop("secrets", ()))
    defaults = {"restart_before": 0.0, "quarantined": (), "rollout": Rollout(drain=2.0), "restart": Restart(), "bus_url": "", "links": ()}
    numbers = tuple(Slot(n, ()) for n in range(slots))
    return Row("s", "c", "a", template, numbers, **{**defaults, **fields})


def until(look, *, within=10.0, what=""):
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {what() if callable(what) else what}"
        time.sleep(0.005)
    return found


def alive(pid):
    return linux.stat(pid)[0] not in ("", "Z")


class Bench:
    """One home, one node, one connection to it."""

    row = staticmethod(row)
    until = staticmethod(until)
    alive = staticmethod(alive)

    def __init__(self, root: Path, *arguments: str, through=()) -> None:
        self.home = Home(root)
        self.arguments = arguments
        self.through = through
        self.number = 0
        self.generation = 0
        self.file = self.sock = None
        self.code("one")

    def code(self, name, extra=""):
        folder = self.home.revisions / name
        folder.mkdir(parents=True)
        (folder / "small_runtime.py").write_text(RUNTIME)
        (folder / "agents.py").write_text(AGENTS + extra)

    def start(self):
        argv = [*self.through, sys.executable, "-m", "quarterdeck.engines.local.node", "--home", str(self.home.root)]
        argv += ["--runtime", "small_runtime:serve", *self.arguments]
        self.node = subprocess.Popen(argv, start_new_session=True)
        self.connect()
        return self

    def connect(self, **extra):
        until(self._connected, what="the node's door")
        return self.ask("hello", pid=os.getpid(), version="0", **extra)

    def _connected(self):
        self.hang_up()
        self.sock = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError, ConnectionRefusedError):
            self.sock.connect(str(self.home.node_socket))
            self.file = self.sock.makefile("rb")
            return True
        self.hang_up()
        return False

    def hang_up(self):
        for open_one in (self.file, self.sock):
            if open_one is not None:
                open_one.close()
        self.file = self.sock = None

    def request(self, verb, **fields):
        self.number += 1
        self.sock.sendall(json.dumps({"id": self.number, "verb": verb, **fields}).encode() + b"\n")
        answer = json.loads(self.file.readline())
        assert answer.pop("id") == self.number
        return answer

    def ask(self, verb, **fields):
        answer = self.request(verb, **fields)
        assert "ok" in answer, answer
        return answer["ok"]

    def table(self, *rows, services=(), memory=None, replicas=20):
        self.generation += 1
        room = Room("s", Namespace("c", Quota(None, memory, replicas)))
        return self.ask("table", table=Table(1, self.generation, services, (room,), rows).to_json())

    def replicas(self):
        return [replica for row in self.ask("observe")["rows"] for replica in row["replicas"]]

    def ready(self, count, template=None, within=10):
        def look():
            found = [r for r in self.replicas() if r["state"] == "ready" and template in (None, r["revision"])]
            return found if len(found) == count == len(self.replicas()) else None

        return until(
            look, within=within, what=lambda: f"{count} ready, have {[(r['name'], r['state'], r['reason']) for r in self.replicas()]}"
        )

    def events(self, kind=None):
        return [event for event in self.ask("events", after=0)["items"] if kind in (None, event["kind"])]

    def event(self, kind, within=10):
        return until(lambda: self.events(kind), within=within, what=kind)[0]

    def run_in(self, replica, code):
        return self.ask("probe", system="s", replica=replica, probe={"code": code}, timeout=5)

    def groups(self):
        root = Path("/sys/fs/cgroup")
        return list(root.glob(f"*/**/{self.home.mark}")) if root.exists() else []

    def marked(self):
        return linux.marked("QD_NODE", self.home.mark + ":.*")

    def close(self):
        if not hasattr(self, "node"):
            return
        if self.node.poll() is None:
            with suppress(OSError, AssertionError, ValueError):
                self.connect()
                self.ask("stop", within=1)
            with suppress(subprocess.TimeoutExpired):
                self.node.wait(10)
        self.node.kill()
        self.node.wait()
        self.hang_up()
        for pid in self.marked():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def make_bench(tmp_path):
    """Benches that are taken down whatever happens."""
    made = []

    def make(*arguments, home="home", through=()):
        made.append(Bench(tmp_path / home, *arguments, through=through))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench):
    """A bench whose node runs."""
    return make_bench().start()
