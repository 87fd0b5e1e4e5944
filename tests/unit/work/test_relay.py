import asyncio
import json
from types import SimpleNamespace

import pytest

from quarterdeck.bus.envelope import Envelope
from quarterdeck.bus.subjects import LEDGER_SENDER, Sender, parse
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Transient
from quarterdeck.model.home import Home
from quarterdeck.model.messages import Letter
from quarterdeck.model.work import Holder, Target
from quarterdeck.store import outbox
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.store import Store
from quarterdeck.store.turn import Turn
from quarterdeck.work.outbox import Answer, Relay, answer, headers
from quarterdeck.work.takes import Takes

FRONT, WORKER = Holder("s", "edge", "front", 0, 1), Holder("s", "core", "worker", 0, 1)
CLERK = Target("s", "core", "clerk")


class Streams:
    """What a relay talks to: keeps what it took, refuses or is silent as told."""

    def __init__(self):
        self.took, self.refuses, self.silent, self.before = [], {}, set(), None

    async def send(self, subject, body, given):
        agent = subject.split(".")[-2]
        if self.before:
            self.before()
        if agent in self.silent:
            self.took.append((subject, body, given))  # it has it, but says nothing
            raise Transient("no answer of the stream: timeout")
        if agent in self.refuses:
            return answer(json.dumps({"error": {"description": self.refuses[agent]}}).encode())
        self.took.append((subject, body, given))
        return Answer("took", len(self.took))

    @property
    def names(self):
        return [given["Nats-Msg-Id"] for _, _, given in self.took]


class Bench:
    def __init__(self, store, clock):
        self.store, self.clock, self.streams, self.heard = store, clock, Streams(), []
        self.relay = Relay(store.write, self.streams.send, clock, self.heard.append, Fairness())

    def publish(self, n, target=WORKER.target, **more):
        letter = Letter(f"{n:032x}", target, "take", str(n), **more)
        return self.do(lambda turn: outbox.publish(turn, FRONT, letter))[0]

    def do(self, work):
        def whole(tx):
            turn = Turn(tx, Fairness())
            found = work(turn)
            turn.close()
            return found

        return self.store.write_sync(whole)

    def state(self, n):
        with self.store.read() as conn:
            return outbox.get(conn, f"{n:032x}").state


@pytest.fixture
def bench(tmp_path):
    clock = VirtualClock()
    store = Store.open(Home(tmp_path / "home"), clock)
    yield Bench(store, clock)
    store.close()


def test_a_message_goes_out_in_the_name_of_its_sender_and_is_marked_after_the_confirmation(bench):
    bench.publish(1, headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    bench.streams.before = lambda: states.append(bench.state(1))
    states = []
    asyncio.run(bench.relay.round())
    ((subject, body, given),) = bench.streams.took
    assert subject == "to.s.core.in.qd.ledger.0.worker.take"
    assert parse(subject.removeprefix("to.s.core.")).sender == LEDGER_SENDER
    envelope = Envelope.read(given)
    assert (envelope.sender, envelope.id, envelope.key) == (Sender("edge", "front", 0), f"{1:032x}", f"{1:032x}.1")
    assert str(envelope.trace).startswith("00-1111")
    assert (body, states, bench.state(1)) == (b"1", ["waiting"], "sent")


def test_no_answer_is_not_known_so_it_is_sent_again_under_the_same_name(bench):
    bench.publish(1)
    bench.streams.silent.add("worker")
    asyncio.run(bench.relay.round())
    assert bench.state(1) == "waiting"
    asyncio.run(bench.relay.round())
    assert len(bench.streams.took) == 1, "left alone for a while"
    bench.clock.advance(1.0)
    bench.streams.silent.clear()
    asyncio.run(bench.relay.round())
    assert bench.streams.names == [f"{1:032x}.1"] * 2
    assert bench.state(1) == "sent"


def test_a_full_stream_holds_nobody_else_up_and_is_asked_again_ever_more_rarely(bench):
    bench.streams.refuses["worker"] = "maximum messages exceeded"
    bench.publish(1)
    bench.publish(2, CLERK)
    pauses = []
    for _ in range(8):
        asyncio.run(bench.relay.round())
        (until, _), _ = bench.relay._shut[WORKER.target], None
        pauses.append(round(until - bench.clock.monotonic(), 3))
        bench.clock.advance(pauses[-1])
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert (bench.state(1), bench.state(2)) == ("waiting", "sent")
    del bench.streams.refuses["worker"]
    asyncio.run(bench.relay.round())
    assert bench.state(1) == "sent"
    assert bench.relay._shut == {}


def test_what_will_never_be_taken_is_dead(bench):
    bench.publish(1)
    bench.streams.refuses["worker"] = "message size exceeds maximum allowed"
    asyncio.run(bench.relay.round())
    assert bench.state(1) == "dead"


def test_a_store_that_cannot_write_loses_nothing(bench):
    bench.publish(1)
    write, failures = bench.relay.write, [True]

    async def failing(work):
        if bench.streams.took and failures:
            failures.pop()
            raise Transient("the disk is full")
        return await write(work)

    bench.relay.write = failing

    async def body():
        running = asyncio.create_task(bench.relay.run())
        for _ in range(200):
            bench.clock.advance(1.0)
            await asyncio.sleep(0.01)
            bench.relay._news.set()
            if bench.state(1) == "sent":
                break
        running.cancel()

    asyncio.run(body())
    assert bench.state(1) == "sent"
    assert bench.streams.names == [f"{1:032x}.1"] * 2, "the stream drops the second by its name"


def test_it_wakes_when_a_turn_has_posted_something(bench):
    async def body():
        running = asyncio.create_task(bench.relay.run())
        await asyncio.sleep(0.05)
        bench.publish(1)
        bench.relay.stir(SimpleNamespace(posted={WORKER.target}))
        for _ in range(50):
            await asyncio.sleep(0.01)
            if bench.state(1) == "sent":
                break
        running.cancel()

    asyncio.run(body())
    assert bench.state(1) == "sent"


def test_headers_that_others_wrote_do_not_go_out_again(bench):
    kept = bench.publish(1, headers={"Qd-From": "other/boss-0", "Nats-Expected-Stream": "X", "traceparent": "t"})
    assert set(headers(kept)) == {"Qd-Id", "Qd-From", "Qd-Schema", "Nats-Msg-Id", "traceparent"}
    assert headers(kept)["Qd-From"] == "edge/front-0"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"stream":"IN_x"}', b'{"seq":"x"}', b"1"])
def test_what_is_no_confirmation_is_none(data):
    assert answer(data).word == "later"


def test_one_copy_of_a_message_is_in_one_pair_of_hands():
    takes, other = Takes(), Holder("s", "core", "worker", 1, 1)
    assert takes.take("m", WORKER, 0.0)
    assert not takes.take("m", other, 14.0)
    assert takes.take("m", WORKER, 14.0), "taking again prolongs"
    assert not takes.take("m", other, 16.0)
    assert takes.take("n", other, 16.0)
    takes.gone(WORKER)
    assert takes.take("m", other, 16.0)
    takes.end("m")
    assert takes.take("m", WORKER, 16.0)
    assert takes.take("m", other, 31.0), "its time is over"
    takes.take("x", other, 500.0)
    assert set(takes._held) == {"x"}, "what is over is forgotten"
