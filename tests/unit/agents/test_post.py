import asyncio

import pytest

from quarterdeck import Agent
from quarterdeck.agents.context import Place
from quarterdeck.agents.desk import Desk
from quarterdeck.agents.post import keep, letter
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import Envelope
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.subjects import Sender
from quarterdeck.bus.tally import Outgoing
from quarterdeck.clock import VirtualClock
from quarterdeck.errors import Forbidden, NotFound, Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.messages import DELIVERIES

ALICE = Sender("c", "alice", 0)
ID = "0" * 12 + "7" + "0" * 3 + "8" + "0" * 15


class Line:
    """Answers as told; raises what it is told to raise. `asked` holds the operations."""

    def __init__(self, **answers):
        self.answers, self.asked = {"take": "go", "handled": None, "bury": None, **answers}, []

    async def call(self, op, within):
        self.asked.append(op)
        answer = self.answers[type(op).__name__.lower()]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def value(self, body):
        if isinstance(self.answers["value"], Exception):
            raise self.answers["value"]
        return self.answers["value"]

    @property
    def words(self):
        return [type(op).__name__ for op in self.asked]


def message(*, kept=True, body=b"1", delivered=1, headers=None):
    subject = "in.qd.ledger.0.bob.v" if kept else "in.c.alice.0.bob.v"
    return Incoming(subject, {**Envelope(ID, ALICE).headers(), **(headers or {})}, body, delivered)


def done(payload):
    return payload


def never(payload):
    pytest.fail("it was handled")


def desk_of(line, function=done):
    agent = Agent("bob")
    agent.on("v")(function)
    return Desk(agent, Place("c", "bob", 1, None, VirtualClock(), lambda: None, line, Outgoing()))


def settle(line, incoming, function=done):
    return asyncio.run(desk_of(line, function).settle(incoming))


def test_a_handled_message_is_noted_before_it_is_acknowledged():
    line, seen = Line(), []
    assert settle(line, message(), lambda payload: seen.append((payload, line.words))) == Verdict("done")
    assert seen == [(1, ["Take"])]
    assert line.asked == [ops.Take(ID), ops.Handled(ID)]


def test_its_sender_is_who_had_it_kept():
    agent, seen = Agent("bob"), []

    @agent.on("v")
    async def v(payload, ctx):
        seen.append((ctx.sender, ctx.id, ctx.delivered))

    desk = Desk(agent, Place("c", "bob", 1, None, VirtualClock(), lambda: None, Line(), Outgoing()))
    assert asyncio.run(desk.settle(message())).kind == "done"
    assert seen == [("c/alice-0", ID, 1)]


def test_what_somebody_has_handled_is_not_handled_again():
    line = Line(take="done")
    assert settle(line, message(delivered=2), pytest.fail) == Verdict("done")
    assert line.words == ["Take"]


def test_what_another_replica_has_in_hand_is_waited_for(monkeypatch):
    monkeypatch.setattr("quarterdeck.agents.post.BUSY_PAUSE", 0.001)
    line = Line(take=["busy", "busy", "done"])
    assert settle(line, message(), pytest.fail) == Verdict("done")
    assert line.words == ["Take"] * 3


def test_two_copies_in_one_replica_are_handled_once():
    running, most = 0, 0
    line = Line(take=["go", "done"])

    async def slow(payload):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    desk = desk_of(line, slow)

    async def both():
        return await asyncio.gather(desk.settle(message()), desk.settle(message(delivered=2)))

    assert asyncio.run(both()) == [Verdict("done")] * 2
    assert (most, line.words) == (1, ["Take", "Handled", "Take"])
    assert desk._mailbox._here == {}


def test_a_slow_handler_says_again_and_again_that_it_has_the_message(monkeypatch):
    monkeypatch.setattr("quarterdeck.agents.post.TAKE_EVERY", 0.005)

    async def slow(payload):
        await asyncio.sleep(0.05)

    line = Line(take=["go", Transient("away"), *["go"] * 100])
    assert settle(line, message(), slow) == Verdict("done")
    assert 3 <= line.words.count("Take") < 20
    assert line.words[-1] == "Handled"


def test_without_the_ledger_a_kept_message_waits_in_the_stream():
    assert settle(Line(take=Transient("away")), message(), pytest.fail).kind == "again"


def test_a_note_that_was_not_taken_is_made_when_the_message_comes_again_without_handling_it_again():
    line, calls = Line(handled=[Transient("away"), None]), []
    desk = desk_of(line, calls.append)

    async def twice():
        return [await desk.settle(message()), await desk.settle(message(delivered=2))]

    first, second = asyncio.run(twice())
    assert (first.kind, second.kind, calls) == ("again", "done", [1])
    assert line.words == ["Take", "Handled", "Handled"]


def test_a_message_the_ledger_does_not_know_is_handled_all_the_same():
    calls = []
    assert settle(Line(take=NotFound("x"), handled=NotFound("x")), message(), calls.append) == Verdict("done")
    assert calls == [1]


def test_a_plain_message_costs_the_ledger_nothing():
    line = Line()
    assert settle(line, message(kept=False)) == Verdict("done")
    assert line.asked == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_message_by_reference_is_fetched_before_its_handler_runs(kept):
    calls, sent = [], message(kept=kept, body=b"@sha256:x")
    assert settle(Line(value="large"), sent, calls.append) == Verdict("done")
    assert settle(Line(value=Transient("away")), sent, never).kind == "again"
    assert settle(Line(value=Terminal("damaged")), sent, never) == Verdict("never", reason="Terminal")
    line = Line(value=NotFound("there is no blob"))
    assert settle(line, sent, never) == Verdict("never", reason="payload")
    assert (line.asked[-1].reason, line.asked[-1].body) == ("payload: v: there is no blob", "@sha256:x")
    assert calls == ["large"]


