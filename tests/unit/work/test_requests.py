"""What replicas send is other people's: it is an operation this version knows, or an error that says where it is not."""

import json

import pytest

from quarterdeck.errors import UserError
from quarterdeck.model import ops
from quarterdeck.work.requests import MOST_NESTED, unpack

EVERY = [
    ops.Claim(3, ("a", "b")),
    ops.Renew((("a", 1), ("b", 2)), (("a", 0.5, "half"),)),
    ops.Done("t", 1, '{"a": [1, null]}'),
    ops.Fail("t", 1, "no", again=True),
    ops.GiveBack("t", 1, "I stop"),
    ops.Step("t", 1, "s#1", "c", "1", again=True),
    ops.Steps("t", 1, ""),
    ops.Emit("t", 1, 1, ("1", '"two"')),
    ops.Begin("t", 1, "k", "dedupes", "hash"),
    ops.Finish("t", 1, "k", "unknown", None, "why"),
    ops.Delegate("t", 1, "n", "c/a", "v", "1", priority=3, lane="l", deadline=1.5, attempts=2, budget={"calls": 3.0}),
    ops.Submit("c/a", "v", "1", "k", priority=-1, lane=None, deadline=None, attempts=2, trace="x"),
    ops.AskHuman("t", 1, "q#1", "go on?", ("yes", "no"), '"hash"', None, 5.0),
    ops.Wait("t", 1, ("a",), ("q#1",)),
]

LONG, DEEP = '"' + "x" * ops.MOST_BODY + '"', "[" * (MOST_NESTED + 1) + "]" * (MOST_NESTED + 1)


def body(*found):
    return json.dumps({"ops": [ops.pack(op) for op in found]}).encode()


def refused(text):
    with pytest.raises(UserError) as caught:
        unpack(text if isinstance(text, bytes) else json.dumps(text).encode())
    return caught.value.message


@pytest.mark.parametrize("op", EVERY, ids=lambda op: type(op).__name__)
def test_every_operation_arrives_as_it_was_sent(op):
    assert unpack(body(op)) == [op]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        ({}, "list of 1 to"),
        ([], "list of 1 to"),
        ({"ops": []}, "list of 1 to"),
        ({"ops": [["done", {}]] * (ops.MOST + 1)}, "list of 1 to"),
        ({"ops": [3]}, "ops[0] is not"),
        ({"ops": [["explode", {}]]}, "a word this version knows"),
        ({"ops": [[["done"], {}]]}, "a word this version knows"),
        ({"ops": [["claim", {"free": 1}]]}, "missing ['holding']"),
        ({"ops": [["claim", {"free": 1, "holding": [], "more": 1}]]}, "unknown ['more']"),
    ],
)
def test_what_is_no_request_is_refused_with_the_place(text, told):
    assert told in refused(text)


@pytest.mark.parametrize(
    ("op", "field", "value"),
    [
        (EVERY[0], "free", value)
        for value in (True, 1.5, "1", None, 2**60, [])
    ] + [
        (EVERY[0], "holding", value) for value in ("a", [1], [["a"]], ["a"] * (ops.MOST_HELD + 1), {"a": 1})
    ] + [
        (EVERY[1], "holding", value) for value in ([["a", True]], [["a", 1.0]], [["a", 2**60]], [["x" * 27, 1]], [["a"]], [3])
    ] + [
        (EVERY[1], "progress", value) for value in ([["a", "b", "c"]], [["a", 10**400, "c"]], [["a", True, "c"]], [["a", 1]])
    ] + [
        (EVERY[2], "result", value) for value in ("", "{", "NaN", "[1,]", 5, None, LONG, DEEP)
    ] + [
        (EVERY[3], "again", value) for value in (1, "true", None)
    ] + [
        (EVERY[8], "semantics", value) for value in ("maybe", None, ["unsafe"], {})
    ] + [
        (EVERY[9], "outcome", value) for value in ("started", None, [])
    ] + [
        (EVERY[10], "deadline", value) for value in (True, "soon", 10**400, -(10**400), [])
    ] + [
        (EVERY[10], "budget", value) for value in ([], {"calls": None}, {"x" * 21: 1}, {"calls": 10**400}, {str(n): 1 for n in range(99)})
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_each_field_is_what_it_says_or_is_refused_by_name(op, field, value):
    word, values = ops.pack(op)
    assert f"ops[0].{field}" in refused({"ops": [[word, {**values, field: value}]]})


def test_numbers_that_json_has_no_name_for_are_refused():
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        told = refused(body(EVERY[10]).replace(b'"deadline": 1.5', f'"deadline": {text}'.encode()))
        assert "ops[0].deadline is a number" in told


def test_texts_that_no_database_holds_are_made_such():
    (found,) = unpack(body(ops.Fail("t", 1, "a\ud800b\0c", again=False)))
    assert found.error == "a?b\ufffdc"


def test_json_as_deep_as_allowed_is_allowed():
    deep = "[" * MOST_NESTED + "]" * MOST_NESTED
    assert unpack(body(ops.Done("t", 1, deep)))[0].result == deep
    wide = json.dumps([[]] * 5000)
    assert unpack(body(ops.Done("t", 1, wide)))[0].result == wide
