"""SIGKILL of the control plane until it answers again, and of nats-server until an agent answers over it again. `count` kills each."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

import measure

from quarterdeck import linux
from quarterdeck.errors import QuarterdeckError

TARGET = "pool/echo-0"
WITHIN = 30.0
PAUSE = 13.0
"""Seconds before each kill: what ends more than five times a minute is left down for a while, which is not what is measured."""


def control(fleet: measure.Fleet) -> int:
    """The pid of the control plane, as it answers itself."""
    return int(fleet.client.get("/v1/version")["pid"])


def bus(fleet: measure.Fleet) -> int:
    """The pid of nats-server: the node's child of that name."""
    node = int((fleet.home.node / "lock").read_text())
    return next(pid for pid in linux.children_of(node) if b"nats-server" in Path(f"/proc/{pid}/cmdline").read_bytes())


def kill(pid: int, answers: Callable[[], bool]) -> float:
    """Kill it; gives the milliseconds until `answers` holds."""
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while time.perf_counter() - began < WITHIN:
        with suppress(QuarterdeckError, StopIteration, OSError):  # nobody answers yet
            if answers():
                return (time.perf_counter() - began) * 1000
        time.sleep(0.002)
    message = f"nothing answers {WITHIN:g} s after the kill of {pid}"
    raise TimeoutError(message)


def kill_control(fleet: measure.Fleet) -> float:
    """Until the next one answers."""
    old = control(fleet)
    return kill(old, lambda: control(fleet) != old)


def kill_bus(fleet: measure.Fleet) -> float:
    """Until the agent answers a question over the next one."""
    old, agent = bus(fleet), fleet.ask(TARGET)
    return kill(old, lambda: bus(fleet) != old and fleet.ask(TARGET, timeout=0.02) == agent)


def times(fleet: measure.Fleet, once: Callable[[measure.Fleet], float], count: int, pause: float) -> dict[str, float]:
    """Milliseconds over `count` kills."""
    found = []
    for _ in range(count):
        time.sleep(pause)
        found.append(once(fleet))
    return {"p50": round(median(found), 1), "least": round(min(found), 1), "max": round(max(found), 1)}


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--pause", type=float, default=PAUSE)
    given = parser.parse_args(arguments)
    with measure.fleet() as fleet:
        control_plane = times(fleet, kill_control, given.count, given.pause)
        nats_server = times(fleet, kill_bus, given.count, given.pause)
    figures = {"control_plane_ms": control_plane, "nats_server_ms": nats_server}
    measure.report("restarts", what="SIGKILL to answering", kills_each=given.count, **figures)


if __name__ == "__main__":
    main()
