"""Durable messages between real agents: once for each key, in order where asked, kept when nobody can handle them, and bounded."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from quarterdeck.errors import QuarterdeckError

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
        stuck: {run: "stuck:agent"}
  links:
    - {from: edge, to: core, timeout: 5s, attempts: 3}
"""
FRONT = """\
from quarterdeck import Agent, Context

agent = Agent("front")


@agent.on("send")
async def send(given: dict, ctx: Context) -> dict:
    options = {name: given[name] for name in ("key", "order", "confirmed") if name in given}
    ack = await ctx.publish("core/worker", given.get("verb", "take"), given["n"], **options)
    return {"seq": ack.seq, "duplicate": ack.duplicate, "message": ack.message}


@agent.on("flood")
async def flood(count: int, ctx: Context) -> None:
    await ctx.publish_all("core/stuck", "take", ["x" * 1000] * count)


@agent.on("bulk")
async def bulk(count: int, ctx: Context) -> int:
    return len(await ctx.publish_all("core/worker", "take", list(range(count))))


@agent.task()
async def twice(n: int, ctx: Context) -> list[bool]:
    acks = [await ctx.publish("core/worker", "take", n) for _ in range(2)]
    if ctx.task.attempt == 1:
        raise OSError("once more")
    return [ack.duplicate for ack in acks]
"""
WORKER = """\
import asyncio
import os
import signal
from pathlib import Path

from quarterdeck import Agent, Context

agent = Agent("worker", concurrency=8)
SINK = Path("HERE")


@agent.on("take")
async def take(n: int, ctx: Context) -> None:
    with (SINK / "taken").open("a") as sink:
        sink.write(f"{n} {ctx.sender} {ctx.name}\\n")


@agent.on("slowly")
async def slowly(n: int, ctx: Context) -> None:
    with (SINK / "ordered").open("a") as sink:
        sink.write(f"begin {n}\\n")
    await asyncio.sleep(0.05)
    with (SINK / "ordered").open("a") as sink:
        sink.write(f"end {n}\\n")


@agent.on("poison")
async def poison(n: int) -> None:
    if not (SINK / "mended").exists():
        raise ValueError(f"cannot read {n}")
    with (SINK / "taken").open("a") as sink:
        sink.write(f"{n} mended\\n")


@agent.on("typed")
async def typed(n: int) -> None:
    raise AssertionError("never called")


@agent.on("dies_once")
async def dies_once(n: int) -> None:
    with (SINK / "dies").open("a") as sink:
        sink.write(f"{n}\\n")
    if len((SINK / "dies").read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""
STUCK = """\
import asyncio

from quarterdeck import Agent

agent = Agent("stuck", concurrency=2)


@agent.on("take")
async def take(text: str) -> None:
    await asyncio.Event().wait()
