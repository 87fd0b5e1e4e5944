"""From a JSON Schema to the fields of a form and back to JSON, whatever the schema says; and the box that is made of them."""

import json
import re
from dataclasses import dataclass
from enum import Enum
from html import unescape
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from quarterdeck.agents.schema import schema
from quarterdeck.model.world import Verb
from quarterdeck.web.fields import MOST, as_json, example, fields_of, filled, payload_of, told, typed

HOSTILE = "</textarea><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    """As an agent has it whose payloads are models of pydantic."""

    name: str = Field(description="Whom it is for.", min_length=1, max_length=20)
    count: int = Field(default=2, ge=1, le=10, description="How many.")
    share: float | None = None
    urgent: bool = False
    colour: Colour = Colour.BLUE
    tags: list[str] = []
    notes: str | None = None


@dataclass
class Plain:
    text: str
    level: Literal["low", "high"]
    depth: int = 3
    inner: dict[str, int] | None = None


def names(fields):
    return {field.name: (field.kind, field.required, field.nullable) for field in fields}


def given(**values):
    return {f"f:{name}": value for name, value in values.items()}


def test_a_model_becomes_fields_with_defaults_descriptions_and_choices():
    fields = fields_of(schema(Order))
    assert names(fields) == {
        "name": ("text", True, False),
        "count": ("integer", False, False),
        "share": ("number", False, True),
        "urgent": ("choice", False, False),
        "colour": ("choice", False, False),
        "tags": ("json", False, False),
        "notes": ("long", False, True),
    }
    by_name = {field.name: field for field in fields}
    assert by_name["name"].help == "Whom it is for"
    assert by_name["count"].help == "How many; a whole number, at least 1, at most 10; empty: the default, 2"
    assert by_name["count"].text == "2"
    assert [words for _, words in by_name["urgent"].choices] == ["left out", "false", "true"]
    assert [words for _, words in by_name["colour"].choices] == ["left out", "red", "blue"]
    assert by_name["colour"].text == '"blue"'
    assert by_name["tags"].text == "[]"


def test_a_dataclass_becomes_fields_too_and_a_single_value_is_one():
    assert names(fields_of(schema(Plain))) == {
        "text": ("long", True, False),
        "level": ("choice", True, False),
        "depth": ("integer", False, False),
        "inner": ("json", False, True),
    }
    assert names(fields_of(schema(int))) == {"": ("integer", True, False)}
    assert names(fields_of(schema(str | None))) == {"": ("long", True, True)}
    assert payload_of(typed(fields_of(schema(int)), {"f:": " 41 "})) == 41
    assert payload_of(typed(fields_of(schema(str | None)), {"f:": ""})) is None
    assert fields_of(None) == fields_of({"type": "null"}) == ()
    assert payload_of(()) is None
    for much in ({}, schema(list[int]), schema(dict[str, int]), {"type": "object", "properties": {}}):
        assert fields_of(much) is None


def test_needed_is_what_cannot_be_left_empty_and_what_can_says_what_is_sent_then():
    schema = {
        "type": "object",
        "required": ["text", "name", "title", "count", "size"],
        "properties": {
            "text": {"type": "string"},
            "name": {"type": "string", "minLength": 1},
            "title": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "count": {"type": "integer"},
            "size": {"enum": ["small", "large"]},
            "note": {"type": "string"},
        },
    }
    fields = {field.name: field for field in fields_of(schema)}
    assert [name for name, field in fields.items() if field.needed] == ["name", "count", "size"]
    empty = {field.name: field for field in typed(tuple(fields.values()), {"f:size": '"small"'})}
    assert [name for name, field in empty.items() if field.error] == ["name", "count"]
    assert {name: fields[name].help for name in ("text", "title", "note", "name")} == {
        "text": "empty: an empty text is sent",
        "title": "empty: null is sent",
        "note": "may be left empty",
        "name": "",
    }


def test_what_was_typed_becomes_json_and_what_is_empty_is_left_out():
    fields = typed(
        fields_of(schema(Order)),
        given(name="alice", count="7", share="0.5", urgent="true", colour='"red"', tags='["a"]', notes="two\r\nlines"),
    )
    assert [field.error for field in fields] == [""] * 7
    assert payload_of(fields) == {
        "name": "alice", "count": 7, "share": 0.5, "urgent": True, "colour": "red", "tags": ["a"], "notes": "two\nlines",
    }  # fmt: skip
    assert payload_of(typed(fields_of(schema(Order)), given(name="bob"))) == {"name": "bob"}
    assert payload_of(typed(fields_of(schema(Plain)), given(text="", level='"low"'))) == {"text": "", "level": "low"}


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("name", "", "this is needed"),
        ("name", "x" * 21, "this may have 20 characters, and has 21"),
        ("count", "two", "this is not a whole number, e.g. 42"),
        ("count", "1_0", "this is not a whole number, e.g. 42"),
        ("count", "5.0", "this is not a whole number, e.g. 42"),
        ("count", "9" * 5000, "this is not a whole number, e.g. 42"),
        ("count", "11", "this has to be at least 1, at most 10"),
        ("share", "nan", "this is not a number, e.g. 1.5"),
        ("share", "inf", "this is not a number, e.g. 1.5"),
        ("share", "1e999", "this is too large"),
        ("urgent", "yes", "this is none of the choices"),
        ("colour", "red", "this is none of the choices"),
        ("tags", "[NaN]", "this is no JSON: NaN is no number of JSON; text goes into quotes"),
    ],
)
def test_what_fits_no_value_is_said_at_its_field(name, text, error):
    fields = typed(fields_of(schema(Order)), {**given(name="alice"), f"f:{name}": text})
    assert {field.name: field.error for field in fields if field.error} == {name: error}
    assert next(field.text for field in fields if field.name == name) == text


def test_a_payload_goes_from_fields_to_json_and_back():
    fields = fields_of(schema(Order))
    payload = {"name": "alice", "count": 7, "urgent": False, "colour": "red", "tags": ["a", "b"]}
    shown = filled(fields, payload)
    assert payload_of(typed(fields, {f"f:{field.name}": field.text for field in shown})) == payload
    assert json.loads(as_json(shown)) == payload
    assert filled(fields, {**payload, "more": 1}) is None
    assert filled(fields, [payload]) is None
    rough = typed(fields, given(name="alice", count="two"))
    assert json.loads(as_json(rough)) == {"name": "alice", "count": "two"}, "nothing that was typed is lost"
    assert json.loads(as_json(typed(fields_of(schema(int)), {}))) is None


def test_an_agents_refusal_goes_to_the_field_it_names():
    fields = fields_of(schema(Plain))
    by_name = {f.name: f.error for f in told(fields, "take", "core/worker-0: take: inner.x[0]: expected integer, got str 'a'")}
    assert by_name == {"text": "", "level": "", "depth": "", "inner": "inner.x[0]: expected integer, got str 'a'"}
    assert [f.error for f in told(fields, "take", "it raised ValueError: text: no")] == [""] * 4


def chain(length):
    """Definitions that refer to one another in a ring."""
    return {f"{n}": {"$ref": f"#/$defs/{(n + 1) % length}"} for n in range(length)}


@pytest.mark.parametrize(
    "odd",
    [
        [],
        "x",
        {"$ref": "#/$defs/0", "$defs": chain(3)},
        {"$ref": 7},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": None, "b": 7, "c": []}, "required": "abc"},
        {"type": "object", "properties": {"a\nb": {"type": "string"}}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(MOST + 1)}},
        {"type": "object", "properties": {"a": {"enum": "abc"}, "b": {"enum": []}, "c": {"anyOf": 7}, "d": {"type": {"x": 1}}}},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": "many", "maximum": None, "default": {"x": 1}}}},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": "x", "description": {"x": 1}, "pattern": "(a+)+$"}}},
        {"enum": [None, {"a": 1}, "", "x"], "default": 9},
        {"anyOf": [{"type": "null"}, {"type": "null"}]},
    ],
)
def test_a_schema_that_makes_no_sense_is_no_failure(odd):
    fields = fields_of(odd)
    example(odd)
    for one in fields or ():
        assert isinstance(one.help, str)
        assert isinstance(one.text, str)
    if fields:
        as_json(typed(fields, {f"f:{field.name}": "a" * 40 for field in fields}))


# the box


@pytest.fixture
def told_verbs(control, monkeypatch):
    """An agent with some verbs; it gives back what it is asked."""
    control.up()

    async def verbs(self, system, agent):
        odd = {"type": "object", "properties": {HOSTILE: {"type": "string", "description": HOSTILE, "default": HOSTILE}}}
        return (Verb("odd", odd, HOSTILE), Verb("order", schema(Order), "Takes an order."), Verb("rest", None, ""), Verb("any", {}, ""))

    monkeypatch.setattr(type(control.engine), "verbs", verbs)
    return control


PATH = "/agents/one/reader"


def answered(page):
    return json.loads(unescape(re.search(r'id="answer".*?<pre><code>(.*?)</code>', page.text, re.DOTALL)[1]))


def test_a_form_is_drawn_for_the_verb_that_is_asked_for(told_verbs):
    page = told_verbs.get(f"{PATH}?verb=order").text
    assert re.findall(r'name="(f:\w+)"', page) == [f"f:{name}" for name in Order.model_fields]
    labels = dict(re.findall(r'<label for="(f-\d+)">([^<]*)', page))
    assert list(labels.values()) == ["name (needed)", "count", "share", "urgent", "colour", "tags", "notes"]
    assert 'name="payload"' not in page
    assert 'name="payload"' in told_verbs.get(f"{PATH}?verb=order&as=json").text
    assert 'name="payload"' in told_verbs.get(f"{PATH}?verb=any").text
    assert "It takes nothing" in told_verbs.get(f"{PATH}?verb=rest").text
    assert page.count('aria-required="true"') == page.count("(needed)") == 1


def test_hostile_words_of_a_schema_are_text(told_verbs):
    page = told_verbs.get(PATH).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "</textarea><script>" not in page
    assert "<script>alert" not in told_verbs.post_form(PATH, {"verb": "odd", "mode": "fields", f"f:{HOSTILE}": HOSTILE}).text


def test_fields_are_sent_as_their_types_and_the_command_sends_the_same(told_verbs):
    page = told_verbs.post_form(PATH, {"verb": "order", "mode": "fields", "f:name": "o'hara", "f:count": "3", "f:urgent": "true"})
    sent = {"name": "o'hara", "count": 3, "urgent": True}
    assert answered(page) == sent
    told = unescape(re.search(r'id="as-ask">(.*?)</code>', page.text)[1])
    assert told == """qd ask one/reader order '{"name": "o'"'"'hara", "count": 3, "urgent": true}'"""


def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_sent(told_verbs):
    page = told_verbs.post_form(PATH, {"verb": "order", "mode": "fields", "f:name": "", "f:count": "many"}).text
    assert re.findall(r'<span id="(f-\d)-error">', page) == ["f-1", "f-2"]
    assert re.findall(r'aria-describedby="(f-2[^"]*)" aria-invalid="true"', page) == ["f-2-help f-2-error"]
    assert "nothing was sent: 2 fields are wrong" in page
    assert 'value="many"' in page, "what was typed stays"
    assert "answered" not in page


def test_the_way_to_json_and_back_keeps_what_was_typed(told_verbs):
    fields = {"verb": "order", "mode": "fields", "f:name": "alice", "f:count": "many", "show": "json"}
    page = told_verbs.post_form(PATH, fields).text
    text = unescape(re.search(r'<textarea id="payload"[^>]*>\n([^<]*)', page)[1])
    assert json.loads(text) == {"name": "alice", "count": "many"}
    back = told_verbs.post_form(PATH, {"verb": "order", "mode": "json", "payload": '{"name": "bob", "count": 4}', "show": "fields"}).text
    assert 'value="bob"' in back
    assert 'value="4"' in back
    for odd, said in (('{"name": "bob", "more": 1}', "not all of it has a field"), ("{", "no JSON"), ("[]", "not all of it")):
        page = told_verbs.post_form(PATH, {"verb": "order", "mode": "json", "payload": odd, "show": "fields"}).text
        assert unescape(re.search(r'<textarea id="payload"[^>]*>\n([^<]*)', page)[1]) == odd
        assert said in page


def test_fields_given_as_a_task_carry_their_types(told_verbs):
    answer = told_verbs.post_form(PATH, {"verb": "order", "mode": "fields", "f:name": "alice", "f:count": "3", "as": "task"})
    assert answer.status == 303
    (task,) = told_verbs.get("/v1/tasks").json["items"]
    assert told_verbs.get(f"/v1/tasks/{task['id']}").json["payload"] == {"name": "alice", "count": 3}


def test_fields_of_a_verb_that_is_gone_go_on_as_json(told_verbs):
    page = told_verbs.post_form(PATH, {"verb": "older", "mode": "fields", "f:name": "alice"})
    assert page.status == 200
    assert answered(page) == {"name": "alice"}


SHOWN = {
    "-5": "qd ask -- one/reader any -5",
    "": "qd ask one/reader any",
    '"\u202e"': "qd ask one/reader any '\"\\u202e\"'",
}


@pytest.mark.parametrize(("payload", "command"), SHOWN.items())
def test_the_command_says_what_it_seems_to_say(told_verbs, payload, command):
    page = told_verbs.post_form(PATH, {"verb": "any", "mode": "json", "payload": payload}).text
    assert unescape(re.search(r'id="as-ask">(.*?)</code>', page)[1]) == command
