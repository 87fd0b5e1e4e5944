"""Tasks in a real fleet while its parts die in the middle of them: each ends once, each effect is called as often as it may be.

The effects append to files of their own, which nobody but the agents writes: what they hold is compared with the recorded history.
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from quarterdeck.errors import Conflict, QuarterdeckError
from quarterdeck.work.history import Call, check

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: trio}
spec:
  clusters:
    front:
      agents:
        boss: {run: "work:boss", hang_after: 300s, restart: {budget: 100}, rollout: {drain: 4s}}
    back:
      quota: {replicas: 8}
      agents:
        worker: {run: "work:worker", replicas: 2, hang_after: 300s, restart: {budget: 100}, rollout: {drain: 4s}}
  links:
    - {from: front, to: back}
"""
WORK = '''\
"""An order has parts; each is worked on in steps and paid for once, and the order is closed once."""

import asyncio
from pathlib import Path

from quarterdeck import Agent, Context

boss, worker = Agent(concurrency=32), Agent(concurrency=32)


def note(what: str, key: str = "") -> str:
    with Path("sink").open("a") as sink:
        sink.write(f"{what}\\n")
    return what


@boss.task("order")
async def order(what: dict, ctx: Context) -> int:
    parts = [ctx.delegate("back/worker", "part", {**what, "part": n}, name=f"part {n}") for n in range(what["parts"])]
    done = await asyncio.gather(*parts)
    await ctx.effect("close", note, f"{ctx.task.root} close")
    return sum(done)


@worker.task("part")
async def part(what: dict, ctx: Context) -> int:
    for n in range(what["steps"]):
        await ctx.step(f"step {n}", pause, what["pause"])
        ctx.progress(n / what["steps"], f"step {n}")
        ctx.emit(f"step {n}")
    name = f"pay {what['part']}"
    await ctx.effect(name, note, f"{ctx.task.root} {name}", semantics="dedupes")
    return 1


async def pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


@worker.task("slow")
async def slow(seconds: float, ctx: Context) -> str:
    """An unsafe call that takes its time."""

    async def call() -> str:
        note(f"{ctx.task.root} slow")
        await asyncio.sleep(seconds)
        return "called"

    return await ctx.effect("slow", call)


@worker.task("ask")
async def ask(question: str, ctx: Context) -> str:
    return await ctx.ask_human(question, ["yes", "no"])
'''
ENDS = ("done", "failed", "dead", "cancelled")


@pytest.fixture(scope="module")
def works(make_fleet):
    """One fleet for all; each test leaves it ready."""
    with make_fleet("tasks") as fleet:
        fleet.write(quarterdeck=SPEC, work=WORK)
        fleet.up()
        yield Works(fleet)


@pytest.fixture(autouse=True)
def ready(works):
    works.fleet.ready(within=40)


class Works:
    """Gives orders, strikes, and judges."""

    def __init__(self, fleet):
        self.fleet = fleet

    def submit(self, payload, target="front/boss", verb="order", **more):
        return self.fleet.client.post("/v1/tasks", {"target": target, "verb": verb, "payload": payload, **more})["id"]

    def order(self, parts=4, steps=10, pause=0.15, **more):
        return self.submit({"parts": parts, "steps": steps, "pause": pause}, **more)

    def get(self, task):
        return self.fleet.client.get(f"/v1/tasks/{task}")

    def tree(self, task):
        return self.fleet.client.get(f"/v1/tasks/{task}/tree")["items"]

    def history(self, task):
        return self.fleet.client.get(f"/v1/tasks/{task}/history")["items"]

    def kinds(self, task):
        return [event["event"] for event in self.history(task)]

    def until(self, task, *states, within=60):
        def look():
            with suppress(QuarterdeckError):
                found = self.get(task)
                return found if found["state"] in states else None
            return None

        return self.fleet.until(look, within=within, what=lambda: f"{self.tree(task)}\n{self.fleet.logs()}")

    def in_the_middle(self, task, steps=3):
        """The parts of an order, once some of them have kept so many steps."""

        def look():
            children = self.tree(task)[1:]
            return children if children and any(len(child["steps"]) >= steps for child in children) else None

        return self.fleet.until(look, within=30, what=lambda: f"{self.tree(task)}")

    def sink(self):
        """Every call that really happened, as (root, key)."""
        files = self.fleet.home.node.glob("work/trio/*/*/sink")
        return [tuple(line.split(" ", 1)) for file in files for line in file.read_text().splitlines()]

    def judged(self, task):
        """Nothing is wrong with a tree that has ended, by its history and by the sink."""
        calls = [Call(root, key) for root, key in self.sink() if root == task]
        assert check(self.history(task), calls, [task], over=True) == ()
        return self.get(task)

    def sound(self, task, parts=4):
        """An order that came to its end as if nothing had happened."""
        found = self.until(task, *ENDS, "unknown", within=90)
        assert (found["state"], found["result"]) == ("done", parts), (found, self.history(task)[-8:], self.fleet.logs())
        assert [effect["outcome"] for effect in found["effects"]] == ["done"]
        assert {one["state"] for one in self.tree(task)} == {"done"}
        keys = [key for root, key in self.sink() if root == task]
        assert (keys.count("close"), set(keys)) == (1, {"close", *(f"pay {n}" for n in range(parts))})
        return self.judged(task)

    def process(self, words):
        return next(pid for pid, command in self.fleet.marked().items() if words in command)

    def replica(self, name):
        return self.fleet.replicas()[name]


