import json
from dataclasses import replace

import pytest

from quarterdeck.bus.envelope import (
    MAX_PAYLOAD,
    Answer,
    Envelope,
    NoAnswer,
    RemoteError,
    RemoteTerminal,
    Trace,
    check_key,
    check_size,
    new_id,
    refusal,
    result,
)
from quarterdeck.bus.subjects import Sender
from quarterdeck.errors import Terminal, Transient, UserError

SENDER = Sender("analysts", "log-reader", 12)
TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


def test_what_is_written_is_read_back():
    envelope = Envelope("ab" * 16, SENDER, deadline=1_700_000_000.125, trace=TRACE, key="INC-1")
    assert Envelope.read(envelope.headers()) == envelope
    along = replace(envelope, trace=replace(TRACE, path="c/a;ask;00"))
    assert Envelope.read(along.headers()) == along
    bare = Envelope("ab" * 16, SENDER)
    assert Envelope.read(bare.headers()) == bare
    assert set(bare.headers()) == {"Qd-Id", "Qd-From", "Qd-Schema"}


@pytest.mark.parametrize(
    "broken", [{"Qd-Schema": "2"}, {"Qd-From": "analysts"}, {"Qd-From": "a/b-x"}, {"Qd-Id": ""}, {"Qd-Deadline": "soon"}]
)
def test_a_broken_envelope_is_refused(broken):
    with pytest.raises(ValueError, match=r"."):
        Envelope.read({**Envelope("ab" * 16, SENDER).headers(), **broken})


def test_ids_are_uuid7_and_sort_by_time():
    early, late = new_id(1000.0, b"\xff" * 10), new_id(1000.001, b"\x00" * 10)
    assert early < late
    assert len(early) == 32
    assert early[12] == "7"
    assert early[16] in "89ab"
    assert int(early[:12], 16) == 1_000_000


def test_a_trace_is_continued_with_a_new_span():
    child = TRACE.child(b"\x01" * 8)
    assert str(child) == "00-4bf92f3577b34da6a3ce929d0e0e4736-0101010101010101-01"
    assert Trace.read(str(child)) == child


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-short-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        f"ff-{'a' * 32}-{'b' * 16}-01",
        f"00-{'A' * 32}-{'b' * 16}-01",
    ],
)
def test_a_malformed_traceparent_is_as_none(text):
    assert Trace.read(text) is None


def test_a_later_version_of_traceparent_is_read():
    assert Trace.read(f"cc-{TRACE.trace_id}-{TRACE.span_id}-01-what-comes-later") == TRACE


def test_an_ok_answer_gives_its_body():
    answer = Answer(b'{"a":1}')
    assert result(answer.headers(), answer.content()) == b'{"a":1}'


@pytest.mark.parametrize(("retry", "branch"), [(True, Transient), (False, Terminal)])
def test_an_error_answer_is_raised_in_its_branch(retry, branch):
    answer = refusal("ValueError", "ValueError: bad", "analysts/analyst-2", retry=retry)
    with pytest.raises(RemoteError, match="analysts/analyst-2: ValueError: bad") as caught:
        result(answer.headers(), answer.content())
    assert isinstance(caught.value, branch)
    assert caught.value.retry is retry
    assert (caught.value.kind, caught.value.replica) == ("ValueError", "analysts/analyst-2")
    assert caught.value.exit_code == branch.exit_code


def test_an_error_message_is_cut_to_what_may_travel():
    assert len(json.loads(refusal("X", "x" * 10_000, "a/b-0").content())["message"]) == 2000


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b'{"stream":"IN","seq":1}'),
        ({"Qd-Status": "odd"}, b""),
        ({"Qd-Status": "error"}, b"not json"),
        ({"Qd-Status": "error"}, b"[]"),
        ({"Qd-Status": "error"}, b'{"retry":true}'),
    ],
)
def test_something_else_than_an_answer_is_no_answer(headers, body):
    with pytest.raises(NoAnswer) as caught:
        result(headers, body)
    assert caught.value.cause == "foreign_answer"


def test_remote_errors_say_which_branch_they_are():
    assert issubclass(RemoteTerminal, Terminal)
    assert not issubclass(RemoteTerminal, Transient)


def test_size_and_key_are_checked_before_sending():
    check_size(b"x" * MAX_PAYLOAD, "it")
    with pytest.raises(UserError, match=r"the payload of 'w' is 1,044,481 bytes; one message carries at most 1,044,480"):
        check_size(b"x" * (MAX_PAYLOAD + 1), "the payload of 'w'")
    check_key("INC-1 of März")
    for key in ("x" * 513, "two\nlines"):
        with pytest.raises(UserError, match="a key has at most 512"):
            check_key(key)
