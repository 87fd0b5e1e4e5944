import enum
import json
import sys
import types
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict

import pydantic
import pytest

from quarterdeck.agents.payload import PayloadError, decode, decoder, encode, loads
from quarterdeck.agents.schema import schema
from quarterdeck.errors import UserError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Span:
    name: str
    took: float = 0.0
    children: "list[Span]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Window:
    start: float
    lines: list[str]
    spans: dict[str, Span] = field(default_factory=dict)
    colour: Colour | None = None
    at: datetime | None = None

    def __post_init__(self):
        if self.start < 0:
            raise ValueError("start is negative")


class Row(TypedDict):
    service: str
    score: NotRequired[float]


class Model(pydantic.BaseModel):
    name: str
    size: int


UserId = NewType("UserId", int)
INTEGER, STRING = {"type": "integer"}, {"type": "string"}


def round_trip(value, wanted):
    return decode(loads(encode(value)), wanted)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Window(1.5, ["a"], {"s": Span("x", 0.5, [Span("y")])}, Colour.RED, datetime(2026, 1, 2, 3, tzinfo=UTC)), Window),
        ({"service": "ts-order", "score": 1.0}, Row),
        ({"service": "ts-order"}, Row),
        (Model(name="m", size=2), Model),
        (["a", None], list[str | None]),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        ({1, 2}, set[int]),
        ({"a": [1]}, dict[str, list[int]]),
        ({"anything": [1, {"x": None}]}, Any),
        (b"\x00\xff", bytes),
        (date(2026, 1, 2), date),
        (uuid.UUID(int=7), uuid.UUID),
        (Decimal("1.10"), Decimal),
        (Path("/a/b"), Path),
        (UserId(3), UserId),
        ("low", Literal["low", "high"]),
        (3, Annotated[int, "of them"]),
        ("Zürich", str),
        (None, None),
    ],
)
def test_what_is_sent_arrives(value, wanted):
    found = round_trip(value, wanted)
    assert found == value
    assert type(found) is type(value)


def test_an_int_is_a_float_but_not_the_reverse():
    assert decode(3, float) == 3.0
    assert type(decode(3, float)) is float
    with pytest.raises(PayloadError):
        decode(3.0, int)


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ({"start": 1, "lines": ["a", 7]}, Window, "lines[1]: expected string, got int 7"),
        ({"lines": []}, Window, "the payload: Window needs start"),
        ({"start": -1, "lines": []}, Window, "the payload: start is negative"),
        ({"start": 1, "lines": [], "spans": {"s": {"name": 1}}}, Window, "spans.s.name: expected string, got int 1"),
        ({"start": 1, "lines": [], "spans": {"s": {"name": "x", "children": [{}]}}}, Window, "spans.s.children[0]: Span needs name"),
        ({"start": 1, "lines": [], "colour": "green"}, Window, "colour: expected Colour ('green' is not a valid Colour), got str 'green'"),
        ("text", Window, "the payload: expected object (Window), got str 'text'"),
        (None, Row, "the payload: expected object (Row), got null"),
        (True, int, "the payload: expected integer, got bool True"),
        (1, bool, "the payload: expected boolean, got int 1"),
        ("mid", Literal["low", "high"], "the payload: expected one of 'low', 'high', got str 'mid'"),
        (True, Literal[1], "the payload: expected one of 1, got bool True"),
        ([1], tuple[int, str], "the payload: expected array of 2, got list [1]"),
        ("x" * 200, int, "the payload: expected integer, got str '" + "x" * 72 + "..."),
    ],
)
def test_what_is_wrong_is_named_with_its_place(value, wanted, message):
    with pytest.raises(PayloadError) as caught:
        decode(value, wanted)
    assert caught.value.message == message


def test_a_pydantic_model_checks_itself():
    with pytest.raises(PayloadError, match=r"expected Model .*1 validation error"):
        decode({"name": "m", "size": "many"}, Model)


def test_a_struct_of_msgspec_is_converted_by_its_library(monkeypatch):
    class Struct:
        __struct_fields__ = ("name",)

        def __init__(self, name):
            self.name = name

    library = types.SimpleNamespace(convert=lambda value, wanted: wanted(**value), to_builtins=lambda value: {"name": value.name})
    monkeypatch.setitem(sys.modules, "msgspec", library)
    assert round_trip(Struct("s"), Struct).name == "s"


def test_unknown_fields_are_ignored_so_that_revisions_can_differ():
    assert decode({"name": "s", "added_later": 1}, Span) == Span("s")


