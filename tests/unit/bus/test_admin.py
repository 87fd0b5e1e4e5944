"""What the control plane makes of the server's answers, without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from quarterdeck.bus import streams
from quarterdeck.bus.admin import Live
from quarterdeck.bus.claims import AccountSpec, Import, Limits, account
from quarterdeck.bus.keys import Key
from quarterdeck.bus.streams import Shape, StreamLost
from quarterdeck.errors import Terminal, Transient
from quarterdeck.model.world import StreamSeen

MADE = StreamSeen("s.a", "IN_worker", 1, 9, 9, 900, 1)


def answering(answers):
    """A server that answers each verb as told and notes what it was asked."""
    asked: list[str] = []

    async def ask(subject, body):
        verb = subject.removeprefix("$JS.API.")
        asked.append(verb)
        return json.dumps(answers[verb]).encode()

    return ask, asked


def info(last: int = 9, epoch: str = "1", shape: Shape = streams.USUAL):
    return {
        "config": {**streams.stream_config("worker", shape, 1), "metadata": {"quarterdeck-epoch": epoch}},
        "state": {"first_seq": 1, "last_seq": last, "messages": last, "bytes": last * 100},
    }


NOT_FOUND = {"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}
CONSUMER = "CONSUMER.CREATE.IN_worker.IN_worker"


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (MADE, ""),
        (replace(MADE, last=10, first=10, messages=1), ""),
        (replace(MADE, messages=0, bytes=0, first=10), ""),
        (None, "is gone"),
        (replace(MADE, last=8), "went back from message 9 to 8"),
        (replace(MADE, epoch=2, last=20), "is of epoch 2, not 1"),
    ],
)
def test_a_stream_is_lost_when_gone_replaced_or_gone_backwards(seen, reason):
    found = streams.lost(MADE, seen)
    assert (reason in found) if reason else found == ""


def test_the_check_at_start_names_every_loss():
    other = replace(MADE, account="t.a")
    assert streams.check((MADE, other), (MADE, other)) == ()
    assert len(streams.check((MADE, other), (replace(MADE, last=0),))) == 2


@pytest.mark.parametrize("answer", [NOT_FOUND, info(last=8), info(epoch="2")])
def test_a_lost_stream_raises_and_nothing_is_created_or_changed(answer):
    ask, asked = answering({"STREAM.INFO.IN_worker": answer})
    with pytest.raises(StreamLost):
        asyncio.run(streams.ensure(ask, "s.a", "worker", Shape(), (MADE,), epoch=1))
    assert asked == ["STREAM.INFO.IN_worker"]


def test_a_stream_that_was_never_made_is_made():
    ask, asked = answering({"STREAM.INFO.IN_worker": NOT_FOUND, "STREAM.CREATE.IN_worker": info(0), CONSUMER: {}})
    seen = asyncio.run(streams.ensure(ask, "s.a", "worker", Shape(), (replace(MADE, account="t.a"),), epoch=1))
    assert seen == StreamSeen("s.a", "IN_worker", 1, 0, 0, 0, 1)
    assert asked == ["STREAM.INFO.IN_worker", "STREAM.CREATE.IN_worker", CONSUMER]


def test_a_stream_that_is_as_it_should_be_is_left_alone_but_for_its_consumer():
    ask, asked = answering({"STREAM.INFO.IN_worker": info(), CONSUMER: {}})
    assert asyncio.run(streams.ensure(ask, "s.a", "worker", Shape(), (MADE,), epoch=1)) == MADE
    assert asked == ["STREAM.INFO.IN_worker", CONSUMER]


def test_new_limits_update_a_stream():
    ask, asked = answering({"STREAM.INFO.IN_worker": info(), "STREAM.UPDATE.IN_worker": info(), CONSUMER: {}})
    asyncio.run(streams.ensure(ask, "s.a", "worker", Shape(max_messages=5), (MADE,), epoch=1))
    assert asked == ["STREAM.INFO.IN_worker", "STREAM.UPDATE.IN_worker", CONSUMER]


@pytest.mark.parametrize(("code", "kind"), [(503, Transient), (400, Terminal)])
def test_the_servers_errors_tell_whether_to_try_again(code, kind):
    ask, _ = answering({"INFO": {"error": {"code": code, "err_code": 1, "description": "because"}}})
    with pytest.raises(kind, match="because"):
        asyncio.run(streams.call(ask, "INFO"))


def test_streams_of_the_platform_itself_are_not_counted():
    jsz = {
        "account_details": [
            {"name": "s.a", "id": "A1", "stream_detail": [info()]},
            {"name": "QD", "id": "A2", "stream_detail": [info()]},
            {"name": "s.b", "id": "A3"},
        ]
    }
    assert streams.streams_seen(jsz) == (MADE,)
    assert streams.streams_seen({}) == ()


def test_an_account_is_read_back_from_the_jwt_the_server_keeps():
    keys = {"s.a": Key.fresh("account"), "s.b": Key.fresh("account")}
    spec = AccountSpec("s.a", Limits(1, 1, 1), imports=(Import("s.b", "ask.a.>", "to.b.ask.a.>"),))
    live = Live.read(account(spec, Key.fresh("operator"), keys.__getitem__, issued=1))
    assert (live.name, live.public, live.sources) == ("s.a", keys["s.a"].public, {keys["s.b"].public})
