"""The line to the ledger: what travels together, what is asked again, and what one operation cannot do to another."""

import asyncio
import json

import pytest

from quarterdeck.agents import line as line_module
from quarterdeck.agents.fake_blobs import FakeBlobs
from quarterdeck.agents.line import Line
from quarterdeck.bus.chores import Chores
from quarterdeck.errors import Terminal, Transient, UserError
from quarterdeck.model import ops
from quarterdeck.model.work import Fenced


class Scripted:
    """Answers requests by a function of their operations; keeps all requests."""

    def __init__(self, answer):
        self.requests = []
        self._answer = answer

    async def __call__(self, body, limit):
        asked = json.loads(body)["ops"]
        self.requests.append(asked)
        found = self._answer(len(self.requests), asked)
        if isinstance(found, Exception):
            raise found
        return json.dumps(found).encode()


def play(answer, body, monkeypatch):
    monkeypatch.setattr(line_module, "PAUSE_FIRST", 0.001)
    monkeypatch.setattr(line_module, "ATTEMPT", 0.01)

    async def whole():
        ask = Scripted(answer)
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
            await body(Line(ask, Chores(tasks), FakeBlobs()))
        return ask.requests

    return asyncio.run(whole())


def done(name, text="1"):
    return ops.Done(name, 1, text)


def echo(_, asked):
    return {"answers": [{"ok": values["task"]} for _, values in asked]}


def test_what_is_asked_at_the_same_time_travels_together_and_what_is_too_much_does_not(monkeypatch):
    async def body(line):
        names = [f"t{n}" for n in range(300)]
        assert await asyncio.gather(*(line.call(done(name), 5) for name in names)) == names
        large = [f"l{n}" for n in range(5)]
        assert await asyncio.gather(*(line.call(done(name, "ü" * 200_000), 5) for name in large)) == large

    requests = play(echo, body, monkeypatch)
    assert [len(request) for request in requests] == [256, 44, 2, 2, 1]


def test_a_lost_answer_and_a_store_that_cannot_write_cost_time_only(monkeypatch):
    def answer(count, asked):
        if count == 1:
            return Transient("lost")
        if count == 2:
            return {"error": {"kind": "StoreReadOnly", "message": "full", "hint": "", "again": True}}
        return echo(count, asked)

    async def body(line):
        assert await line.call(done("t"), 5) == "t"

    assert len(play(answer, body, monkeypatch)) == 3


def test_an_operation_that_cannot_be_read_does_not_fail_those_it_travelled_with(monkeypatch):
    def answer(count, asked):
        if any(values["task"] == "bad" for _, values in asked):
            return {"error": {"kind": "UserError", "message": "ops[1].task is nothing", "hint": "h", "again": False}}
        return echo(count, asked)

    async def body(line):
        found = await asyncio.gather(*(line.call(done(name), 5) for name in ("a", "bad", "b")), return_exceptions=True)
        assert (found[0], type(found[1]), found[2]) == ("a", UserError, "b")

    play(answer, body, monkeypatch)


def test_an_answer_without_room_is_asked_for_again(monkeypatch):
    def answer(count, asked):
        return {"answers": [{"ok": asked[0][1]["task"]}, *({"later": True} for _ in asked[1:])]}

    async def body(line):
        assert await asyncio.gather(*(line.call(done(f"t{n}"), 5) for n in range(4))) == ["t0", "t1", "t2", "t3"]

    assert [len(request) for request in play(answer, body, monkeypatch)] == [4, 3, 2, 1]


def test_what_the_ledger_says_becomes_the_error_it_is(monkeypatch):
    kinds = {"Fenced": Fenced, "Overloaded": Transient, "Anything": Terminal}

    def answer(count, asked):
        name = asked[0][1]["task"]
        return {"answers": [{"error": {"kind": name, "message": "no", "hint": "", "again": name == "Overloaded"}}]}

    async def body(line):
        for name, kind in kinds.items():
            with pytest.raises(kind, match="no"):
                await line.call(done(name), 5)

    play(answer, body, monkeypatch)


def test_silence_is_unknown_after_a_while_and_nothing_goes_on_asking(monkeypatch):
    async def body(line):
        with pytest.raises(Transient, match="whether it heard us is unknown"):
            await line.call(done("t"), 0.05)
        asked = len(requests)
        await asyncio.sleep(0.1)
        assert len(requests) <= asked + 1

    requests = []

    def answer(count, asked):
        requests.append(asked)
        return Transient("silence")

    play(answer, body, monkeypatch)


def test_one_operation_is_no_larger_than_a_message_and_any_text_can_be_sent(monkeypatch):
    async def body(line):
        with pytest.raises(UserError, match="bytes for the ledger"):
            await line.call(done("t", "x" * 1_100_000), 5)
        assert await line.call(ops.Fail("t", 1, "a lone \udc80 surrogate", again=True), 5) == "t"

    (request,) = play(echo, body, monkeypatch)
    assert request[0][1]["error"] == "a lone ? surrogate"
