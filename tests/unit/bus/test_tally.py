"""What is counted of messages, by whoever sends and whoever works them off."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from quarterdeck.bus import subjects
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Login
from quarterdeck.bus.envelope import Answer, Limits, NoAnswer, RemoteError
from quarterdeck.bus.links import Routes
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.receiver import WAITING_MOST, Intake
from quarterdeck.bus.session import Session
from quarterdeck.bus.tally import MOST, Outgoing, Worked
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Forbidden, UserError
from quarterdeck.model.desired import Breaker, Link

QUICK = Link("c", "c", timeout=0.1, attempts=2, breaker=Breaker(failures=2, reset=30.0, probes=1))


@asynccontextmanager
async def participant(server, agent, *links):
    async with asyncio.TaskGroup() as tasks:
        session = await Session.open(Login(server.url, f"c/{agent}-0", subjects.inbox(agent, 0, 1)), tasks)
        yield Client(session, subjects.Sender("c", agent, 0), Routes("c", links), SystemClock())
        await session.pause(5.0)
        await session.close()


def receiving(worked, *, answer=None, verdict="done"):
    async def echo(incoming):
        return answer or Answer(incoming.body)

    async def settle(incoming):
        return Verdict(verdict)

    return Intake("c", "echo", 0, 16, echo, settle, worked)


async def refused(call, kind=NoAnswer):
    with pytest.raises(kind):
        await call


def test_each_call_counts_once_whatever_it_took_and_whoever_answered(plain_nats, until):
    async def body():
        worked = Worked()
        await plain_nats.make_stream("echo")
        async with participant(plain_nats, "asker") as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(receiving(worked))
            await asker.ask("c", "echo", "v", b"1")
            await asker.tell("c", "echo", "v", b"1")
            await asker.publish("c", "echo", "v", b"1")
            await until(lambda: worked.handled == 3)
            assert asker.sent.told() == {"c": (3, 0)}
            assert (worked.failed, echo.sent.told()) == (0, {})

    asyncio.run(body())


def test_an_error_is_an_answer_to_the_asker_and_a_failure_of_the_one_who_worked(plain_nats, until):
    async def body():
        worked = Worked()
        await plain_nats.make_stream("echo")
        async with participant(plain_nats, "asker") as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(receiving(worked, answer=Answer(b"", "Odd", "no", final=True), verdict="never"))
            await refused(asker.ask("c", "echo", "v", b"1"), RemoteError)
            await asker.publish("c", "echo", "v", b"1")
            await until(lambda: worked.failed == 2)
            assert asker.sent.told() == {"c": (2, 0)}
            assert worked.handled == 0

    asyncio.run(body())


def test_silence_counts_once_a_call_and_so_does_a_call_that_the_breaker_holds_back(plain_nats):
    async def body():
        silent = asyncio.Event()

        async def wait(incoming):
            await silent.wait()
            return Answer(b"1")

        async def settle(incoming):
            return Verdict("done")

        async with participant(plain_nats, "asker", QUICK) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(Intake("c", "echo", 0, 16, wait, settle))
            await refused(asker.ask("c", "echo", "v", b"1", limits=Limits(timeout=2.0)))
            assert asker.sent.told() == {"c": (1, 1)}, "two attempts are one call"
            assert asker.circuits() == {"c/echo": "open"}
            await refused(asker.ask("c", "echo", "v", b"1"))
            assert asker.sent.told() == {"c": (2, 2)}
            silent.set()

    asyncio.run(body())


def test_what_never_leaves_and_what_the_platform_asks_is_not_counted(plain_nats):
    async def body():
        worked = Worked()
        async with participant(plain_nats, "asker") as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(receiving(worked))
            await refused(asker.ask("elsewhere", "echo", "v", b"1"), Forbidden)
            await refused(asker.tell("c", "echo", "v", b"x" * (2 << 20)), UserError)
            await asker.ask("c", "echo", "_ping", b"1", guarded=False)
            assert asker.sent.told() == {}
            assert (worked.handled, worked.failed) == (0, 0)

    asyncio.run(body())


def test_an_ask_that_finds_no_room_is_a_failure_of_the_receiver_and_a_ping_is_not(plain_nats, until):
    async def body():
        worked, speak = Worked(), asyncio.Event()

        async def wait(incoming):
            await speak.wait()
            return Answer(b"1")

        async def settle(incoming):
            return Verdict("done")

        async with participant(plain_nats, "asker") as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(Intake("c", "echo", 0, 1, wait, settle, worked))
            for _ in range(WAITING_MOST + 1):
                await asker.tell("c", "echo", "v", b"1")
            with pytest.raises(RemoteError, match="waiting already"):
                await asker.ask("c", "echo", "v", b"1")
            with pytest.raises(RemoteError, match="waiting already"):
                await asker.ask("c", "echo", "_ping", b"1", guarded=False)
            assert (worked.handled, worked.failed) == (0, 1)
            speak.set()
            await until(lambda: worked.handled == WAITING_MOST + 1)

    asyncio.run(body())


def test_a_call_that_is_given_up_by_its_caller_did_not_go_unanswered():
    sent = Outgoing()
    with pytest.raises(asyncio.CancelledError), sent.to("c"):
        raise asyncio.CancelledError
    assert sent.told() == {"c": (1, 0)}


def test_destinations_are_bounded_and_those_that_are_known_go_on():
    sent = Outgoing()
    for n in range(MOST + 10):
        with sent.to(f"c{n}"):
            pass
    with sent.to("c0"):
        pass
    told = sent.told()
    assert (len(told), told["c0"]) == (MOST, (2, 0))