def test_an_ask_by_reference_is_no_json():
    asked = Incoming("ask.c.alice.0.bob.v", Envelope(ID, ALICE).headers(), b"@sha256:x")
    answer = asyncio.run(desk_of(Line(), never).answer(asked))
    assert (answer.kind, "not JSON" in answer.message) == ("payload", True)


@pytest.mark.parametrize("kept", [True, False])
def test_a_hopeless_message_is_buried_with_all_there_is_to_know_of_it(kept):
    def hopeless(payload):
        raise Terminal("never")

    line = Line()
    assert settle(line, message(kept=kept, body=b'{"a":1}'), hopeless) == Verdict("never", reason="Terminal")
    buried = line.asked[-1]
    assert (buried.message, buried.sender, buried.verb, buried.body) == (ID, "c/alice-0", "v", '{"a":1}')
    assert (buried.deliveries, buried.reason) == (1, "Terminal: Terminal: never")


def test_a_message_that_nobody_keeps_stays_in_the_stream():
    line = Line(bury=Forbidden("not yours"))
    assert settle(line, message(kept=False, body=b"{")).kind == "again"
    assert line.words == ["Bury"]


def test_the_last_delivery_of_a_failing_message_buries_it_and_one_that_kills_replicas_is_not_tried_once_more():
    def broken(payload):
        raise ValueError("x")

    line = Line()
    assert settle(line, message(kept=False, delivered=DELIVERIES - 1), broken).kind == "again"
    assert settle(line, message(kept=False, delivered=DELIVERIES), broken) == Verdict("never", reason="ValueError")
    assert settle(line, message(kept=False, delivered=DELIVERIES + 1), pytest.fail) == Verdict("never", reason="deliveries")
    assert [op.reason for op in line.asked] == ["ValueError: ValueError: x", "deliveries: nobody came to an end with it"]


@pytest.mark.parametrize("headers", [{"Qd-Id": ""}, {"Qd-Id": "x" * 1000}, {"Qd-Id": "ab/../" * 6}, {"Qd-Schema": "9", "Qd-Id": "?"}])
def test_what_is_no_message_of_ours_gets_a_name_by_its_content(headers):
    line = Line()
    settle(line, message(kept=False, headers=headers, body=b"\xff\xfe"))
    settle(line, message(kept=False, headers=headers, body=b"\xff\xfe", delivered=2))
    settle(line, message(kept=False, headers=headers, body=b"\xff\xff"))
    one, again, other = [op.message for op in line.asked]
    assert one == again != other
    assert len(one) == 32
    assert line.asked[0].body == "\ufffd\ufffd"


def batch(values, **more):
    body = b"[" + b",".join(str(value).encode() for value in values) + b"]"
    return message(kept=False, body=body, headers={"Qd-Batch": str(len(values))}, **more)


def test_a_batch_is_handled_one_after_the_other_and_only_the_rest_of_it_again():
    calls = []

    def fails_at_two(payload):
        calls.append(payload)
        if payload == 2 and calls.count(2) == 1:
            raise ConnectionError("again")

    desk = desk_of(Line(), fails_at_two)

    async def twice():
        return [await desk.settle(batch([1, 2, 3])), await desk.settle(batch([1, 2, 3], delivered=2))]

    first, second = asyncio.run(twice())
    assert (first.kind, second, calls) == ("again", Verdict("done", messages=3), [1, 2, 3, 2])
    assert desk._done == {}


def test_one_hopeless_message_of_a_batch_is_buried_alone():
    def picky(payload):
        if payload == 2:
            raise Terminal("never")

    line = Line()
    assert settle(line, batch([1, 2, 3]), picky) == Verdict("done", messages=3)
    (buried,) = line.asked
    assert (buried.body, buried.headers.get("Qd-Batch"), buried.message) == ("2", None, ID[:-2] + "01")


@pytest.mark.parametrize("body", [b"[1]", b"{}", b"[", b"[1,2,3]", b""])
def test_what_is_no_batch_of_as_many_as_it_says_is_buried(body):
    line = Line()
    assert settle(line, message(kept=False, body=body, headers={"Qd-Batch": "2"}), pytest.fail).kind == "never"
    assert line.words == ["Bury"]


@pytest.mark.parametrize("told", ["0", "-1", "x", "65", "1e1", "٣", "0" * 400])
def test_a_header_that_says_no_number_makes_no_batch(told):
    assert settle(Line(), message(kept=False, headers={"Qd-Batch": told})) == Verdict("done")


def test_keeping_gives_the_stream_and_waits_for_it_where_asked(monkeypatch):
    monkeypatch.setattr("quarterdeck.agents.post.LOOK_FIRST", 0.001)
    asked = ops.Publish(ID, "core/worker", "v", "1", "k")
    line = Line(publish={"id": ID, "created": True, "seq": 0}, posted=[{"seq": 0}, {"seq": 7}])
    ack = asyncio.run(keep(line, asked, None, confirmed=False))
    assert (ack.stream, ack.seq, ack.duplicate, ack.message) == ("IN_worker", 0, False, ID)
    ack = asyncio.run(keep(line, asked, None, confirmed=True))
    assert (ack.seq, line.words) == (7, ["Publish", "Publish", "Posted", "Posted"])


def test_a_key_that_is_none_is_refused():
    for wrong in ({"key": "x" * 600}, {"lane": "a\nb"}):
        with pytest.raises(UserError):
            letter(ops.Publish(ID, "core/worker", "v", "1", **wrong), None)
