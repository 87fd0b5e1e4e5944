"""A real fleet in a home of its own: driven by the real `qd`, asked through the real door, and gone without a trace afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from quarterdeck import linux
from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.home import Home

QD = Path(sys.executable).with_name("qd")
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: trio}
spec:
  clusters:
    edge:
      quota: {replicas: 6}
      agents:
        front: {run: "front:agent", rollout: {drain: 3s}}
        clerk: {run: "clerk:agent", hang_after: 2s, rollout: {drain: 3s}}
    core:
      quota: {replicas: 8}
      agents:
        worker: {run: "worker:agent", replicas: {min: 2, max: 4}, rollout: {ready_within: 10s, drain: 3s}, restart: {budget: 2}}
  links:
    - {from: edge, to: core, timeout: 2s, attempts: 3}
"""
FRONT = '''\
"""Takes from outside and passes on: durably, or as a question."""

from quarterdeck import Agent, Context

agent = Agent("front")


@agent.on("send")
async def send(number: int, ctx: Context) -> int:
    await ctx.publish("core/worker", "take", number, key=str(number))
    return number


@agent.on("through")
async def through(ctx: Context) -> str:
    print("asked through")
    return await ctx.ask("core/worker", "version")
'''
WORKER = '''\
"""Keeps what it is sent."""

import os
from pathlib import Path

from quarterdeck import Agent

agent = Agent("worker")
KEPT = Path("taken")


@agent.on("take")
def take(number: int) -> None:
    with KEPT.open("a") as file:
        file.write(f"{number}\\n")


@agent.on("taken")
def taken() -> list[int]:
    return [int(line) for line in KEPT.read_text().split()] if KEPT.exists() else []


@agent.on("version")
def version() -> str:
    return "one"


@agent.on("end")
def end() -> None:
    os._exit(3)
'''
CLERK = '''\
"""Tries what no agent may do, and says what came of it."""

import socket
from pathlib import Path

from quarterdeck import Agent, Context

agent = Agent("clerk")


@agent.on("read")
def read(path: str) -> str:
    try:
        return Path(path).read_bytes()[:40].hex()
    except OSError as error:
        return type(error).__name__


@agent.on("list")
def listing(path: str) -> str:
    try:
        return str(sorted(p.name for p in Path(path).iterdir()))
    except OSError as error:
        return type(error).__name__


@agent.on("knock")
def knock(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(3)
        try:
            sock.connect(path)
            sock.sendall(b"GET /v1/systems HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n")
            return sock.recv(200).decode()
        except OSError as error:
            return type(error).__name__


@agent.on("publish")
async def publish(subject: str, ctx: Context) -> str:
    return "refused" if await ctx._place.outbound.refuses(subject) else "sent"
'''


