"""Asks and tells: who answers, what a silence means, and what is refused before it is sent."""

import asyncio
import time
from contextlib import contextmanager

import pytest
from tests.unit.bus.participants import intake, participant

from quarterdeck.bus import subjects
from quarterdeck.bus.envelope import MAX_PAYLOAD, Answer, Envelope, Limits, NoAnswer, RemoteTransient
from quarterdeck.bus.links import SETTLING, Routes
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model.desired import Breaker, Link
from quarterdeck.model.ops import MOST_BODY


def test_ask_is_answered_by_the_agent_and_by_one_certain_replica(plain_nats):
    async def body():
        async with participant(plain_nats) as asker, participant(plain_nats, "echo", 0) as zero, participant(plain_nats, "echo", 1) as one:

            def named(n):
                async def answer(incoming):
                    return Answer(f'"{n}"'.encode())

                return intake(n=n, answer=answer)

            await zero.session.receive(named(0))
            await one.session.receive(named(1))
            assert {await asker.ask("c", "echo", "v", b"1") for _ in range(40)} == {b'"0"', b'"1"'}
            assert {await asker.ask("c", "echo-1", "v", b"1") for _ in range(10)} == {b'"1"'}

    asyncio.run(body())


def test_each_attempt_carries_the_deadline_of_that_attempt(plain_nats):
    async def body():
        seen = []

        async def answer(incoming):
            seen.append(Envelope.read(incoming.headers))
            return Answer(b"1")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(answer=answer))
            began = SystemClock().now()
            await asker.ask("c", "echo", "v", b"1", limits=Limits(timeout=2.0))
            assert began + 1.9 < seen[0].deadline < began + 3.0
            assert seen[0].sender == subjects.Sender("c", "asker", 0)

    asyncio.run(body())


def test_nobody_there_fails_fast_once_the_connection_has_settled(plain_nats):
    async def body():
        async with participant(plain_nats) as asker:
            asker.session._current.since -= SETTLING
            began = time.monotonic()
            with pytest.raises(NoAnswer, match=r"c/ghost: nobody is there to take it \(3 attempts\)") as caught:
                await asker.ask("c", "ghost", "v", b"1")
            assert caught.value.cause == "no_responders"
            assert time.monotonic() - began < 2.0

    asyncio.run(body())


def test_right_after_connecting_the_others_are_waited_for(plain_nats):
    async def body():
        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo, asyncio.TaskGroup() as tasks:
            early = tasks.create_task(asker.ask("c", "echo", "v", b"7"))
            await asyncio.sleep(0.3)  # longer than three attempts with their pauses usually take
            assert not early.done()
            await echo.session.receive(intake())
            assert await early == b"7"

    asyncio.run(body())


def test_a_silent_agent_opens_the_breaker_and_an_answer_closes_it(plain_nats):
    async def body():
        speak = asyncio.Event()

        async def answer(incoming):
            if not incoming.verb.startswith("_"):
                await speak.wait()
            return Answer(incoming.body)

        link = Link("c", "c", timeout=0.1, attempts=1, breaker=Breaker(failures=2, reset=0.3, probes=1))
        async with participant(plain_nats, routes=Routes("c", (link,))) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(answer=answer))
            for _ in range(2):
                with pytest.raises(NoAnswer) as caught:
                    await asker.ask("c", "echo", "v", b"1")
                assert caught.value.cause == "timeout"
            assert asker.circuits() == {"c/echo": "open"}
            with pytest.raises(NoAnswer, match="its breaker is open after 2 failures in a row") as caught:
                await asker.ask("c", "echo", "v", b"1")
            assert caught.value.cause == "circuit_open"
            assert await asker.ask("c", "echo", "_ping", b"1", guarded=False) == b"1", "a probe passes by the breaker"
            speak.set()
            await asyncio.sleep(0.3)  # the reset time itself
            assert await asker.ask("c", "echo", "v", b"2") == b"2"
            assert asker.circuits().get("c/echo", "closed") == "closed"

    asyncio.run(body())


def test_a_replica_that_is_being_replaced_opens_no_breaker(plain_nats):
    async def body():
        link = Link("c", "c", timeout=0.5, attempts=1, breaker=Breaker(failures=2, reset=30, probes=1))
        async with participant(plain_nats, routes=Routes("c", (link,))) as asker, participant(plain_nats, "echo") as echo:
            await asyncio.sleep(SETTLING)
            for _ in range(10):
                with pytest.raises(NoAnswer) as caught:
                    await asker.ask("c", "echo", "v", b"1")
                assert caught.value.cause == "no_responders"
            await echo.session.receive(intake())
            assert await asker.ask("c", "echo", "v", b"2") == b"2"

    asyncio.run(body())


