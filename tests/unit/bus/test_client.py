import asyncio
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from quarterdeck.bus import subjects
from quarterdeck.bus.client import Client
from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.bus.envelope import MAX_PAYLOAD, Answer, Envelope, Limits, NoAnswer, RemoteTransient
from quarterdeck.bus.links import SETTLING, Routes
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.receiver import Intake
from quarterdeck.bus.session import Session
from quarterdeck.bus.streams import USUAL
from quarterdeck.clock import SystemClock
from quarterdeck.errors import Forbidden, Transient, UserError
from quarterdeck.model.desired import Breaker, Link
from quarterdeck.model.ops import MOST_BODY
from quarterdeck.model.table import Credential
from quarterdeck.model.work import Overloaded

FAKE = Credential(1, "not-a-jwt", "not-a-seed", 0.0)  # a server without users asks for neither


@asynccontextmanager
async def participant(server, agent="asker", n=0, routes=None, *, cluster="c"):
    sender = subjects.Sender(cluster, agent, n)
    async with asyncio.TaskGroup() as tasks:
        session = await Session.open(Login(server.url, f"{cluster}/{agent}-{n}", subjects.inbox(agent, n, 1), FAKE), tasks)
        yield Client(session, sender, routes or Routes(cluster), SystemClock())
        await session.pause(5.0)
        await session.close()


def intake(agent="echo", n=0, *, places=16, answer=None, settle=None):
    async def echo(incoming):
        return Answer(incoming.body)

    async def done(incoming):
        return Verdict("done")

    return Intake("c", agent, n, places, answer or echo, settle or done)


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
