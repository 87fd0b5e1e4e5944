"""The bus loses its files while tasks and messages are under way: it is made whole from the database, and what is lost is named."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from quarterdeck import linux
from quarterdeck.errors import QuarterdeckError

TASKS = int(os.environ.get("REBUILD_TASKS", "10000"))
WITHIN = 60.0
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: mail}
spec:
  clusters:
    edge:
      quota: {replicas: 4}
      agents:
        front: {run: "front:agent"}
    core:
      quota: {replicas: 6}
      agents:
        worker: {run: "worker:agent", replicas: 2}
        clerk: {run: "clerk:agent", replicas: 2}
  links:
    - {from: edge, to: core, timeout: 2s, attempts: 3}
"""
FRONT = """\
from quarterdeck import Agent, Context

agent = Agent("front")


@agent.on("send")
async def send(given: dict, ctx: Context) -> int:
    for number in given["numbers"]:
        await ctx.publish("core/worker", "take", number, key=given["mark"] and f"{given['mark']}-{number}", confirmed=given["confirmed"])
    return len(given["numbers"])
"""
WORKER = '''\
"""Notes what it handles, once the gate is open."""

import asyncio
from pathlib import Path

from quarterdeck import Agent, Context

agent = Agent("worker", concurrency=4)


@agent.on("take")
async def take(number: int, ctx: Context) -> None:
    while not Path("GATE").exists():
        await asyncio.sleep(0.05)
    with Path("SINK").open("a") as sink:
        sink.write(f"{number}\\n")
'''
CLERK = """\
import asyncio
from pathlib import Path

from quarterdeck import Agent, Context

agent = Agent("clerk", concurrency=32)


@agent.task()
async def work(number: int, ctx: Context) -> int:
    while not Path("GATE").exists():
        await asyncio.sleep(0.05)
    with Path("DONE").open("a") as sink:
        sink.write(f"{number}\\n")
    return number
"""


@pytest.fixture(scope="module")
def mail(make_fleet):
    """A fleet with ten thousand open tasks; its agents work once their gates are open."""
    with make_fleet("mail") as fleet:
        fleet.sinks = {name: fleet.folder / name for name in ("messages", "tasks", "messages.gate", "tasks.gate")}
        worker = WORKER.replace("GATE", str(fleet.sinks["messages.gate"])).replace("SINK", str(fleet.sinks["messages"]))
        clerk = CLERK.replace("GATE", str(fleet.sinks["tasks.gate"])).replace("DONE", str(fleet.sinks["tasks"]))
        fleet.write(quarterdeck=SPEC, front=FRONT, worker=worker, clerk=clerk)
        fleet.up()
        for first in range(0, TASKS, 1000):
            orders = [
                {"target": "core/clerk", "payload": number, "key": f"t-{number}"} for number in range(first, min(TASKS, first + 1000))
            ]
            assert all(made["kind"] == "Task" for made in fleet.client.post("/v1/tasks/batch", {"tasks": orders}, timeout=60)["items"])
        yield fleet


def bus_pid(fleet):
    (pid,) = [pid for pid, command in fleet.marked().items() if "nats-server" in command]
    return pid


class Down:
    """The bus killed, and its node held so that nothing starts it again before the files are damaged."""

    def __init__(self, fleet):
        self.fleet = fleet

    def __enter__(self):
        bus, node = bus_pid(self.fleet), self.fleet.node()
        os.kill(node, signal.SIGSTOP)
        os.kill(bus, signal.SIGKILL)
        self.fleet.until(lambda: not self.fleet.alive(bus), what="nats-server is dead")
        return self.fleet.home.bus

    def __exit__(self, *_):
        os.kill(self.fleet.node(), signal.SIGCONT)


def the_stream(bus: Path) -> Path:
    return next(bus.glob("streams/jetstream/*/streams/IN_worker"))


def deleted(bus, _):
    shutil.rmtree(bus / "streams")