def test_errors_of_a_handler_reach_the_asker_once_and_are_no_failure_of_the_path(plain_nats):
    async def body():
        calls = 0

        async def answer(incoming):
            nonlocal calls
            calls += 1
            return Answer(b"", "Busy", "Busy: later", retry=True, replica="c/echo-0")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(answer=answer))
            for _ in range(6):
                with pytest.raises(RemoteTransient, match="c/echo-0: Busy: later"):
                    await asker.ask("c", "echo", "v", b"1")
            assert calls == 6
            assert asker.circuits() == {}

    asyncio.run(body())


def test_an_agent_with_too_much_waiting_says_so(plain_nats, until):
    async def body():
        gate = asyncio.Event()

        async def answer(incoming):
            await gate.wait()
            return Answer(b"1")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(places=2, answer=answer))
            async with asyncio.TaskGroup() as tasks:
                asks = [tasks.create_task(asker.ask("c", "echo", "v", b"1")) for _ in range(2 + 256)]
                await until(lambda: echo.session.inflight == 258)
                with pytest.raises(RemoteTransient, match="258 asks are waiting"):
                    await asker.ask("c", "echo", "v", b"1")
                gate.set()
            assert {ask.result() for ask in asks} == {b"1"}

    asyncio.run(body())


def test_a_queued_ask_that_nobody_waits_for_any_more_is_turned_away_unhandled(plain_nats, until):
    async def body():
        gate, handled = asyncio.Event(), []

        async def answer(incoming):
            handled.append(incoming.body)
            await gate.wait()
            return Answer(b"1")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            made = intake(places=1, answer=answer)
            await echo.session.receive(made)
            names = []

            @contextmanager
            def watch(name):
                names.append(name)
                yield

            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(asker.ask("c", "echo", "v", b"1", watch=watch))
                await until(lambda: [ask.held for ask in made.asks] == [True])
                second = tasks.create_task(refused(asker.ask("c", "echo", "v", b"2", watch=watch)))
                await until(lambda: [ask.held for ask in made.asks] == [True, False])
                assert [ask.id for ask in made.asks] == names, "both sides have one name for an attempt"
                assert made.asks.free == 0
                for name in names:
                    made.asks.turn_away(name, "a → b → a")
                gate.set()
            assert first.result() == b"1"
            assert (second.result().kind, str(second.result())) == ("deadlock", "c/echo-0: a → b → a")
            assert handled == [b"1"]
            await until(lambda: made.asks.free == 1)
        assert made.asks.places == 0

    asyncio.run(body())


async def refused(ask):
    with pytest.raises(RemoteTransient) as caught:
        await ask
    return caught.value


def test_no_way_without_a_link_and_no_message_above_the_limit(plain_nats):
    async def body():
        async with participant(plain_nats) as asker:
            with pytest.raises(Forbidden, match="no link leads from c to elsewhere") as caught:
                await asker.ask("elsewhere", "echo", "v", b"1")
            assert caught.value.hint == "add {from: c, to: elsewhere} to spec.links"
            for send in (asker.ask, asker.tell, asker.publish):
                with pytest.raises(UserError, match="one message carries at most"):
                    await send("c", "echo", "v", b"x" * 2_000_000)

    asyncio.run(body())


def test_the_largest_allowed_message_arrives(plain_nats):
    async def body():
        await plain_nats.make_stream("echo")
        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake())
            largest = b"x" * MAX_PAYLOAD
            assert await asker.ask("c", "echo", "v", largest) == largest
            durable = b"x" * MOST_BODY
            assert (await asker.publish("c", "echo", "v", durable, key="k" * 512)).seq == 1
            with pytest.raises(UserError, match="450,001 bytes; one message carries at most 450,000"):
                await asker.publish("c", "echo", "v", durable + b"x")

    asyncio.run(body())


def test_tell_arrives_or_is_lost_in_silence(plain_nats):
    async def body():
        arrived = asyncio.Event()

        async def answer(incoming):
            arrived.set()
            return Answer(b"")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await asker.tell("c", "ghost", "v", b"1")
            await echo.session.receive(intake(answer=answer))
            await asker.tell("c", "echo", "v", b"1")
            await asyncio.wait_for(arrived.wait(), 5)

    asyncio.run(body())
