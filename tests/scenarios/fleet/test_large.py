"""Five megabytes through a fleet: from a program to an agent, to its child, as a message, and back, whoever is killed meanwhile."""

import asyncio
import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from quarterdeck import AsyncClient, Client
from quarterdeck.client.doors import UnixConnection
from quarterdeck.errors import Conflict, NotFound, UserError
from quarterdeck.model.blobs import Ref

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
        worker: {run: "work:worker", restart: {budget: 100}}
        reader: {run: "work:reader", restart: {budget: 100}}
  links:
    - {from: front, to: back}
"""
WORK = '''\
"""Turns a long text around, in several ways at once."""

import asyncio
import hashlib
from pathlib import Path

from quarterdeck import Agent, Context

boss, worker, reader = Agent(), Agent(), Agent()
SEEN = Path("seen")


def turned(text: str) -> str:
    return text[::-1]


@boss.task()
async def order(text: str, ctx: Context) -> str:
    await ctx.publish("back/reader", "take", text)
    kept = await ctx.step("turn", turned, text)
    sent = await ctx.effect("send", turned, kept, semantics="idempotent")
    assert sent == text, "an effect's value is another one"
    return await ctx.delegate("back/worker", payload=kept)


@worker.task()
async def turn(text: str, ctx: Context) -> str:
    if ctx.task.attempt == 1 and turned(text).startswith("wait"):
        await asyncio.sleep(60)
    return turned(text)


@worker.task("size")
def size(text: str) -> int:
    return len(text)


@worker.task("make")
def make(size: int) -> str:
    return "y" * size


@reader.on("take")
def take(text: str) -> None:
    with SEEN.open("a") as file:
        file.write(hashlib.sha256(text.encode()).hexdigest() + "\\n")


@reader.on("seen")
def seen() -> list[str]:
    return SEEN.read_text().split() if SEEN.exists() else []


@reader.on("loud")
async def loud(size: int, ctx: Context) -> None:
    await ctx.publish("back/reader", "take", "x" * size)
'''
SIZE = 5_000_000
HUGE = 40_000_000


@pytest.fixture(scope="module")
def fleet(make_fleet):
    with make_fleet("large") as fleet:
        fleet.write(quarterdeck=SPEC, work=WORK)
        fleet.up()
        yield fleet


@pytest.fixture(scope="module")
def client(fleet):
    return Client(home=fleet.home.root)


def text(name, size=SIZE):
    """That long, of which no two have the same digest, with letters of several bytes in it."""
    return name + "ä" * 1000 + "x" * (size - len(name) - 1000)


def digest(value):
    return hashlib.sha256(value.encode()).hexdigest()


def peak(pid):
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def drafts(fleet):
    return list((fleet.home.blobs / "trio").glob(".draft-*"))


def killed_in_the_middle(fleet):
    """Kill the control plane as soon as something large is on its way to it, and wait for the next one; gives its pid."""
    old = fleet.control()
    fleet.until(lambda: any(draft.stat().st_size for draft in drafts(fleet)), within=30)
    os.kill(old, signal.SIGKILL)
    fleet.ready()
    return fleet.control()


def test_a_large_payload_goes_everywhere_and_its_result_comes_back(fleet, client):
    sent = text("first")
    handle = client.submit("front/boss", sent, key="large")
    assert handle.result(60) == sent
    assert digest(sent) in fleet.ask("back/reader", "seen")
    again = client.submit("front/boss", sent, key="large")
    assert (again.id, again.created) == (handle.id, False)
    with pytest.raises(Conflict, match="asks for something else"):
        client.submit("front/boss", sent + "!", key="large")
    document = fleet.qd("task", "get", "large", "-o", "json").json
    assert document["large"] == ["payload", "result"]
    ref = Ref.read(document["result"]["$ref"])
    assert document["result"] == {"$ref": str(ref), "bytes": ref.size}
    assert fleet.client.get(f"/v1/blobs/{ref}") == sent


def test_both_replicas_killed_in_the_middle_lose_nothing(fleet, client):
    sent = text("wait for the kill")
    handle = client.submit("front/boss", sent)
    child = fleet.until(lambda: handle.get().children, within=30)[0]
    fleet.until(lambda: client.get(child).state == "running", within=30)
    struck = time.monotonic()
    for name in ("front/boss-0", "back/worker-0"):
        os.kill(fleet.replicas()[name]["pid"], signal.SIGKILL)
    assert handle.result(60) == sent
    print(f"\n5 MB through two killed replicas: done {time.monotonic() - struck:.1f} s after the kill")
    seen = handle.get()
    assert (seen.attempts, client.get(child).attempts) == (2, 2)
    assert [step["fence"] for step in seen.document["steps"]] == [1]
    assert fleet.ask("back/reader", "seen").count(digest(sent)) == 1


def test_the_control_plane_killed_in_the_middle_of_a_clients_upload(fleet, client):
    sent, ids = text("upload", HUGE), []
    thread = threading.Thread(target=lambda: ids.append(client.submit("back/worker", sent, verb="size").id))
    thread.start()
    killed_in_the_middle(fleet)
    thread.join(60)
    assert client.wait(ids[0], 60).result == len(sent)
    assert drafts(fleet) == []


def test_the_control_plane_killed_in_the_middle_of_an_agents_upload(fleet, client):
    handle = client.submit("back/worker", HUGE, verb="make")
    killed_in_the_middle(fleet)
    assert handle.result(60) == "y" * HUGE
    assert handle.get().attempts == 1
    assert drafts(fleet) == []


def test_the_control_planes_memory_does_not_grow_with_a_payload(fleet, client):
    os.kill(fleet.control(), signal.SIGKILL)
    fleet.ready()
    assert client.submit("back/worker", "x" * 1000, verb="size").result(30) == 1000
    pid = fleet.control()
    before = peak(pid)
    began, took = time.monotonic(), f"{before / 1e6:.0f} MB of the control plane"
    assert client.submit("back/worker", text("memory", HUGE), verb="size").result(60) == HUGE
    assert len(client.submit("back/worker", HUGE, verb="make").result(60)) == HUGE
    grown = peak(pid) - before
    print(f"\n40 MB in and 40 MB out in {time.monotonic() - began:.1f} s: {took}, {grown / 1e6:+.1f} MB")
    assert fleet.control() == pid
    assert grown < HUGE / 2


def test_the_other_client_and_the_command_do_it_too(fleet, client):
    sent = text("command")

    async def program():
        async with AsyncClient(home=fleet.home.root) as program:
            return await (await program.submit("front/boss", sent)).result(60)

    assert asyncio.run(program()) == sent
    (fleet.folder / "big.json").write_text(json.dumps(sent))
    ran = fleet.qd("task", "submit", "back/worker", "--verb", "size", "--data", "@big.json", "--wait", "-o", "json")
    assert (ran.code, ran.json["result"]) == (0, SIZE), ran


def test_a_large_message_from_outside_a_task_arrives(fleet):
    fleet.ask("back/reader", "loud", SIZE)
    fleet.until(lambda: digest("x" * SIZE) in fleet.ask("back/reader", "seen"), within=20)


def test_what_cannot_be_is_said_clearly(fleet, client):
    with pytest.raises(UserError, match="the payload is 67,108,866 bytes"):
        client.submit("front/boss", "x" * (64 << 20))
    nowhere = Ref.of(b"1")
    with pytest.raises(NotFound, match="there is no blob"):
        fleet.client.get(f"/v1/blobs/{nowhere}")
    with pytest.raises(NotFound, match="there is no blob"):
        fleet.client.post("/v1/tasks", {"target": "front/boss", "payload_ref": str(nowhere), "key": "nowhere"})
    with pytest.raises(NotFound):
        client.get("nowhere")


def test_a_body_that_breaks_off_leaves_nothing_and_is_no_fault_of_ours(fleet):
    connection = UnixConnection(fleet.home.api_socket, 10)
    connection.putrequest("POST", "/v1/blobs")
    connection.putheader("Content-Length", str(SIZE))
    connection.endheaders(b"x" * 1_000_000)
    fleet.until(lambda: any(draft.stat().st_size for draft in drafts(fleet)))
    connection.close()
    fleet.until(lambda: drafts(fleet) == [])
    assert "Traceback" not in fleet.written()
