"""Durable messages: on disk before they are confirmed, taken once, and given back by whoever cannot handle them."""

import asyncio
import time

import pytest
from tests.unit.bus.participants import intake, participant

from quarterdeck.bus import subjects
from quarterdeck.bus.envelope import NoAnswer
from quarterdeck.bus.links import SETTLING
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.streams import USUAL
from quarterdeck.model.work import Overloaded


def test_publish_is_on_disk_before_it_returns_and_a_key_is_taken_once(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        taken = []

        async def settle(incoming):
            taken.append(incoming)
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            first = await asker.publish("c", "echo", "ranking", b'{"a":1}', key="INC-1")
            second = await asker.publish("c", "echo", "ranking", b'{"a":2}', key="INC-1")
            other = await asker.publish("c", "echo", "ranking", b'{"a":3}')
            assert (first.stream, first.seq, first.duplicate) == ("IN_echo", 1, False)
            assert (second.seq, second.duplicate) == (1, True)
            assert (other.seq, other.duplicate) == (2, False)
            await echo.session.receive(intake(settle=settle))
            await until(lambda: len(taken) == 2)
            assert [m.body for m in taken] == [b'{"a":1}', b'{"a":3}']
            assert taken[0].headers["Nats-Msg-Id"] == "c/asker:ranking:INC-1"
            assert subjects.parse(taken[0].subject) == subjects.Address("in", subjects.Sender("c", "asker", 0), "echo", "ranking")
        assert await plain_nats.pending("echo") == 0

    asyncio.run(body())


def test_a_full_stream_refuses_at_once_and_says_what_to_do(plain_nats):
    async def body():
        await plain_nats.make_stream("echo", max_messages=2)
        async with participant(plain_nats) as asker:
            for number in (1, 2):
                assert (await asker.publish("c", "echo", "v", b"1")).seq == number
            with pytest.raises(Overloaded, match="maximum messages exceeded") as full:
                await asker.publish("c", "echo", "v", b"1")
            assert (full.value.http_status, full.value.retry) == (429, True)
            assert "qd scale" in full.value.hint

    asyncio.run(body())


def test_publish_without_a_stream_says_so(plain_nats):
    async def body():
        async with participant(plain_nats) as asker:
            asker.session._current.since -= SETTLING
            with pytest.raises(NoAnswer, match="the stream of c/ghost: nobody is there to take it"):
                await asker.publish("c", "ghost", "v", b"1")

    asyncio.run(body())


def test_a_failed_message_comes_again_and_a_hopeless_one_does_not(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        seen = []

        async def settle(incoming):
            seen.append((incoming.body, incoming.delivered))
            if incoming.body == b'"bad"':
                return Verdict("never", reason="payload")
            return Verdict("again", 0.05) if incoming.delivered < 3 else Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(settle=settle))
            await asker.publish("c", "echo", "v", b'"bad"')
            await asker.publish("c", "echo", "v", b'"good"')
            await until(lambda: (b'"good"', 3) in seen)
            assert [body for body, _ in seen].count(b'"bad"') == 1
        assert await plain_nats.pending("echo") == 0

    asyncio.run(body())


def test_no_more_durable_messages_are_taken_than_there_are_places(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        running, most, done = 0, 0, 0

        async def settle(incoming):
            nonlocal running, most, done
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.002 * (1 + int(incoming.body) % 5))
            running -= 1
            done += 1
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            for number in range(60):
                await asker.publish("c", "echo", "v", str(number).encode())
            await echo.session.receive(intake(places=4, settle=settle))
            await until(lambda: done == 60)
        assert most == 4

    asyncio.run(body())


def test_a_slow_handler_keeps_its_message(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        deliveries = []

        async def settle(incoming):
            deliveries.append(incoming.delivered)
            await asyncio.sleep(USUAL.ack_wait + 1.2)
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(settle=settle))
            await asker.publish("c", "echo", "v", b"1")
            await until(lambda: deliveries)
            await until(lambda: echo.session.inflight == 0)
        assert deliveries == [1]
        assert await plain_nats.pending("echo") == 0

    asyncio.run(body())


def test_a_message_that_is_cancelled_goes_back_at_once(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        started = []

        async def hang(incoming):
            started.append(incoming.delivered)
            await asyncio.Event().wait()

        async def settle(incoming):
            started.append(incoming.delivered)
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as one, participant(plain_nats, "echo", 1) as two:
            await one.session.receive(intake(settle=hang))
            await asker.publish("c", "echo", "v", b"1")
            await until(lambda: started == [1])
            assert await one.session.pause(0.05) is False
            began = time.monotonic()
            await two.session.receive(intake(n=1, settle=settle))
            await until(lambda: started == [1, 2])
            assert time.monotonic() - began < 1.5, "not only after ack_wait"

    asyncio.run(body())
