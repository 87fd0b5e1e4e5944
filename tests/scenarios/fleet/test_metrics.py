"""What monitoring reads of a real fleet: the two metrics of the runtime, counters of work, and that Prometheus itself takes the text."""

import os
import re
import shutil
import signal
import subprocess

import pytest

SERIES = re.compile(r"([a-z_]+)(?:\{(.*)\})? (\S+)\Z")
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: gauged}
spec:
  clusters:
    edge:
      agents:
        front: {run: "front:agent"}
    core:
      agents:
        worker: {run: "worker:agent"}
  links:
    - {from: edge, to: core}
"""
FRONT = """\
from quarterdeck import Agent, Context

agent = Agent("front")


@agent.on("all")
async def all_ways(ctx: Context) -> None:
    for n in range(10):
        await ctx.ask("core/worker", "take")
        await ctx.tell("core/worker", "take")
        await ctx.publish("core/worker", "take", key=str(n))
    await ctx.ask("core/worker", "take")


@agent.task("hand_on")
async def hand_on(ctx: Context) -> None:
    await ctx.delegate("core/worker", "nap")
"""
WORKER = """\
import asyncio

from quarterdeck import Agent

agent = Agent("worker", concurrency=2)


@agent.on("take")
async def take() -> None:
    pass


@agent.task("nap")
async def nap() -> None:
    await asyncio.sleep(4)
"""


def read(fleet):
    """`{(name, labels): value}`; every line has to be one of the format."""
    found = {}
    for line in fleet.text("/metrics").splitlines():
        if not line.startswith("# "):
            name, labels, value = SERIES.fullmatch(line).groups()
            assert (name, labels or "") not in found
            found[name, labels or ""] = float(value)
    return found


def way(kind, source="edge"):
    return "message_delivery_latency_count", f'source_cluster="{source}",destination_cluster="core",message_type="{kind}"'


@pytest.fixture
def gauged(fleet):
    fleet.write(quarterdeck=SPEC, front=FRONT, worker=WORKER)
    fleet.text = lambda path: "".join(f"{line}\n" for line in fleet.client.lines(path))
    fleet.up()
    fleet.ready()
    return fleet


def test_the_runtime_tells_of_every_way_and_nothing_falls_when_a_replica_is_replaced(gauged):
    gauged.ask("edge/front", "all", timeout=20.0)
    counts = {way("ask"): 11, way("tell"): 10, way("publish"): 10}
    gauged.until(lambda: counts.items() <= read(gauged).items(), within=20, what=lambda: gauged.text("/metrics"))

    worker = gauged.replicas(agent="core/worker")["core/worker-0"]
    gauged.client.post("/v1/tasks", {"target": "edge/front", "verb": "hand_on"})
    used = ("agent_utilization", 'cluster_name="core",agent_id="core/worker-0",task_type="nap"')
    gauged.until(lambda: 0 < read(gauged).get(used, 0) <= 1, within=20, what=lambda: gauged.text("/metrics"))
    done = ("quarterdeck_tasks_total", 'system="gauged",cluster_name="core",state="done"')
    gauged.until(lambda: read(gauged).get(done) == 1, within=20, what=lambda: gauged.text("/metrics"))
    counts |= {way("task"): 1}
    gauged.until(lambda: counts.items() <= read(gauged).items(), within=20, what=lambda: gauged.text("/metrics"))

    os.kill(worker["pid"], signal.SIGKILL)
    gauged.until(lambda: (gauged.replicas(agent="core/worker").get("core/worker-0") or worker)["pid"] != worker["pid"])
    gauged.ask("edge/front", "all", timeout=20.0)
    counts |= {way("ask"): 22, way("tell"): 20}
    gauged.until(lambda: counts.items() <= read(gauged).items(), within=20, what=lambda: gauged.text("/metrics"))
    if shutil.which("promtool"):
        said = subprocess.run(
            ["promtool", "check", "metrics"], check=False, input=gauged.text("/metrics"), capture_output=True, text=True, timeout=30
        )
        assert said.returncode == 0, said.stdout + said.stderr