def test_a_key_is_one_task_over_every_door(works):
    first = works.order(parts=1, steps=1, key="K-1")
    assert works.order(parts=1, steps=1, key="K-1") == first
    with pytest.raises(Conflict):
        works.order(parts=2, steps=1, key="K-1")
    works.sound(first, 1)
    ran = works.fleet.qd(
        "task", "submit", "front/boss", "-d", '{"parts": 1, "steps": 1, "pause": 0}', "--verb", "order", "--wait", "-o", "json"
    )
    assert (ran.code, ran.json["state"], ran.json["result"]) == (0, "done", 1), ran


@pytest.mark.parametrize("what", ["replica", "boss", "bus", "control plane", "node"])
def test_sigkill_in_the_middle(works, what):
    """Whatever is killed: the order ends once, and what was done before is not done again."""
    fleet, task = works.fleet, works.order()
    works.in_the_middle(task)
    match what:
        case "replica":
            owners = [child["owner"] for child in works.tree(task)[1:] if child["state"] == "running"]
            pid = works.replica(max(owners, key=owners.count))["pid"]
        case "boss":
            pid = works.replica("front/boss-0")["pid"]
        case "bus":
            pid = works.process("nats-server")
        case "control plane":
            pid = fleet.control()
        case "node":
            pid = fleet.node()
    struck = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    works.sound(task)
    events = works.history(task)
    steps = [(event["task"], event["detail"]["name"]) for event in events if event["event"] == "step"]
    assert len(steps) == len(set(steps)) == 40
    assert ("again" in [event["event"] for event in events]) == (what in ("replica", "boss", "node"))
    if what == "node":  # its successor tells of no death, but begins with none alive: nothing waits for a lease to end
        assert {event["detail"]["why"].partition(": ")[2] for event in events if event["event"] == "again"} == {"its node ended"}
    print(f"\n{what}: done {time.monotonic() - struck:.1f} s after the kill")


def test_a_replica_paused_beyond_its_lease_commits_nothing_when_it_wakes(works):
    """SIGSTOP in the middle of a call that may not happen twice: a human is asked, and the zombie's outcome is refused."""
    task = works.submit(4.0, "back/worker", "slow")
    found = works.until(task, "running")
    works.fleet.until(lambda: (task, "slow") in works.sink())
    pid = works.replica(found["owner"])["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped = works.until(task, "unknown", within=40)
        assert (stopped["attempts"], stopped["effects"][0]["outcome"]) == (2, "unknown")
    finally:
        os.kill(pid, signal.SIGCONT)
    works.fleet.until(lambda: "refused" in works.kinds(task), within=20, what=lambda: f"{works.history(task)}")
    works.fleet.client.post(f"/v1/tasks/{task}/resolve", {"key": "slow", "outcome": "done", "value": "seen", "reason": "the sink has it"})
    found = works.until(task, "done")
    assert (found["result"], works.sink().count((task, "slow"))) == ("seen", 1)
    works.judged(task)


def test_a_rolling_restart_hands_tasks_back_and_counts_no_attempt(works):
    """One waits for a human, one works longer than the drain takes: both are handed over with what they had done."""
    fleet = works.fleet
    task, asks = works.order(parts=2, steps=40, pause=0.25), works.submit("Go on?", "back/worker", "ask")
    works.in_the_middle(task)
    works.until(asks, "waiting")
    old = {name: replica["pid"] for name, replica in fleet.replicas().items()}
    assert fleet.qd("restart", "back/worker", "--reason", "test").code == 0
    fleet.until(lambda: all(r["pid"] not in old.values() for r in fleet.replicas(agent="back/worker").values()), within=40)
    fleet.ready(within=40)
    fleet.client.post(f"/v1/tasks/{asks}/answer", {"answer": "yes"})
    assert works.until(asks, "done")["result"] == "yes"
    works.sound(task, 2)
    assert [one["attempts"] for one in (works.get(asks), *works.tree(task))] == [1] * 4
    given = [event for one in (asks, task) for event in works.history(one) if event["event"] == "given_back"]
    assert len(given) >= 3, "handed back, not lost with the process"
    works.judged(asks)


def test_a_tree_that_is_cancelled_stops_as_a_whole(works):
    task = works.order(parts=6, steps=200, pause=0.1)
    works.in_the_middle(task)
    works.fleet.client.post(f"/v1/tasks/{task}/cancel", {"reason": "not needed"})
    found = works.until(task, *ENDS, within=20)
    assert (found["state"], found["reason"]) == ("cancelled", "not needed")
    works.fleet.until(lambda: {one["state"] for one in works.tree(task)} == {"cancelled"}, within=20, what=lambda: f"{works.tree(task)}")
    assert not [key for root, key in works.sink() if root == task]
    works.judged(task)


def test_what_a_task_says_and_how_far_it_is(works):
    task = works.order(parts=1, steps=60, pause=0.1)
    works.in_the_middle(task)
    child = works.tree(task)[1]["id"]
    progress = works.fleet.until(lambda: works.get(child)["progress"], within=15)
    assert 0 < progress["fraction"] < 1
    said = works.fleet.client.get(f"/v1/tasks/{child}/output")["items"]
    assert [piece["n"] for piece in said] == list(range(1, len(said) + 1))
    assert said[0]["value"] == "step 0"
    later = works.fleet.client.get(f"/v1/tasks/{child}/output", {"after": said[-1]["n"]})["items"]
    assert all(piece["n"] > said[-1]["n"] for piece in later)
    works.fleet.client.post(f"/v1/tasks/{task}/cancel", {"reason": "seen enough"})
    works.until(task, "cancelled")


def test_many_orders_while_replicas_die_one_after_another(works):
    tasks = [works.order(parts=3, steps=6, pause=0.1) for _ in range(12)]
    for n in range(6):
        time.sleep(0.5)
        name = f"back/worker-{n % 2}"
        with suppress(KeyError, ProcessLookupError):
            os.kill(works.replica(name)["pid"], signal.SIGKILL)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda task: works.sound(task, 3), tasks))