def until(look, *, within=15.0, what=""):
    """Look again and again until there is something to see; gives what it was."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def alive(pid):
    return linux.stat(pid)[0] not in ("", "Z")


@dataclass
class Ran:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"exit {self.code} after {self.seconds:.1f} s\n{self.out}\n{self.err}"


class Load:
    """Questions one after another from a thread; `done` holds the numbers answered, `errors` what went wrong, `gap` the longest silence."""

    def __init__(self, ask):
        self._ask = ask
        self._stop = threading.Event()
        self.done, self.errors, self.gap = [], [], 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        number, last = 0, time.monotonic()
        while not self._stop.is_set():
            try:
                self._ask(number)
            except QuarterdeckError as error:
                self.errors.append(error)
                self._stop.wait(0.02)
                continue
            now = time.monotonic()
            self.gap, last = max(self.gap, now - last), now
            self.done.append(number)
            number += 1

    def more(self, count=10, within=15.0):
        """Until that many further questions were answered."""
        wanted = len(self.done) + count
        until(lambda: len(self.done) >= wanted, within=within, what=lambda: f"{len(self.done)} of {wanted} answered; {self.errors[-3:]}")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)


class Fleet:
    """One home, one folder with a spec and three agents, the command line, and the door."""

    program = QD
    through = ()
    """What goes before the command line, e.g. to run it as somebody else."""
    until = staticmethod(until)
    alive = staticmethod(alive)

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir(parents=True)
        self.home = Home(folder / "home")
        self.spec = self.folder / "quarterdeck.yaml"
        self.client = Wire(self.home, SystemClock())
        self.write(quarterdeck=SPEC, front=FRONT, worker=WORKER, clerk=CLERK)

    def write(self, **texts):
        for name, text in texts.items():
            (self.folder / f"{name}{'.yaml' if name == 'quarterdeck' else '.py'}").write_text(text)

    def edit(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @property
    def environment(self):
        """Ours without what tests or developers set for Python itself: a control plane that compiles its imports anew starts slowly."""
        foreign = ("QUARTERDECK_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**kept, "QUARTERDECK_HOME": str(self.home.root), "QUARTERDECK_PORT": "0", "NO_COLOR": "1"}

    def qd(self, *arguments, within=60, **environment):
        began = time.monotonic()
        done = subprocess.run(
            [*self.through, QD, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def up(self, *arguments, **environment):
        ran = self.qd("up", *arguments, **environment)
        assert ran.code == 0, f"{ran}\n{self.logs()}"
        return ran

    def logs(self):
        """The platform's own logs, for a failure's message."""
        files = [self.home.logs / f"{name}.log" for name in ("serve", "control", "node")]
        return "\n".join(f"{file.name}: {file.read_text()[-3000:]}" for file in files if file.exists())

    def written(self):
        """All that the platform's own logs hold."""
        return "".join(path.read_text() for path in self.home.logs.glob("*.log"))

    # looking

    def status(self):
        return self.client.get("/v1/status")

    def items(self, noun, **query):
        return self.client.get(f"/v1/{noun}", query)["items"]

    def replicas(self, *, agent="", state="ready"):
        found = []
        with suppress(Transient):  # the node is away: nobody is seen
            found = self.items("replicas")
        return {r["name"]: r for r in found if r["name"].startswith(agent) and state in ("", r["state"])}

    def journal(self, verb=None, target=None):
        return self.items("journal", verb=verb, target=target, newest=True, limit=500)[::-1]

    def ask(self, target, verb, payload=None, timeout=3.0):
        return self.client.post("/v1/ask", {"target": target, "verb": verb, "payload": payload, "timeout": timeout})["reply"]

    def ready(self, within=20.0):
        def look():
            with suppress(QuarterdeckError):
                return self.status()["ready"]

        until(look, within=within, what=lambda: json.dumps(self.status(), indent=1) + self.logs())

    def load(self, verb="send"):
        return Load(lambda number: self.ask("edge/front", verb, number if verb == "send" else None))

    # processes

    def control(self):
        """The control plane's pid."""
        return self.client.get("/v1/version")["pid"]

    def marked(self):
        """Processes below this home's node by command, of any boot."""
        found = linux.marked("QD_NODE", re.escape(self.home.mark) + ":.*")
        return {pid: self.command(pid) for pid in found}

    @staticmethod
    def command(pid):
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return ""

    def node(self):
        """The node's pid: it holds its lock and writes it there."""
        return int((self.home.node / "lock").read_text())

    def left(self):
        """What is still there of this home, asked of the kernel."""
        ours = (*linux.marked("QUARTERDECK_HOME", re.escape(str(self.home.root))), *self.marked())
        processes = [f"{pid} {self.command(pid)}" for pid in ours if pid != os.getpid() and alive(pid)]
        sockets = [str(path) for path in self.home.run.iterdir()] if self.home.run.exists() else []
        return [*processes, *sockets, *self.groups()]

    def groups(self):
        """Control groups called like this home, in any hierarchy; other homes come and go meanwhile."""
        mark = self.home.mark
        return [str(Path(place, name)) for place, names, _ in os.walk("/sys/fs/cgroup") for name in names if mark in name]

    def close(self):
        try:
            ran = self.qd("down", "--yes")
            left = self.left()
            assert (ran.code, left) == (0, []), f"{ran}\nleft: {left}\n{self.logs()}"
        finally:
            for pid in (*linux.marked("QUARTERDECK_HOME", re.escape(str(self.home.root))), *self.marked()):
                linux.kill(pid, signal.SIGKILL)


@contextmanager
def opened(folder):
    fleet = Fleet(folder)
    try:
        yield fleet
    finally:
        fleet.close()


@pytest.fixture
def fleet(tmp_path):
    """A fleet of this test alone, not deployed yet."""
    with opened(tmp_path) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def shared(make_fleet):
    """A deployed fleet for all tests of a module; each leaves it ready."""
    with make_fleet("fleet") as fleet:
        fleet.up()
        yield fleet


@pytest.fixture
def deployed(shared):
    """The module's fleet, ready, with the code it began with."""
    shared.ready()
    return shared


@pytest.fixture(scope="module")
def make_fleet(tmp_path_factory):
    """Several fleets one after another or side by side."""
    return lambda name: opened(tmp_path_factory.mktemp(name))
