import asyncio
from dataclasses import dataclass

import pytest

from quarterdeck import Agent, Context
from quarterdeck.agents.context import Place
from quarterdeck.agents.desk import Desk
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import Envelope
from quarterdeck.bus.pull import Verdict
from quarterdeck.bus.subjects import Sender
from quarterdeck.clock import VirtualClock

ALICE, MALLORY = Sender("c", "alice", 0), Sender("c", "mallory", 0)


def make_desk(function=lambda payload: payload):
    agent = Agent("bob")
    agent.on("v")(function)
    progress = []
    place = Place("c", "bob", 1, None, VirtualClock(), lambda: progress.append(1))
    return Desk(agent, place, incarnation=4, revision="r7"), progress


def message(subject="ask.c.alice.0.bob.v", body=b"1", *, sender=ALICE, deadline=None, delivered=0, headers=None):
    return Incoming(subject, headers or Envelope("ab" * 16, sender, deadline).headers(), body, delivered)


def answer(incoming, function=lambda payload: payload):
    desk, progress = make_desk(function)
    return asyncio.run(desk.answer(incoming)), progress


def test_a_message_is_handled_and_counts_as_progress():
    found, progress = answer(message())
    assert (found.ok, found.body, progress) == (True, b"1", [1])


def test_a_sender_who_signs_as_somebody_else_is_refused(caplog):
    found, progress = answer(message(sender=MALLORY), pytest.fail)
    assert (found.kind, found.message) == ("forbidden", "the subject says c/alice-0, the envelope c/mallory-0")
    assert progress == []
    assert "signs as c/mallory-0" in caplog.text


def test_even_a_question_of_the_platform_needs_an_honest_envelope():
    assert answer(message("ask.c.alice.0.bob._ping", sender=MALLORY))[0].kind == "forbidden"
    found, _ = answer(message("ask.c.alice.0.bob._ping"))
    assert b'"from":"c/bob-1"' in found.body
    assert b'"incarnation":4,"revision":"r7"' in found.body


def test_what_comes_too_late_is_not_started():
    now = VirtualClock().wall
    found, _ = answer(message(deadline=now - 0.001), pytest.fail)
    assert (found.kind, found.retry) == ("deadline", True)
    assert answer(message(deadline=now + 1.0))[0].ok


@pytest.mark.parametrize(("subject", "headers"), [("ask.c.alice.0.bob.v", {"Qd-Schema": "9"}), ("something.else", None)])
def test_what_is_not_of_our_protocol_is_refused(subject, headers):
    assert answer(message(subject, headers=headers))[0].kind == "envelope"


def test_an_answer_that_is_too_large_is_an_error_of_the_handler():
    found, _ = answer(message(), lambda: "x" * 2_000_000)
    assert found.kind == "reply"
    assert "one message carries at most" in found.message


@dataclass
class Fragile:
    key: str

    def __post_init__(self):
        {}[self.key]  # a bug of the user's own type


def takes_fragile(payload: Fragile):
    pytest.fail("not started")


def test_whatever_user_code_raises_becomes_an_answer():
    found, _ = answer(message(body=b'{"key":"x"}'), takes_fragile)
    assert (found.kind, found.message) == ("KeyError", "KeyError: 'x'")


def settle(incoming, function=lambda payload: payload):
    desk, _ = make_desk(function)
    return asyncio.run(desk.settle(incoming))


def broken(payload):
    raise ValueError("x")


def test_the_verdict_on_a_durable_message():
    subject = "in.c.alice.0.bob.v"
    assert settle(message(subject, delivered=1)) == Verdict("done")
    assert [settle(message(subject, delivered=n), broken).delay for n in (1, 2, 3, 7, 19)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert settle(message(subject, body=b"{", delivered=1)) == Verdict("never", reason="payload")
    assert settle(message(subject, sender=MALLORY, delivered=1)) == Verdict("never", reason="forbidden")
    assert settle(message(subject, deadline=1.0, delivered=1)) == Verdict("never", reason="deadline")


def test_a_verb_of_a_newer_revision_is_waited_for_but_not_for_ever():
    subject = "in.c.alice.0.bob.later"
    assert settle(message(subject, delivered=1)).kind == "again"
    assert settle(message(subject, delivered=10)) == Verdict("never", reason="verb")


def test_a_message_that_is_given_up_leaves_a_line_in_the_log(caplog):
    settle(message("in.c.alice.0.bob.v", body=b"{", delivered=1))
    assert f"given up: durable message {'ab' * 16} on in.c.alice.0.bob.v: v: the payload is not JSON" in caplog.text


def test_work_for_a_task_is_refused_to_a_message_without_a_traceback(caplog):
    async def work(payload, ctx: Context):
        return await ctx.step("read", list)

    found, _ = answer(message(), work)
    assert (found.kind, found.final) == ("task", True)
    assert found.message == "'v' is work for a task, not for a message: qd task submit c/bob --verb v"
    assert "Traceback" not in caplog.text
