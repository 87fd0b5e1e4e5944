"""The bus loses all its files while tasks are open: until agents answer over it again, and until a new task is done; no task is lost.

The node is held for the moment in which nats-server is killed and its streams and accounts are deleted, so that all of it is gone when
the node starts another one. The time counts from when the node goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import median

import bench_restarts
import measure

from quarterdeck.errors import QuarterdeckError

TARGET = "pool/echo"
BATCH = 500
DAY = 86400.0
WITHIN = 60.0
WORKER = '''\
"""Answers, and does next to nothing."""

from quarterdeck import Agent

agent = Agent("echo")


@agent.on("pid")
async def pid() -> int:
    return 1


@agent.task("noop")
async def noop(n: int) -> int:
    return n
'''


def give(fleet: measure.Fleet, count: int) -> None:
    """Open tasks, which nobody begins before tomorrow."""
    for at in range(0, count, BATCH):
        orders = [{"target": TARGET, "verb": "noop", "payload": n, "delay": DAY} for n in range(at, min(at + BATCH, count))]
        fleet.client.post("/v1/tasks/batch", {"tasks": orders})


def lose(fleet: measure.Fleet) -> None:
    """Kill the bus and delete what it keeps."""
    node, bus = int((fleet.home.node / "lock").read_text()), bench_restarts.bus(fleet)
    os.kill(node, signal.SIGSTOP)
    try:
        os.kill(bus, signal.SIGKILL)
        for name in ("streams", "accounts"):
            shutil.rmtree(fleet.home.bus / name)
    finally:
        os.kill(node, signal.SIGCONT)


def until(holds: Callable[[], bool], began: float) -> float:
    """Milliseconds since `began`."""
    while time.perf_counter() - began < WITHIN:
        with suppress(QuarterdeckError):  # nobody answers yet
            if holds():
                return (time.perf_counter() - began) * 1000
        time.sleep(0.005)
    message = f"not within {WITHIN:g} s"
    raise TimeoutError(message)


def once(fleet: measure.Fleet, count: int) -> dict[str, float]:
    """One loss."""
    lose(fleet)
    began = time.perf_counter()
    answered = until(lambda: fleet.ask(TARGET, timeout=0.2) == 1, began)
    task = fleet.client.post("/v1/tasks", {"target": TARGET, "verb": "noop", "payload": 1})["id"]
    done = until(lambda: fleet.client.get(f"/v1/tasks/{task}")["state"] == "done", began)
    still = fleet.client.get("/v1/tasks/counts")["states"].get("queued", 0)
    assert still == count, f"{still} of {count} tasks are still open"
    return {"answering": answered, "task_done": done}


def main(arguments: list[str] | None = None) -> None:
    """Print the line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause", type=float, default=bench_restarts.PAUSE)
    given = parser.parse_args(arguments)
    found = []
    with measure.fleet({"echo": WORKER, "witness": measure.WITNESS}) as fleet:
        give(fleet, given.count)
        for _ in range(given.rounds):
            time.sleep(given.pause)
            found.append(once(fleet, given.count))
    figures = {
        f"{name}_ms": {
            "p50": round(median(one[name] for one in found)),
            **{what.__name__: round(what(one[name] for one in found)) for what in (min, max)},
        }
        for name in found[0]
    }
    measure.report("rebuild", what="all files of the bus deleted", open_tasks=given.count, rounds=given.rounds, **figures)


if __name__ == "__main__":
    main()
