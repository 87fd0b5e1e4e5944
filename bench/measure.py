"""What the benchmarks share: a fleet of our own in a temporary home, Ray in its own environment, figures and their spread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.model.home import Home

HERE = Path(__file__).parent
QD = Path(sys.executable).with_name("qd")
ENVIRONMENTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quarterdeck-bench"
STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
STEADY = 0.30
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: bench}
spec:
  clusters:
    pool:
      quota: {replicas: 600}
      agents:
        echo: {run: "echo:agent", replicas: 1, restart: {budget: 1000, within: 1s}}
        witness: {run: "witness:agent", replicas: 1}
"""
ECHO = '''\
"""Answers with its pid."""

import os

from quarterdeck import Agent

agent = Agent("echo")


@agent.on("pid")
def pid() -> int:
    return os.getpid()
'''
WITNESS = '''\
"""Asks another agent until a new process answers in its name; tells when that was, on the machine's monotonic clock."""

import asyncio
import time
from contextlib import suppress

from quarterdeck import Agent, Context, NoAnswer

agent = Agent("witness")


@agent.on("successor")
async def successor(old: int, ctx: Context) -> float:
    found = asyncio.get_running_loop().create_future()

    async def look() -> None:
        with suppress(NoAnswer):
            if await ctx.ask("echo-0", "pid", timeout=0.3) != old and not found.done():
                found.set_result(time.monotonic())

    async with asyncio.TaskGroup() as looks:
        while not found.done():  # without waiting for the one before: what the dying process took with it is lost
            looks.create_task(look())
            await asyncio.sleep(0.005)
    return found.result()
'''


@dataclass(frozen=True, slots=True)
class Fleet:
    """The agent `pool/echo`, and one that watches it, in a home of its own, reached through the command's own door."""

    home: Home
    client: Wire

    def qd(self, *arguments: str) -> None:
        """Run the command; raises CalledProcessError."""
        env = {**os.environ, "QUARTERDECK_HOME": str(self.home.root), "QUARTERDECK_PORT": "0"}
        folder = self.home.root.parent / "project"
        subprocess.run([QD, *arguments], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, target: str, timeout: float = 0.5) -> int:
        """The pid that answers."""
        body = {"target": target, "verb": "pid", "payload": None, "timeout": timeout}
        return int(self.client.post("/v1/ask", body)["reply"])

    def successor(self, old: int) -> float:
        """When another process than `old` answered the witness as `pool/echo-0`: seconds of the machine's monotonic clock."""
        body = {"target": "pool/witness", "verb": "successor", "payload": old, "timeout": 30}
        return float(self.client.post("/v1/ask", body, timeout=35)["reply"])

    def scale(self, count: int) -> float:
        """Ask for that many replicas and wait for them; gives the seconds until the last of them was ready, as the node noted it."""
        began = SystemClock().now()
        change = {"target": "pool/echo", "field": "replicas", "value": count, "reason": "benchmark"}
        self.client.post("/v1/changes", change)
        until(lambda: len(self.pids()) == count, within=120)
        return max(datetime.fromisoformat(r["since"]).timestamp() for r in self.replicas()) - began

    def pids(self) -> list[int]:
        """Of the replicas that are ready."""
        return [r["pid"] for r in self.replicas() if r["state"] == "ready" or (r["pid"] and r["state"] == "draining")]

    def replicas(self) -> list[dict[str, Any]]:
        """Those of `pool/echo`, as the API lists them."""
        return [r for r in self.client.get("/v1/replicas")["items"] if r["name"].startswith("pool/echo-")]


@contextmanager
def fleet(agents: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    """A deployed fleet of agents `echo` and `witness`, by default those above, taken down at the end.

    It lives where homes live: in a crowded /tmp Landlock has more to list.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qdb", dir=STATE) as folder:
        project = Path(folder) / "project"
        project.mkdir()
        (project / "quarterdeck.yaml").write_text(SPEC)
        for name, text in (agents or {"echo": ECHO, "witness": WITNESS}).items():
            (project / f"{name}.py").write_text(text)
        home = Home(Path(folder) / "home")
        ours = Fleet(home, Wire(home, SystemClock()))
        try:
            ours.qd("up")
            yield ours
        finally:
            ours.qd("down", "--yes")


class Ray:
    """Ray in its own environment, driven over a pipe: one JSON request a line, one answer a line."""

    def __init__(self, python: Path, folder: str) -> None:
        argv = [python, str(HERE / "ray_peer.py"), folder]
        self._log = Path(folder, "peer.log").open("w")  # noqa: SIM115 closed with the peer
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self.base = self.call("base")["pss"]

    def call(self, do: str, **more: object) -> dict[str, Any]:
        """One request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            message = f"the Ray peer ended: {Path(self._log.name).read_text()[-2000:]}"
            raise RuntimeError(message)
        return dict(json.loads(answer))

    def close(self) -> None:
        """End it and what it started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._log.close()


@contextmanager
def ray(python: Path | None) -> Iterator[Ray | str]:
    """Ray, or why there is none."""
    try:
        found = python or environment("ray")
    except (OSError, subprocess.CalledProcessError) as error:
        yield f"not installable here: {error}"
        return
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        peer = Ray(found, folder)
        try:
            yield peer
        finally:
            peer.close()


def environment(peer: str) -> Path:
    """The Python of a peer's own environment, installed from its requirements when first needed. Raises what pip does."""
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, stdout=sys.stderr)
        install = [python, "-m", "pip", "install", "-q", "-r", str(HERE / f"requirements-{peer}.txt")]
        subprocess.run(install, check=True, stdout=sys.stderr, timeout=600)
    return python


def until(holds: Callable[[], object], *, within: float) -> None:
    """Look again and again, rarely enough to leave the processor to what is looked at; raises TimeoutError."""
    deadline = time.perf_counter() + within
    while not holds():
        if time.perf_counter() > deadline:
            message = f"not within {within:g} s"
            raise TimeoutError(message)
        time.sleep(0.2)


def pss(pids: Iterable[int]) -> list[float]:
    """Proportional set size of each process in MiB."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return [int(line.split()[1]) / 1024 for text in texts for line in text.splitlines() if line.startswith("Pss:")]


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def spread(values: list[float]) -> float:
    """(largest - smallest) / median."""
    return (max(values) - min(values)) / median(values)


def report(goal: str, **figures: object) -> None:
    """Print the one JSON line."""
    machine = {"cpus": os.cpu_count(), "load": [round(x, 2) for x in os.getloadavg()], "python": sys.version.split()[0]}
    now = datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251 a benchmark stands outside the product
    print(json.dumps({"goal": goal, "at": now, **figures, "machine": machine}), flush=True)