def test_what_json_cannot_say_is_refused_before_sending():
    for value in (object(), float("nan"), {1, object()}, lambda: None):
        with pytest.raises(PayloadError, match="cannot be sent as JSON"):
            encode(value)
    circular = []
    circular.append(circular)
    with pytest.raises(PayloadError):
        encode(circular)


def test_a_body_that_is_not_json_is_refused():
    assert loads(b"") is None
    for body in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(PayloadError, match="the payload is not JSON"):
            loads(body)


def test_a_type_that_cannot_come_out_of_json_is_refused_when_the_agent_loads():
    class Connection:
        pass

    with pytest.raises(UserError, match="Connection cannot be the type of a payload") as caught:
        decoder(Connection)
    assert caught.value.hint == "make Connection a dataclass or a TypedDict"


NOBODY = uuid.UUID(int=0)


def test_a_schema_tells_the_defaults_of_a_dataclass_that_a_form_can_show():
    @dataclass
    class Order:
        item: str
        count: int = 2
        note: str | None = None
        tags: list[str] = field(default_factory=list)
        made: uuid.UUID = NOBODY

    found = {name: part.get("default", "none") for name, part in schema(Order)["properties"].items()}
    assert found == {"item": "none", "count": 2, "note": None, "tags": "none", "made": "none"}


def test_the_schema_says_what_is_taken():
    found = schema(Window)
    assert found["title"] == "Window"
    assert found["required"] == ["start", "lines"]
    assert found["properties"]["lines"] == {"type": "array", "items": {"type": "string"}}
    assert found["properties"]["colour"]["anyOf"][0] == {"title": "Colour", "enum": ["red", "blue"]}
    assert schema(Row)["required"] == ["service"]
    assert schema(Literal["a"]) == {"enum": ["a"]}
    assert schema(Any) == {}
    assert schema(dict[str, int]) == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert schema(Model)["properties"]["size"] == {"title": "Size", "type": "integer"}
    json.dumps(found)


class Inner(pydantic.BaseModel):
    size: int


class Outer(pydantic.BaseModel):
    inner: Inner


@dataclass
class Holder:
    outer: Outer
    computed: int = field(init=False, default=0)


@dataclass
class Holders:
    one: Holder
    models: dict[str, Outer]


@pytest.mark.parametrize(
    ("wanted", "takes", "described"),
    [
        (None, None, {"type": "null"}),
        (bool, True, {"type": "boolean"}),
        (UserId, 7, {"type": "integer"}),
        (Annotated[int, "of lines"], 7, {"type": "integer"}),
        (bytes, "aGk=", {"type": "string", "contentEncoding": "base64"}),
        (datetime, "2026-01-01T00:00:00+00:00", {"type": "string", "format": "date-time"}),
        (date, "2026-01-01", {"type": "string", "format": "date"}),
        (uuid.UUID, str(uuid.UUID(int=7)), {"type": "string", "format": "uuid"}),
        (Decimal, "1.5", {"type": ["string", "number"]}),
        (Path, "/x", {"type": "string", "title": "Path"}),
        (tuple[int, str], [1, "a"], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
        (tuple[int, ...], [1, 2, 3], {"type": "array", "items": INTEGER}),
        (set[str], ["a"], {"type": "array", "items": STRING}),
        (list, [1, "a"], {"type": "array", "items": {}}),
        (dict, {"a": 1}, {"type": "object", "additionalProperties": True}),
        (int | None, None, {"anyOf": [INTEGER, {"type": "null"}]}),
        (Colour, "red", {"title": "Colour", "enum": ["red", "blue"]}),
    ],
    ids=str,
)
def test_every_type_that_can_be_decoded_is_described(wanted, takes, described):
    decode(takes, wanted)
    assert schema(wanted) == described


def test_what_a_librarys_schema_refers_to_is_found_from_the_root_of_ours():
    decode({"one": {"outer": {"inner": {"size": 1}}}, "models": {"a": {"inner": {"size": 2}}}}, Holders)
    found = schema(Holders)
    assert set(found["$defs"]) == {"Outer.Inner"}
    assert found["$defs"]["Outer.Inner"]["properties"]["size"]["type"] == "integer"
    assert found["properties"]["models"]["additionalProperties"]["properties"]["inner"] == {"$ref": "#/$defs/Outer.Inner"}
    assert list(found["properties"]["one"]["properties"]) == ["outer"], "a field that is computed is not taken"


def test_a_type_that_contains_itself_is_described_to_a_depth():
    text = json.dumps(schema(Span))
    assert 1 < text.count('"title": "Span"') < 10
