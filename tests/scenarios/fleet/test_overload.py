"""Five times the load that can be done, from clients of which a quarter never backs off: what can be done is done, in time."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quarterdeck.errors import Transient

CLIENTS = Path(__file__).parents[3] / "bench" / "overload_clients.py"
DEADLINE = 2.0
WITHIN = 10.0
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: busy}
spec:
  clusters:
    pool:
      agents:
        echo: {run: "echo:agent", replicas: 2}
"""
ECHO = '''\
"""Waits a little, with two tasks at a time."""

import asyncio

from quarterdeck import Agent

agent = Agent("echo", concurrency=2)


@agent.task("work")
async def work(n: int) -> int:
    await asyncio.sleep(0.05)
    return n
'''


def clients(fleet, mode, prefix, **options):
    """What clients offered and what they were told."""
    given = [f"--{name}={value}" for name, value in {"prefix": prefix, "timeout": DEADLINE, **options}.items()]
    ran = subprocess.run(
        [sys.executable, CLIENTS, mode, fleet.home.api_socket, *given], capture_output=True, text=True, check=True, timeout=100
    )
    return json.loads(ran.stdout)


def ended(fleet, prefix):
    """All tasks of a prefix, once none of them is open."""
    fleet.until(lambda: not fleet.items("tasks", key=prefix, state="open", limit=1), within=3 * DEADLINE, what="tasks are open still")
    found, before = [], None
    while True:
        page = fleet.client.get("/v1/tasks", {"key": prefix, "limit": 500, "before": before})
        found += page["items"]
        before = page["next"]
        if before is None:
            return found


def done(tasks):
    return sum(task["state"] == "done" for task in tasks)


def answers_as_ever(fleet, n):
    """Whether one more order is taken, and done in time."""
    order = {"target": "pool/echo", "verb": "work", "payload": n, "key": f"after-{n}", "timeout": DEADLINE}
    try:
        task = fleet.client.post("/v1/tasks", order)["id"]
    except Transient:
        return False
    return fleet.client.get(f"/v1/tasks/{task}", {"wait": DEADLINE})["state"] == "done"


@pytest.mark.timeout(180)
def test_five_times_the_load_and_a_retry_storm(fleet):
    fleet.write(quarterdeck=SPEC, echo=ECHO)
    fleet.up()
    fleet.ready()
    fleet.until(lambda: answers_as_ever(fleet, time.monotonic_ns()), what="the first task is not done")
    clients(fleet, "closed", "calm-", seconds=2, most=16)
    peak = done(ended(fleet, "calm-")) / 2
    assert peak > 0
    told = clients(fleet, "open", "storm-", seconds=4, rate=5 * peak, rude=0.25)
    over = time.monotonic()
    tasks = ended(fleet, "storm-")
    goodput = done(tasks) / 4
    fleet.until(lambda: answers_as_ever(fleet, time.monotonic_ns()), within=WITHIN, what="not normal again")
    print(f"peak {peak:.0f}/s, at five times {goodput:.0f}/s, normal {time.monotonic() - over:.1f} s after; {told['statuses']}")
    assert set(told["statuses"]) <= {"200", "201", "429"}
    assert len(tasks) == len(told["accepted"])
    late = [task["reason"] for task in tasks if task["state"] != "done"]
    assert all("deadline" in why for why in late)
    assert len(late) <= 0.2 * len(tasks), late
    assert goodput >= 0.7 * peak
