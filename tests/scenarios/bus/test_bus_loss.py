"""Nothing acknowledged is lost, and a loss that happened all the same is never papered over."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from dataclasses import replace

import pytest

from quarterdeck.bus import streams
from quarterdeck.bus.connection import Unanswered
from quarterdeck.bus.streams import Shape, StreamLost
from quarterdeck.bus.subjects import Sender
from quarterdeck.errors import Terminal

ME = Sender("a", "worker", 0)


def test_no_acknowledged_message_is_lost_when_the_server_is_killed_under_load(own_bus, system, rooms):
    acked: set[int] = set()

    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            made = await admin.ensure_stream(system, "a", "worker", inventory=())
            replica = await own_bus.enter_as_replica(system, ME, peers=("worker",))

            async def publish(start: int) -> None:
                for number in range(start, start + 150):
                    try:
                        body = json.dumps(number).encode()
                        answer = await replica.request("in.a.worker.0.worker.x", body, {"Nats-Msg-Id": str(number)}, 2.0)
                    except Unanswered:
                        continue
                    if b'"seq"' in answer.data:
                        acked.add(number)

            killer = threading.Thread(target=_kill_when, args=(own_bus, lambda: len(acked) >= 100))
            killer.start()
            await asyncio.gather(*(publish(start) for start in range(0, 600, 150)))
            killer.join()
            print(f"{len(acked)} acknowledged around a SIGKILL")
            assert len(acked) >= 100
            seen = await admin.ensure_stream(system, "a", "worker", inventory=(made,))
            stored = set()
            for _ in range(seen.messages):
                message = await own_bus.pull(replica, "worker")
                stored.add(json.loads(message.data))
                await replica.request(message.reply, b"+ACK", {}, 2.0)
            assert acked <= stored
            await replica.close()

    asyncio.run(scenario())


def _kill_when(bus, reached) -> None:
    deadline = time.monotonic() + 10
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.001)
    bus.kill()
    bus.start()


async def _filled(bus, admin, system, rooms, count: int = 3):
    await admin.apply(system, rooms("a"))
    made = await admin.ensure_stream(system, "a", "worker", inventory=())
    replica = await bus.enter_as_replica(system, ME, peers=("worker",))
    for _ in range(count):
        await replica.request("in.a.worker.0.worker.x", b"x", {}, 2.0)
    await replica.close()
    (seen,) = await admin.streams()
    assert (seen.last, seen.messages, seen.epoch) == (count, count, made.epoch)
    return seen


def test_a_stream_whose_files_are_gone_is_lost_and_not_made_again(own_bus, system, rooms):
    async def scenario():
        async with own_bus.admin() as admin:
            made = await _filled(own_bus, admin, system, rooms)
            own_bus.kill()
            (folder,) = own_bus.home.bus.glob("streams/jetstream/*/streams/IN_worker")
            shutil.rmtree(folder)
            own_bus.start()
            with pytest.raises(StreamLost, match="is gone; it had 3 messages"):
                await admin.ensure_stream(system, "a", "worker", inventory=(made,))
            assert not await admin.stream_exists(system, "a", "worker")
            assert streams.check((made,), await admin.streams()) == (
                f"stream IN_worker of {system}.a is gone; it had 3 messages, the last one number 3",
            )
            fresh = await admin.ensure_stream(system, "a", "worker", inventory=(), epoch=2, after=made.last)
            assert (fresh.epoch, fresh.last) == (2, made.last + streams.GAP - 1), "no late acknowledgement can hit what is new"
            with pytest.raises(StreamLost, match="it is of epoch 2, not 1"):
                await admin.ensure_stream(system, "a", "worker", inventory=(replace(made, last=0),))

    asyncio.run(scenario())


def test_a_stream_that_lost_its_last_messages_is_lost(own_bus, system, rooms):
    async def scenario():
        async with own_bus.admin() as admin:
            made = await _filled(own_bus, admin, system, rooms)
            own_bus.kill()
            (folder,) = own_bus.home.bus.glob("streams/jetstream/*/streams/IN_worker/msgs")
            for index in folder.glob("index.db"):
                index.unlink()
            for block in folder.glob("*.blk"):
                block.write_bytes(block.read_bytes()[: block.stat().st_size // 2])
            own_bus.start()
            with pytest.raises(StreamLost, match="went back from message 3 to"):
                await admin.ensure_stream(system, "a", "worker", inventory=(made,))

    asyncio.run(scenario())


def test_a_stream_the_inventory_does_not_know_is_taken_over_with_what_it_holds(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            await admin.ensure_stream(system, "a", "worker", inventory=(), epoch=7)
            replica = await bus.enter_as_replica(system, ME, peers=("worker",))
            await replica.request("in.a.worker.0.worker.x", b"x", {}, 2.0)
            await replica.close()
            seen = await admin.ensure_stream(system, "a", "worker", inventory=(), epoch=1)
            assert (seen.messages, seen.epoch) == (1, 1)
            (found,) = [one for one in await admin.streams() if one.account == f"{system}.a"]
            assert (found.messages, found.epoch) == (1, 1)

    asyncio.run(scenario())


def test_a_full_stream_refuses_new_messages_and_keeps_the_old_ones(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            made = await admin.ensure_stream(system, "a", "worker", inventory=(), shape=Shape(max_messages=2))
            replica = await bus.enter_as_replica(system, ME, peers=("worker",))
            answers = [await replica.request("in.a.worker.0.worker.x", b"x", {}, 2.0) for _ in range(3)]
            assert [b"maximum messages exceeded" in answer.data for answer in answers] == [False, False, True]
            wider = await admin.ensure_stream(system, "a", "worker", inventory=(made,), shape=Shape(max_messages=3))
            assert wider.messages == 2
            assert b'"seq"' in (await replica.request("in.a.worker.0.worker.x", b"x", {}, 2.0)).data
            await replica.close()

    asyncio.run(scenario())


def test_deleting_a_stream_twice_is_once(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            await admin.ensure_stream(system, "a", "worker", inventory=())
            assert await admin.stream_exists(system, "a", "worker")
            await admin.delete_stream(system, "a", "worker")
            await admin.delete_stream(system, "a", "worker")
            assert not await admin.stream_exists(system, "a", "worker")

    asyncio.run(scenario())


def test_all_streams_a_quota_allows_can_be_made(bus, system, rooms):
    async def scenario():
        async with bus.admin() as admin:
            await admin.apply(system, rooms("a", replicas=2))
            for n in range(2 + 4):
                await admin.ensure_stream(system, "a", f"agent{n}", inventory=())
            with pytest.raises(Terminal, match=r"maximum number of streams"):
                await admin.ensure_stream(system, "a", "one-too-many", inventory=())

    asyncio.run(scenario())


def test_whoever_closes_after_the_server_is_gone_hears_nothing_of_it(own_bus, system, rooms):
    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            replica = await own_bus.enter_as_replica(system, ME, peers=("worker",))
            own_bus.kill()
            await replica.nats.publish("in.a.worker.0.worker.x", b"x")  # waits to be sent
            replica.nats._transport._io_writer.transport.abort()
            await replica.close()

    asyncio.run(scenario())


def test_a_connection_that_is_closed_while_it_reconnects_tries_no_more_even_if_its_cancellation_is_lost(own_bus, system, rooms):
    """As by `asyncio.wait_for` of Python 3.11 when the connection is refused in the same round of the loop."""

    async def scenario():
        async with own_bus.admin() as admin:
            await admin.apply(system, rooms("a"))
            replica = await own_bus.enter_as_replica(system, ME, peers=("worker",))
            connect, tried, begun = replica.nats._connect_to_server, 0, asyncio.Event()

            async def deaf(server):
                nonlocal tried
                tried += 1
                begun.set()
                try:
                    await asyncio.sleep(0.05)
                    await connect(server)
                except asyncio.CancelledError:
                    raise ConnectionRefusedError from None

            replica.nats._connect_to_server = deaf
            own_bus.kill()
            await asyncio.wait_for(begun.wait(), 5)
            await replica.close()
            before = tried
            await asyncio.sleep(0.5)
            assert tried == before

    asyncio.run(scenario())
