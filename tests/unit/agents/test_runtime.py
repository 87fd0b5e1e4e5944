"""A replica's life against a real nats-server; only the node at the other end of the channel is a fake."""

import asyncio
import os
import time
from dataclasses import asdict

import pytest
from tests.unit.agents.fake_node import FakeNode, ask, asking, credential, living, make_boot

from quarterdeck.agents.runtime import serve
from quarterdeck.bus.envelope import NoAnswer, RemoteTransient
from quarterdeck.model.desired import Link


def test_from_ready_to_drained(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker:
            async with living(make_boot(plain_nats.url, code), until) as (node, worker):
                assert await ask(asker, "echo", 1) == [1, "c/worker-0", "c/asker-0"]
                assert await ask(asker, "_ping", None, "worker-0") == {
                    "from": "c/worker-0", "pid": os.getpid(), "incarnation": 1, "revision": "r1",
                }  # fmt: skip
                await asker.publish("c", "worker", "item", b"7")
                await until(lambda: 7 in worker.story)
                await until(lambda: len(node.said("beat")) >= 3)
                await until(lambda: worker.story.count("tick") >= 3)
            beats = node.said("beat")
            assert beats[-1]["progress"] > beats[0]["progress"]
            assert {type(beats[0][field]) for field in ("progress", "inflight")} == {int}
            assert worker.story[0] == "start"
            assert worker.story[-1] == "stop"
            asker.session._current.since = 0.0
            with pytest.raises(NoAnswer):
                await ask(asker, "echo", 1)
        assert await plain_nats.pending("worker") == 0

    asyncio.run(body())


def test_draining_finishes_what_is_in_flight(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            asyncio.TaskGroup() as tasks,
        ):
            waiting = tasks.create_task(ask(asker, "wait", "a"))
            await asker.publish("c", "worker", "wait", b'"b"')
            await until(lambda: worker.story.count("waiting") == 2)
            node.order(t="drain", within=5.0)
            await until(lambda: "tick" in worker.story)
            ticks = worker.story.count("tick")
            worker.gate.set()
            assert await waiting == "a"
            await until(lambda: node.said("drained"))
            assert worker.story[-1] == "stop"
            assert worker.story.count("tick") <= ticks + 1
        assert await plain_nats.pending("worker") == 0

    asyncio.run(body())


def test_a_drain_that_takes_too_long_gives_the_messages_back(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            asyncio.TaskGroup() as tasks,
        ):
            waiting = tasks.create_task(_caught(ask(asker, "wait", "a"), RemoteTransient))
            await asker.publish("c", "worker", "wait", b'"b"')
            await until(lambda: worker.story.count("waiting") == 2)
            began = time.monotonic()
            node.order(t="drain", within=0.5)
            await until(lambda: node.said("drained"))
            assert time.monotonic() - began < 1.5
            assert "waited" not in worker.story
            assert worker.story[-1] == "stop", "the hooks keep their part of the time"
            assert (await waiting).kind == "draining"
        assert await plain_nats.pending("worker") == 1

    asyncio.run(body())


async def _caught(work, kind):
    try:
        await work
    except kind as error:
        return error
    raise AssertionError("nothing was raised")


def test_it_answers_again_after_the_death_of_the_server(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker, living(make_boot(plain_nats.url, code), until) as (_, worker):
            assert await ask(asker, "echo", 1)
            plain_nats.kill()
            await asyncio.to_thread(plain_nats.start)
            began = time.monotonic()
            assert (await ask(asker, "echo", 2))[0] == 2
            assert time.monotonic() - began < 2.0
            await asker.publish("c", "worker", "item", b"8")
            await until(lambda: 8 in worker.story)

    asyncio.run(body())


def test_new_credentials_lose_no_message(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with asking(plain_nats) as asker, living(make_boot(plain_nats.url, code), until) as (node, worker):
            sent, stop = 0, asyncio.Event()

            async def load():
                nonlocal sent
                while not stop.is_set():
                    sent, number = sent + 1, sent
                    assert (await ask(asker, "echo", number))[0] == number
                    await asker.publish("c", "worker", "item", str(number).encode())

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load())
                tasks.create_task(load())
                for round_ in range(1, 4):
                    node.order(t="credentials", credential=asdict(credential(float(round_))))
                    goal = sent + 30
                    await until(lambda round_=round_, goal=goal: len(node.said("credentials")) == round_ and sent >= goal)
                stop.set()
            await until(lambda: {n for n in worker.story if isinstance(n, int)} == set(range(sent)))
            assert [m["expires"] for m in node.said("credentials")] == [1.0, 2.0, 3.0]

    asyncio.run(body())


def test_a_paused_replica_takes_nothing_and_goes_on_afterwards(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        links = (Link("c", "c", timeout=0.3, attempts=1),)
        async with asking(plain_nats, links) as asker, living(make_boot(plain_nats.url, code), until) as (node, worker):
            node.order(t="pause", on=True)
            asker.session._current.since = 0.0
            await until(lambda: _refused(asker))
            await asker.publish("c", "worker", "item", b"9")
            beats = len(node.said("beat"))
            await until(lambda: len(node.said("beat")) > beats + 2)
            assert 9 not in worker.story
            node.order(t="pause", on=False)
            await until(lambda: 9 in worker.story)
            assert await ask(asker, "echo", 1)

    asyncio.run(body())


async def _refused(asker):
    try:
        await ask(asker, "echo", 1)
    except NoAnswer:
        return True
    return False


def test_two_replicas_share_the_work(plain_nats, code, until):
    async def body():
        await plain_nats.make_stream("worker")
        async with (
            asking(plain_nats) as asker,
            living(make_boot(plain_nats.url, code), until) as (node, worker),
            living(make_boot(plain_nats.url, code, n=1), until),
        ):
            names = {(await ask(asker, "echo", number))[1] for number in range(40)}
            assert names == {"c/worker-0", "c/worker-1"}
            node.order(t="drain", within=5.0)
            for number in range(40):
                assert (await ask(asker, "echo", number))[0] == number
                await asker.publish("c", "worker", "item", str(number).encode())
            await until(lambda: {n for n in worker.story if isinstance(n, int)} == set(range(40)))

    asyncio.run(body())


def test_a_node_that_is_gone_ends_the_replica(plain_nats, code, until):
    async def body():
        async with living(make_boot(plain_nats.url, code), until) as (node, worker):
            node.gone()
            await until(lambda: node.said("drained"))
            assert worker.story[-1] == "stop"

    asyncio.run(body())


def test_it_waits_for_a_bus_that_is_not_there_yet(plain_nats, code, until, monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.connection.CONNECT_WITHIN", 0.2)
    plain_nats.kill()

    async def body():
        node = FakeNode()
        async with asyncio.TaskGroup() as tasks:
            replica = tasks.create_task(serve(make_boot(plain_nats.url, code), node))
            await until(lambda: len(node.said("beat")) > 8)
            assert not node.said("ready")
            await asyncio.to_thread(plain_nats.start)
            await until(lambda: node.said("ready"))
            node.order(t="drain", within=2.0)
            await replica

    asyncio.run(body())


def test_a_drain_before_ready_ends_it_too(plain_nats, code, until):
    plain_nats.kill()

    async def body():
        node = FakeNode()
        node.order(t="drain", within=1.0)
        await asyncio.wait_for(serve(make_boot(plain_nats.url, code), node), 5)
        assert [message["t"] for message in node.heard if message["t"] != "beat"] == ["drained"]

    asyncio.run(body())
