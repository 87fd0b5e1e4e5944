"""What a program and a person do with a fleet's work: both clients and `qd task` before real agents, over a control plane that dies."""

import asyncio
import json
import os
import signal
import threading
import time

import pytest

from quarterdeck import AsyncClient, Client, Forbidden, TaskFailed, Transient, UserError
from quarterdeck.errors import Conflict, NotFound

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: trio}
spec:
  entry: boss
  clusters:
    front:
      agents:
        boss: {run: "work:boss", restart: {budget: 100}}
    back:
      agents:
        worker: {run: "work:worker", replicas: 2, restart: {budget: 100}}
  links:
    - {from: front, to: back}
"""
WORK = '''\
"""Adds up, asks, and does what must not be done twice."""

import asyncio
from pathlib import Path

from quarterdeck import Agent, Context

boss, worker = Agent(concurrency=32), Agent(concurrency=32)


@boss.task()
async def add(numbers: list[int], ctx: Context) -> int:
    parts = await asyncio.gather(*(ctx.delegate("back/worker", payload=n) for n in numbers))
    await ctx.effect("note", note, ctx.task.root)
    return await ctx.step("sum", sum, parts)


@boss.task("ask")
async def ask(what: str, ctx: Context) -> str:
    return await ctx.ask_human(f"May I {what}?", options=("approve", "deny"), arguments={"what": what, "amount": 5})


@boss.task("doubt")
async def doubt(key: str, ctx: Context) -> str:
    def pay() -> str:
        raise TimeoutError("the bank does not answer")

    return await ctx.effect(f"pay:{key}", pay, semantics="unsafe")


@boss.task("bad")
async def bad(text: str, ctx: Context) -> None:
    raise ValueError(text)


@boss.task("slow")
async def slow(seconds: float, ctx: Context) -> str:
    for n in range(int(seconds * 10)):
        ctx.emit(f"said {n}")
        await asyncio.sleep(0.1)
    return "slept"


@worker.task()
def square(n: int) -> int:
    return n * n


def note(root: str) -> None:
    with Path("sink").open("a") as sink:
        sink.write(f"{root}\\n")
'''


@pytest.fixture(scope="module")
def fleet(make_fleet):
    with make_fleet("clients") as fleet:
        fleet.write(quarterdeck=SPEC, work=WORK)
        fleet.up()
        yield fleet


@pytest.fixture(scope="module")
def client(fleet):
    return Client(home=fleet.home.root)


@pytest.fixture(scope="module")
def url(fleet):
    return fleet.client.post("/v1/login", {})["url"].partition("/login")[0]


@pytest.fixture(scope="module")
def token(fleet):
    return fleet.client.post("/v1/tokens", {"role": "operator"})["token"]


def test_a_program_gives_work_and_gets_its_result(client):
    handle = client.submit("front/boss", [1, 2, 3], key="sum of squares /?#ä")
    assert handle.created
    assert handle.result(20) == 14
    again = client.submit("front/boss", [1, 2, 3], key="sum of squares /?#ä")
    assert (again.id, again.created) == (handle.id, False)
    seen = client.get("sum of squares /?#ä")
    assert (seen.id, seen.state, len(seen.children), seen.result) == (handle.id, "done", 3, 14)
    with pytest.raises(Conflict, match="asks for something else"):
        client.submit("front/boss", [1], key="sum of squares /?#ä")
    told = list(handle.events())
    assert {event.data["event"] for event in told} >= {"submit", "claim", "effect.done", "step", "done"}
    assert [int(event.id) for event in told] == sorted({int(event.id) for event in told})


def test_what_goes_wrong_is_an_error_of_the_tree(client):
    with pytest.raises(NotFound):
        client.submit("front/nobody")
    with pytest.raises(UserError, match="67,108,866 bytes"):
        client.submit("front/boss", "x" * (64 << 20))
    with pytest.raises(UserError, match="JSON"):
        client.submit("front/boss", {1, 2})
    with pytest.raises(NotFound):
        client.get("no such key")
    with pytest.raises(TaskFailed, match="no good") as failed:
        client.submit("front/boss", "no good", verb="bad", attempts=1).result(20)
    assert failed.value.state == "dead"
    slow = client.submit("front/boss", 30, verb="slow")
    with pytest.raises(Transient, match=r"running|queued"):
        slow.result(0.3)
    assert slow.cancel("seen enough").state in ("running", "cancelled")
    with pytest.raises(TaskFailed, match="cancelled"):
        slow.result(20)


def test_lists_go_over_all_pages(client):
    keys = [f"page-{n}" for n in range(5)]
    for key in keys:
        client.submit("front/boss", [1], key=key, delay=3600)
    assert sorted(seen.key for seen in client.tasks(key="page-")) == keys
    assert {seen.state for seen in client.tasks(key="page-", state="open")} == {"queued"}
    for key in keys:
        client.cancel(key, "over")


def test_questions_and_unknown_effects_are_answered_by_program(client, fleet):
    asks = client.submit("front/boss", "sell", verb="ask")
    (asked,) = fleet.until(client.questions)
    assert (asked["question"], asked["arguments"]) == ("May I sell?", {"what": "sell", "amount": 5})
    assert client.answer(asks.id, "approve", reason="yes")["state"] == "answered"
    assert asks.result(20) == "approve"
    doubt = client.submit("front/boss", "d1", verb="doubt")
    assert doubt.wait(20).state == "unknown"
    with pytest.raises(Transient, match="unknown"):
        doubt.result()
    client.resolve(doubt.id, "pay:d1", "done", value="receipt 7", reason="seen at the bank")
    assert doubt.result(20) == "receipt 7"


def test_by_url_a_token_decides_what_a_program_may(fleet, url, token):
    there = Client(url=url, token=token)
    assert there.submit("front/boss", [3]).result(20) == 9
    viewer = Client(url=url, token=fleet.client.post("/v1/tokens", {"role": "viewer"})["token"])
    with pytest.raises(Forbidden):
        viewer.submit("front/boss", [3])
    with pytest.raises(Forbidden):
        Client(url=url, token="qd_00000000_guess").get("x")  # noqa: S106 of nobody


def test_a_program_with_an_event_loop_has_hundreds_under_way(fleet, url, token):
    async def main():
        async with AsyncClient(home=fleet.home.root) as client:
            handles = await asyncio.gather(*(client.submit("front/boss", [n, n]) for n in range(100)))
            results = await asyncio.gather(*(handle.result(60) for handle in handles))
            said = [
                event.data["value"]
                async for event in (await client.submit("front/boss", 0.5, verb="slow")).events()
                if event.name == "output"
            ]
            found = [seen.id async for seen in client.tasks(state="done")]
        async with AsyncClient(url=url, token=token) as client:
            with pytest.raises(NotFound):
                await client.get("no such key")
            there = await (await client.submit("front/boss", [4])).result(20)
        return {handle.id for handle in handles} <= set(found), results, said, there

    found, results, said, there = asyncio.run(main())
    assert found
    assert results == [2 * n * n for n in range(100)]
    assert said == [f"said {n}" for n in range(5)]
    assert there == 16


def test_a_control_plane_that_dies_makes_no_task_twice_and_loses_none(client, fleet):
    """Submits without keys go on over two kills: each has one task, as the sink of the agents counts."""
    ids, errors, over = [], [], threading.Event()

    def give():
        while not over.is_set():
            try:
                ids.append(client.submit("front/boss", [1]).id)
            except Transient as error:
                errors.append(error)

    threads = [threading.Thread(target=give) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        wanted = len(ids) + 5
        fleet.until(lambda wanted=wanted: len(ids) >= wanted, within=30)
        os.kill(fleet.control(), signal.SIGKILL)
        fleet.until(lambda: client.get(ids[0]), within=30)
    over.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    results = [client.wait(task, 60).state for task in ids]
    assert set(results) == {"done"}
    made = [seen.id for seen in client.tasks(key="auto-", target="front/boss")]
    assert len(made) == len(set(made))
    assert set(ids) <= set(made)
    sink = fleet.qd("task", "get", ids[0], "--tree").out
    assert "effect note done" in sink


def test_a_stream_goes_on_over_a_restart(client, fleet):
    handle = client.submit("front/boss", 4, verb="slow")
    told, begun = [], threading.Event()

    def follow():
        for event in handle.events():
            told.append(event)
            begun.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(10)
    os.kill(fleet.control(), signal.SIGKILL)
    thread.join(40)
    assert not thread.is_alive()
    recorded = [event.data["sequence"] for event in told if event.name == "event"]
    assert recorded == sorted(set(recorded))
    assert told[-1].data.get("event") == "done" or told[-1].name == "output"


def test_the_command_waits_and_its_exit_code_says_how_it_ended(fleet):
    done = fleet.qd("task", "submit", "-d", "[1, 2, 3]", "--key", "INC-1", "--wait")
    assert (done.code, done.err.splitlines()[0]) == (0, "queued"), done
    assert " done in " in done.out
    assert " · 3 children · 1 effect · 14" in done.out
    whole = fleet.qd("task", "submit", "front/boss", "-d", "[1, 2, 3]", "--key", "INC-1", "--wait", "-o", "json").json
    assert (whole["state"], whole["result"], whole["key"]) == ("done", 14, "INC-1")
    known = fleet.qd("task", "submit", "front/boss", "-d", "[1, 2, 3]", "--key", "INC-1", "-o", "json").json
    assert known["created"] is False
    assert fleet.qd("task", "submit", "--verb", "bad", "-d", '"x"', "--attempts", "1", "--wait").code == 1
    late = fleet.qd("task", "submit", "--verb", "slow", "-d", "30", "--key", "slow", "--wait", "--within", "1s")
    assert (late.code, "not in time" in late.err) == (5, True)
    assert fleet.qd("task", "cancel", "slow", "--reason", "over").code == 0
    unknown = fleet.qd("task", "submit", "--verb", "doubt", "-d", '"d2"', "--key", "d2", "--wait")
    assert (unknown.code, "qd get effects" in unknown.err) == (5, True), unknown
    assert "pay:d2" in fleet.qd("get", "effects").out
    assert fleet.qd("task", "resolve", "d2", "pay:d2", '"paid"', "--done", "--reason", "seen").code == 0
    fleet.until(lambda: fleet.qd("get", "task", "d2", "-o", "json").json["items"][0]["state"] == "done")


def test_the_command_waits_over_a_restart_of_the_control_plane(fleet):
    ran = []
    thread = threading.Thread(target=lambda: ran.append(fleet.qd("task", "submit", "--verb", "slow", "-d", "4", "--wait")))
    thread.start()
    fleet.until(lambda: [t for t in fleet.items("tasks", state="running") if t["verb"] == "slow"])
    os.kill(fleet.control(), signal.SIGKILL)
    thread.join(60)
    assert ran[0].code == 0, ran[0]


def test_the_command_shows_trees_and_answers(fleet):
    tree = fleet.qd("task", "get", "INC-1", "--tree").out.splitlines()
    assert tree[0].startswith("done ")
    assert sum("back/worker" in line for line in tree) == 3
    assert any("effect note done (" in line for line in tree)
    history = fleet.qd("task", "history", "INC-1", "-o", "json").json["items"]
    assert [history[0]["event"], history[-1]["event"]] == ["submit", "done"]
    fleet.qd("task", "submit", "--verb", "ask", "-d", '"buy"', "--key", "buy")
    fleet.until(lambda: "May I buy?" in fleet.qd("task", "questions").out)
    assert fleet.qd("task", "answer", "buy").code == 2  # no terminal, no answer
    assert fleet.qd("task", "answer", "buy", "approve", "--reason", "fine").code == 0
    fleet.until(lambda: '"approve"' in json.dumps(fleet.qd("task", "get", "buy", "-o", "json").json["result"]))
    assert fleet.qd("task", "get", "nothing").code == 3


def test_64_in_flight_are_submitted_together(fleet):
    """How fast it is depends on the machine; here it is told, and that grouping works is tested with the doors."""

    async def main():
        async with AsyncClient(home=fleet.home.root) as client:
            begun = time.perf_counter()
            for _ in range(5):
                await asyncio.gather(*(client.submit("front/boss", [1], delay=3600) for _ in range(64)))
            return 320 / (time.perf_counter() - begun)

    print(f"\nsubmits a second, 64 in flight through the unix socket: {asyncio.run(main()):.0f}")