"""


@pytest.fixture(scope="module")
def mail(make_fleet):
    with make_fleet("mail") as fleet:
        fleet.write(quarterdeck=SPEC, front=FRONT, worker=WORKER.replace("HERE", str(fleet.folder)), stuck=STUCK)
        fleet.up()
        yield fleet


def send(mail, n, **more):
    return mail.ask("edge/front", "send", {"n": n, **more}, timeout=20.0)


def lines(mail, name="taken"):
    path = mail.folder / name
    return path.read_text().splitlines() if path.exists() else []


def message(mail, name):
    return mail.client.get(f"/v1/messages/{name}")


def rss(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def test_a_key_is_one_message_in_the_name_of_its_sender(mail):
    first = send(mail, 1, key="k-1")
    assert first["duplicate"] is False
    mail.until(lambda: lines(mail), what=mail.logs)
    again = send(mail, 1, key="k-1")
    assert (again["message"], again["duplicate"]) == (first["message"], True)
    with pytest.raises(QuarterdeckError, match="was published to core/worker with another body"):
        send(mail, 2, key="k-1")
    confirmed = send(mail, 3, key="k-3", confirmed=True)
    assert confirmed["seq"] > 0
    mail.until(lambda: len(lines(mail)) == 2)
    assert [line.split()[:2] for line in lines(mail)] == [["1", "edge/front-0"], ["3", "edge/front-0"]]
    mail.until(lambda: message(mail, first["message"])["state"] == "done")


def test_a_task_that_is_repeated_sends_nothing_twice(mail):
    before = len(lines(mail))
    made = mail.client.post("/v1/tasks", {"target": "edge/front", "payload": 7})
    mail.until(lambda: mail.client.get(f"/v1/tasks/{made['id']}")["state"] == "done", within=30)
    assert mail.client.get(f"/v1/tasks/{made['id']}")["result"] == [True, True]
    mail.until(lambda: not mail.items("messages", state="open"))
    assert [line.split()[0] for line in lines(mail)[before:]] == ["7", "7"], "two publishes, each once"


def test_of_one_order_one_is_handled_after_the_other_by_all_replicas_together(mail):
    for n in range(12):
        send(mail, n, order="o", verb="slowly")
    mail.until(lambda: len(lines(mail, "ordered")) == 24, within=30, what=lambda: lines(mail, "ordered"))
    assert lines(mail, "ordered") == [f"{what} {n}" for n in range(12) for what in ("begin", "end")]


def test_what_cannot_be_handled_is_kept_journalled_and_can_be_sent_again(mail):
    given = send(mail, 0, key="typed")  # anything that ends
    assert given["message"]
    mail.ask("edge/front", "send", {"n": "no number", "verb": "typed"})
    dead = mail.until(lambda: mail.items("messages", state="dead"), what=mail.logs)
    (one,) = dead
    assert (one["target"], one["from"], one["verb"], one["deliveries"]) == ("core/worker", "edge/front-0", "typed", 1)
    assert "payload" in one["reason"]
    assert message(mail, one["id"])["body"] == "no number"
    assert mail.journal("message.dead", "core/worker")[-1]["reason"] == one["reason"]
    assert one["id"] in mail.qd("message", "list", "--state", "dead").out
    ran = mail.qd("message", "retry", one["id"], "--reason", "try again")
    assert (ran.code, "is sent again" in ran.out) == (0, True)
    mail.until(lambda: (m := message(mail, one["id"]))["state"] == "dead" and m["attempt"] == 2)
    assert mail.qd("message", "retry", "f" * 32).code == 3
    assert "nobody" not in mail.qd("message", "get", one["id"]).out


def test_a_replica_that_dies_of_a_message_hands_it_to_the_next(mail):
    sent = send(mail, 5, key="dies", verb="dies_once")
    mail.until(lambda: message(mail, sent["message"])["state"] == "done", within=30, what=mail.logs)
    assert lines(mail, "dies") == ["5", "5"]
    mail.ready()


def test_the_ledger_may_be_killed_between_the_commit_and_everything_after_it(mail):
    before = len(lines(mail))
    sent = send(mail, 50, key="kill")
    os.kill(mail.control(), signal.SIGKILL)

    def done():
        try:
            return message(mail, sent["message"])["state"] == "done"
        except (QuarterdeckError, OSError):
            return False

    mail.until(done, within=40, what=mail.logs)
    assert [line.split()[0] for line in lines(mail)[before:]] == ["50"]
    mail.ready()


def test_many_at_once_arrive_in_few_messages_of_the_stream(mail):
    before = len(lines(mail))
    assert mail.ask("edge/front", "bulk", 200, timeout=20.0) == 4
    mail.until(lambda: len(lines(mail)) >= before + 200, within=20)
    assert sorted(int(line.split()[0]) for line in lines(mail)[before:]) == list(range(200))


def test_who_sends_more_than_is_taken_in_is_refused_and_memory_stays_bounded(mail):
    pids = {name: found["pid"] for name, found in mail.replicas().items()}
    (bus,) = [pid for pid, command in mail.marked().items() if "nats-server" in command]
    watched = {"sender": pids["edge/front-0"], "receiver": pids["core/stuck-0"], "bus": bus}
    before = {name: rss(pid) for name, pid in watched.items()}
    with pytest.raises(QuarterdeckError, match=r"Overloaded: .* did not take the message: maximum bytes exceeded"):
        mail.ask("edge/front", "flood", 100_000, timeout=100.0)
    grown = {name: round(rss(pid) - before[name]) for name, pid in watched.items()}
    print(f"100,000 messages at an agent that is stuck: grown by MiB {grown}")
    assert grown["receiver"] < 32
    assert grown["bus"] < 128
    assert grown["sender"] < 250, "the hundred thousand payloads themselves are 100 MiB"
    assert send(mail, 9, key="after-the-flood", confirmed=True)["seq"] > 0, "others are not held up"