def truncated(bus, _):
    for path in (*the_stream(bus).glob("msgs/*.blk"), *the_stream(bus).glob("msgs/index.db")):
        os.truncate(path, path.stat().st_size // 2 if path.suffix == ".blk" else 0)


def flipped(bus, _):
    chance = random.Random(7)  # noqa: S311 the same damage each time
    (the_stream(bus) / "msgs" / "index.db").unlink(missing_ok=True)
    for path in (*the_stream(bus).glob("msgs/*.blk"), the_stream(bus) / "meta.inf"):
        text = bytearray(path.read_bytes())
        for _ in range(3):
            text[chance.randrange(len(text) // 2)] ^= 1 << chance.randrange(8)
        path.write_bytes(text)


def older(bus, copy):
    shutil.rmtree(bus / "streams")
    shutil.copytree(copy, bus / "streams")


def unstartable(bus, _):
    shutil.rmtree(bus / "streams")
    (bus / "streams").write_text("no folder\n")


def accounts_gone(bus, _):
    shutil.rmtree(bus / "accounts")


def send(fleet, numbers, *, mark=None, confirmed=False):
    def sent():
        try:
            return fleet.ask("edge/front", "send", {"numbers": numbers, "mark": mark, "confirmed": confirmed}, timeout=20.0)
        except QuarterdeckError as error:
            problems.append(str(error))
            return None

    problems = []
    return fleet.until(sent, within=30.0, what=lambda: f"{problems[-3:]} {(fleet.home.logs / 'bus.log').read_text()[-3000:]}")


def incidents(fleet):
    return fleet.journal("bus.lost", "core/worker")


def story(fleet, sink):
    """For a failure's message."""
    replicas = [path.read_text()[-1500:] for path in fleet.home.logs.glob("mail/core/worker-*.log")]
    return "\n".join([str(sunk(sink)), str(fleet.items("messages", state="open")), *replicas, fleet.logs()])


def sunk(path):
    return Counter(int(line) for line in path.read_text().split()) if path.exists() else Counter()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("damage", [deleted, truncated, flipped, older, unstartable, accounts_gone], ids=lambda damage: damage.__name__)
def test_the_bus_is_made_whole_and_the_loss_is_named(mail, damage, tmp_path):
    mail.ready()
    gate, sink = mail.sinks["messages.gate"], mail.sinks["messages"]
    gate.unlink(missing_ok=True)
    sink.unlink(missing_ok=True)
    before = len(incidents(mail))
    with Down(mail) as bus:
        shutil.copytree(bus / "streams", tmp_path / "copy")
    send(mail, list(range(100, 140)), mark=damage.__name__, confirmed=True)
    send(mail, list(range(200, 230)))
    time.sleep(2.2)  # two looks at the watermarks
    began = time.monotonic()
    with Down(mail) as bus:
        damage(bus, tmp_path / "copy")
    if damage is not accounts_gone:
        mail.until(lambda: len(incidents(mail)) > before, within=WITHIN, what=mail.logs)
    mail.ready(within=WITHIN)
    send(mail, [999])
    took = time.monotonic() - began
    print(f"{damage.__name__}: the bus is whole after {took:.1f} s")
    assert took < WITHIN
    gate.touch()
    mail.until(lambda: set(sunk(sink)) >= {*range(100, 140), 999}, within=40.0, what=lambda: story(mail, sink))
    mail.until(lambda: not mail.items("messages", state="open"), within=20.0, what=lambda: mail.items("messages", state="open"))
    handled = sunk(sink)
    assert all(handled[number] == 1 for number in range(100, 140)), "each message with a key is handled once"
    lost = 30 - sum(handled[number] for number in range(200, 230))
    if damage is accounts_gone:
        assert (lost, len(incidents(mail))) == (0, before), "streams outlive their account's file"
        return
    told = incidents(mail)[-1]["after"]
    assert lost <= told["lost_at_most"]
    assert told["sent_again"] > 0 or damage is accounts_gone
    assert any(c["kind"] == "BusIntact" and c["status"] == "false" for c in mail.items("conditions"))
    assert "are lost" in mail.qd("explain", "core/worker").out
    assert "are lost" in mail.qd("status").out


@pytest.mark.timeout(600)
def test_every_task_ends_once(mail):
    mail.sinks["tasks.gate"].touch()
    counts = {}

    def done():
        nonlocal counts
        counts = mail.client.get("/v1/tasks/counts")["states"]
        return counts.get("done") == TASKS

    mail.until(done, within=300.0, what=lambda: f"{counts} {mail.logs()}")
    assert sunk(mail.sinks["tasks"]) == Counter(range(TASKS)), "each did its work once"
    assert linux.stat(mail.control())[0] != ""
