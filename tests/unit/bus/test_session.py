"""A session outlives its connections: the server dies, credentials are renewed, and nothing is lost or doubled."""

import asyncio
import time

import pytest
from tests.unit.bus.participants import FAKE, intake, participant

from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.bus.envelope import Answer
from quarterdeck.bus.pull import Verdict
from quarterdeck.errors import Transient


def test_an_ask_in_flight_survives_the_death_of_the_server(plain_nats, until):
    async def body():
        asked, over = asyncio.Event(), asyncio.Event()

        async def answer(incoming):
            if not asked.is_set():
                asked.set()
                await over.wait()  # its answer is lost with the server
            return Answer(incoming.body)

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo, asyncio.TaskGroup() as tasks:
            await echo.session.receive(intake(answer=answer))
            ask = tasks.create_task(asker.ask("c", "echo", "v", b"1"))
            await asked.wait()
            began = time.monotonic()
            plain_nats.kill()
            await asyncio.to_thread(plain_nats.start)
            assert await ask == b"1"
            assert time.monotonic() - began < 4.0, "it does not wait for the whole timeout of the broken attempt"
            over.set()

    asyncio.run(body())


def test_messages_flow_on_after_the_death_of_the_server(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        taken = []

        async def settle(incoming):
            taken.append(incoming.body)
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(settle=settle))
            await asker.publish("c", "echo", "v", b"1")
            await until(lambda: b"1" in taken)
            plain_nats.kill()
            await asyncio.to_thread(plain_nats.start)
            restarted = time.monotonic()
            await asker.publish("c", "echo", "v", b"2")
            await until(lambda: b"2" in taken)
            assert time.monotonic() - restarted < 3.0

    asyncio.run(body())


def test_renewal_under_load_loses_and_doubles_nothing(plain_nats, until):
    async def body():
        await plain_nats.make_stream("echo")
        asked, taken = [], []

        async def answer(incoming):
            asked.append(incoming.body)
            await asyncio.sleep(0.003)
            return Answer(incoming.body)

        async def settle(incoming):
            taken.append(incoming.body)
            await asyncio.sleep(0.003)
            return Verdict("done")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake(answer=answer, settle=settle))
            stop = asyncio.Event()
            sent = 0

            async def load():
                nonlocal sent
                while not stop.is_set():
                    body = str(sent).encode()
                    sent += 1
                    to = "echo" if sent % 2 else "echo-0"
                    assert await asker.ask("c", to, "v", body) == body
                    await asker.publish("c", "echo", "v", body)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(4):
                    tasks.create_task(load())
                for _ in range(5):
                    await echo.session.renew(FAKE)
                    await asker.session.renew(FAKE)
                    await asyncio.sleep(0.05)
                stop.set()
            await until(lambda: len(taken) >= sent)
            assert sorted(asked) == sorted({str(n).encode() for n in range(sent)}), "each ask handled exactly once"
            assert set(taken) == {str(n).encode() for n in range(sent)}
            await until(lambda: not echo.session._retiring)

    asyncio.run(body())


def test_an_answer_goes_out_over_the_connection_the_question_came_in_on(plain_nats):
    async def body():
        started, gate = asyncio.Event(), asyncio.Event()

        async def answer(incoming):
            started.set()
            await gate.wait()
            return Answer(b"1")

        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo, asyncio.TaskGroup() as tasks:
            await echo.session.receive(intake(answer=answer))
            old = echo.session._current
            ask = tasks.create_task(asker.ask("c", "echo", "v", b"1"))
            await started.wait()
            await echo.session.renew(FAKE)
            await asker.session.renew(FAKE)
            assert echo.session._current is not old
            assert old.alive, "somebody still works on what came over it"
            gate.set()
            assert await ask == b"1"

    asyncio.run(body())


def test_a_connection_closed_for_good_is_replaced(plain_nats, until):
    async def body():
        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo:
            await echo.session.receive(intake())
            await echo.session._current.nats.close()  # what nats-py does when the server ends an expired user
            await until(lambda: echo.session._current.alive)
            assert await asker.ask("c", "echo", "v", b"1") == b"1"

    asyncio.run(body())


def test_receiving_begins_even_if_the_server_dies_meanwhile(plain_nats, monkeypatch):
    monkeypatch.setattr(Connection.flush, "__defaults__", (0.3,))

    async def body():
        async with participant(plain_nats) as asker, participant(plain_nats, "echo") as echo, asyncio.TaskGroup() as tasks:
            plain_nats.kill()
            receiving = tasks.create_task(echo.session.receive(intake()))
            await asyncio.wait({receiving}, timeout=0.1)
            await asyncio.to_thread(plain_nats.start)
            await asyncio.wait_for(receiving, 10)
            for number in range(20):
                assert await asker.ask("c", "echo", "v", str(number).encode()) == str(number).encode()

    asyncio.run(body())


def test_a_bus_that_is_not_there_is_told_with_its_address(monkeypatch):
    monkeypatch.setattr("quarterdeck.bus.connection.CONNECT_WITHIN", 0.3)

    async def body():
        with pytest.raises(Transient, match=r"the bus at nats://127\.0\.0\.1:1 cannot be reached within 0 s: .*Connect call failed"):
            await Connection.open(Login("nats://127.0.0.1:1", "x", "_INBOX.x"))

    asyncio.run(body())


def test_requests_over_a_closed_connection_are_lost_not_stuck(plain_nats):
    async def body():
        connection = await Connection.open(Login(plain_nats.url, "x", "_INBOX.x"))
        await connection.listen("silence", _ignore)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_outcome(connection.request("silence", b"", {}, 30.0)))
            await connection.flush()
            await connection.close()
            assert await waiting == "lost"
        assert await _outcome(connection.request("silence", b"", {}, 30.0)) == "lost"
        with pytest.raises(Transient):
            await connection.listen("silence", _ignore)

    async def _ignore(msg):
        return None

    async def _outcome(request):
        with pytest.raises(Unanswered) as caught:
            await request
        return caught.value.failure

    asyncio.run(body())
