"""Tasks run again as new ones in a real fleet: what was done before the step happens once, whatever is killed meanwhile.

Every call appends to a file that nobody but the agents writes.
"""

import os
import signal
import threading
from collections import Counter

import pytest

from quarterdeck import Client
from quarterdeck.errors import Conflict, NotFound
from quarterdeck.work.history import Call, check

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: shop}
spec:
  entry: desk
  clusters:
    shop:
      agents:
        desk: {run: "work:desk", restart: {budget: 100}}
        till: {run: "work:till", restart: {budget: 100}}
"""
WORK = '''\
"""Sells: adds up, is paid, asks, packs and sends. `slow` is how long packing takes."""

import asyncio
from pathlib import Path

from quarterdeck import Agent, Context

desk, till = Agent(concurrency=16), Agent(concurrency=16)


def note(what: str) -> str:
    with Path("sink").open("a") as sink:
        sink.write(f"{what}\\n")
    return what


@desk.task()
async def sell(what: dict, ctx: Context) -> str:
    name = what["name"]
    await ctx.step("add up", note, f"{name} added")
    await ctx.delegate("till", payload=name)
    await ctx.effect("thank", note, f"{name} {ctx.task.root} thank")
    if what.get("ask"):
        await ctx.ask_human("Send it?", ["yes", "no"])
    await ctx.step("pack", pack, name, what.get("slow", 0))
    await ctx.effect("send", note, f"{name} {ctx.task.root} send")
    return "sold"


async def pack(name: str, seconds: float) -> str:
    note(f"{name} packed")
    await asyncio.sleep(seconds)
    return "packed"


@till.task()
async def take(name: str, ctx: Context) -> str:
    return await ctx.effect("charge", note, f"{name} {ctx.task.root} charge")
'''


@pytest.fixture(scope="module")
def shop(make_fleet):
    with make_fleet("forks") as fleet:
        fleet.write(quarterdeck=SPEC, work=WORK)
        fleet.up()
        yield Shop(fleet)


class Shop:
    """Sells, and counts what really happened."""

    def __init__(self, fleet):
        self.fleet, self.client = fleet, Client(home=fleet.home.root)

    def sold(self, name, **more):
        handle = self.client.submit("shop/desk", {"name": name, **more}, key=name)
        assert handle.result(30) == "sold"
        return handle.id

    def sink(self):
        files = self.fleet.home.node.glob("work/shop/*/*/sink")
        return [line.split() for file in files for line in file.read_text().splitlines()]

    def did(self, name):
        return Counter(words[-1] for words in self.sink() if words[0] == name)

    def judged(self, task):
        """Nothing is wrong with its history, beside what was really called."""
        calls = [Call(words[1], words[2]) for words in self.sink() if words[1] == task]
        events = self.fleet.client.get(f"/v1/tasks/{task}/history")["items"]
        assert check(events, calls, [task], over=True) == ()


def test_from_the_middle_the_earlier_steps_and_effects_happen_once_and_the_later_ones_twice(shop):
    origin = shop.sold("middle")
    assert set(shop.did("middle").values()) == {1}
    ran = shop.fleet.qd("task", "fork", "middle", "--from", "pack", "--reason", "it was lost", "--wait", "-o", "json")
    assert (ran.code, ran.json["state"], ran.json["result"], ran.json["key"]) == (0, "done", "sold", "middle~fork-1"), ran
    assert shop.did("middle") == {"added": 1, "charge": 1, "thank": 1, "packed": 2, "send": 2}
    sends = [words[1] for words in shop.sink() if words[0] == "middle" and words[-1] == "send"]
    assert sends == [origin, ran.json["id"]], "each with an identity of its own"
    for task in (origin, ran.json["id"]):
        shop.judged(task)
    assert shop.client.get(origin).document["forks"] == [ran.json["id"]]
    assert shop.fleet.journal(verb="task.fork")[-1]["reason"] == "it was lost"


def test_a_fork_of_a_fork_and_one_from_the_very_beginning(shop):
    origin = shop.sold("twice")
    first = shop.client.fork(origin, "pack")
    assert first.result(30) == "sold"
    assert shop.client.fork(first.id, "pack").result(30) == "sold"
    assert shop.did("twice") == {"added": 1, "charge": 1, "thank": 1, "packed": 3, "send": 3}
    assert shop.client.fork(first.id).result(30) == "sold"
    assert shop.did("twice") == {"added": 2, "charge": 2, "thank": 2, "packed": 4, "send": 4}
    with pytest.raises(NotFound, match="no step 'send'"):
        shop.client.fork(origin, "send")


def test_a_fork_goes_on_after_a_kill_and_repeats_nothing_that_was_kept(shop):
    shop.sold("killed", slow=1.5)
    made = shop.client.fork("killed", "pack")
    with pytest.raises(Conflict, match="is still running"):
        shop.fleet.until(lambda: shop.client.get(made.id).state == "running") and shop.client.fork(made.id)
    shop.fleet.until(lambda: shop.did("killed")["packed"] == 2)
    os.kill(shop.fleet.replicas()["shop/desk-0"]["pid"], signal.SIGKILL)
    assert made.result(40) == "sold"
    assert shop.did("killed") == {"added": 1, "charge": 1, "thank": 1, "packed": 3, "send": 2}
    shop.judged(made.id)


def test_the_answer_of_a_human_is_kept(shop):
    handle = shop.client.submit("shop/desk", {"name": "asked", "ask": True}, key="asked")
    shop.fleet.until(lambda: shop.client.get(handle.id).state == "waiting" and shop.client.questions())
    shop.client.answer("asked", "yes")
    handle.result(30)
    assert shop.client.fork("asked", "pack").result(30) == "sold"


def test_a_control_plane_that_is_killed_leaves_no_half_a_fork(shop):
    """Forks without a key of their own go on over two kills: each is one task with all that was kept, and none is there twice."""
    origin = shop.sold("control")
    made, errors, over = [], [], threading.Event()

    def forking():
        while not over.is_set():
            try:
                made.append(shop.client.fork(origin, "pack").id)
            except Exception as error:  # noqa: BLE001 told below
                errors.append(error)

    threads = [threading.Thread(target=forking) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        wanted = len(made) + 5
        shop.fleet.until(lambda wanted=wanted: len(made) >= wanted, within=30)
        os.kill(shop.fleet.control(), signal.SIGKILL)
        shop.fleet.until(lambda: shop.client.get(origin), within=30)
    over.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    forks = shop.client.get(origin).document["forks"]
    assert sorted(forks) == sorted(made)
    for task in made:
        assert shop.client.wait(task, 60).state == "done"
        shop.judged(task)
    assert shop.did("control") == {"added": 1, "charge": 1, "thank": 1, "packed": 1 + len(made), "send": 1 + len(made)}
