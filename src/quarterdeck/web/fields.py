"""From the JSON Schema of what a verb takes to the fields of a form, and from what was typed to the JSON value. Pure.

The schema is an agent's, whose every word may be an attack: nothing of it is carried out (no pattern), and there is a bound for all.
What is not flat stays one field of JSON text. The agent checks again: these are the errors that can be shown beside a field at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeGuard

from quarterdeck.web.inner import Json

MOST: Final = 40
"""Fields of a form; a payload with more is written as JSON."""
LONGEST: Final = 100
"""Characters of a property's name in a form, and of a text that fits on one line."""
WORDS: Final = 300
"""Characters of a description that are shown."""
CHOICES: Final = 200
PREFIX: Final = "f:"
"""Before the name of a property in the names of the form, so that none can be another field of it."""
Kind = Literal["text", "long", "integer", "number", "choice", "json"]
_DEEPEST: Final = 8
_INTEGER: Final = re.compile(r"[+-]?\d{1,4000}")
_NUMBER: Final = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,5})?")
_BOUNDS: Final = (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"), ("exclusiveMaximum", "less than"))
_LEFT_OUT: Final = object()


class Wrong(ValueError):
    """What was typed fits no value of the field; the message says what would."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: the property's name ("" for a payload that is one value), what it takes, and what stands in it.

    `choices` are (JSON text, words); `text` is what was typed, or the default to begin with.
    """

    name: str
    kind: Kind
    required: bool
    nullable: bool
    schema: Json
    choices: tuple[tuple[str, str], ...] = ()
    text: str = ""
    error: str = ""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or "payload"

    @property
    def needed(self) -> bool:
        """Whether it cannot be left empty: it has to be sent, and nothing typed is none of its values."""
        return self.required and not self.nullable and not self._may_be_empty

    @property
    def help(self) -> str:
        """What it takes, in words."""
        about = str(self.schema.get("description") or "")
        about = about if len(about) <= WORDS else f"{about[:WORDS]}…"
        kind = {"integer": "a whole number", "number": "a number", "json": "JSON"}.get(self.kind, "")
        bounds = [f"{words} {self.schema[key]}" for key, words in _BOUNDS if _is_number(self.schema.get(key))]
        takes = ", ".join([kind, *bounds]) if kind else ""
        return "; ".join(part.rstrip(". ") for part in (about, takes, self._empty) if part)

    @property
    def _empty(self) -> str:
        """What it means to leave it empty."""
        if "default" in self.schema and not self.required:
            return f"empty: the default, {_short(self.schema['default'])}"
        if not self.required:
            return "may be left empty"
        if self.nullable:
            return "empty: null is sent"
        return "empty: an empty text is sent" if self._may_be_empty else ""

    @property
    def _may_be_empty(self) -> bool:
        return self.kind in ("text", "long") and not self.schema.get("minLength")

    def value(self) -> Any:
        """The JSON value of its text, or _LEFT_OUT. Raises Wrong."""
        if self.kind in ("text", "long") and self.required and not self.nullable:
            return self._checked(self.text)
        if not self.text.strip():
            return self._nothing()
        match self.kind:
            case "integer":
                return self._bounded(int(self._fitting(_INTEGER, "a whole number, e.g. 42")))
            case "number":
                return self._bounded(_number(self._fitting(_NUMBER, "a number, e.g. 1.5")))
            case "choice":
                return self._chosen()
            case "json":
                return _json(self.text)
            case _:
                return self._checked(self.text)

    def _nothing(self) -> Any:
        if not self.required:
            return _LEFT_OUT
        if self.nullable:
            return None
        raise Wrong("this is needed")

    def _fitting(self, pattern: re.Pattern[str], wanted: str) -> str:
        text = self.text.strip()
        if not pattern.fullmatch(text):
            raise Wrong(f"this is not {wanted}")
        return text

    def _bounded(self, value: float) -> float:
        limits = {key: limit for key, _ in _BOUNDS if _is_number(limit := self.schema.get(key))}
        kept = (
            value >= limits.get("minimum", value)
            and value <= limits.get("maximum", value)
            and ("exclusiveMinimum" not in limits or value > limits["exclusiveMinimum"])
            and ("exclusiveMaximum" not in limits or value < limits["exclusiveMaximum"])
        )
        if not kept:
            raise Wrong(f"this has to be {', '.join(f'{words} {limits[key]}' for key, words in _BOUNDS if key in limits)}")
        return value

    def _checked(self, text: str) -> str:
        least, most = self.schema.get("minLength"), self.schema.get("maxLength")
        if _is_number(least) and len(text) < least:
            raise Wrong(f"this needs {least} characters or more" if text else "this is needed")
        if _is_number(most) and len(text) > most:
            raise Wrong(f"this may have {most} characters, and has {len(text)}")
        return text

    def _chosen(self) -> Any:
        if self.text not in dict(self.choices):
            raise Wrong("this is none of the choices")
        return json.loads(self.text)


def fields_of(schema: Json | None) -> tuple[Field, ...] | None:
    """The fields of a form for what a verb takes: () when it takes nothing, None when only JSON text can say it."""
    if schema is None or schema == {"type": "null"}:
        return ()
    whole = _resolved(schema, schema)
    properties = whole.get("properties")
    if whole.get("type") == "object" and isinstance(properties, dict):
        needed = whole.get("required")
        required = needed if isinstance(needed, list) else []
        fits = 0 < len(properties) <= MOST and all(name and name.isprintable() and len(name) <= LONGEST for name in properties)
        return tuple(_field(name, part, schema, required=name in required) for name, part in properties.items()) if fits else None
    one = _field("", schema, schema, required=True)
    return None if one.kind == "json" else (one,)


def typed(fields: tuple[Field, ...], given: Mapping[str, str]) -> tuple[Field, ...]:
    """The fields with what a form says of them, each with its error where it has one. A browser writes line breaks as CR LF."""
    return tuple(_judged(replace(field, text=given.get(PREFIX + field.name, "").replace("\r\n", "\n"))) for field in fields)


def payload_of(fields: tuple[Field, ...]) -> Any:
    """The payload that fields without errors say."""
    if len(fields) == 1 and not fields[0].name:
        only = fields[0].value()
        return None if only is _LEFT_OUT else only
    found = {field.name: field.value() for field in fields}
    return {name: value for name, value in found.items() if value is not _LEFT_OUT} if fields else None


def as_json(fields: tuple[Field, ...]) -> str:
    """What the fields say so far, as JSON text to go on with; what is no value of a field stays the text that it is."""
    if not fields:
        return ""
    rough = tuple(replace(field, kind="text", schema={}, required=bool(field.text)) if field.error else field for field in fields)
    return json.dumps(payload_of(rough), indent=2, ensure_ascii=False)


def filled(fields: tuple[Field, ...], payload: Any) -> tuple[Field, ...] | None:
    """The fields with the values of a payload; None for one that has something no field can show."""
    if len(fields) == 1 and not fields[0].name:
        return (replace(fields[0], text=_text(fields[0], payload)),)
    if not fields and payload is None:
        return ()
    if not isinstance(payload, dict) or not payload.keys() <= {field.name for field in fields}:
        return None
    return tuple(replace(field, text=_text(field, payload[field.name]) if field.name in payload else "") for field in fields)


def told(fields: tuple[Field, ...], verb: str, message: str) -> tuple[Field, ...]:
    """The fields, with an agent's refusal at the one it names: `verb: name: expected …`, as `ctx` and payloads word it."""
    return tuple(
        replace(field, error=field.error or message.partition(f"{verb}: ")[2])
        if re.search(rf"(?:^|\s){re.escape(verb)}: {re.escape(field.name or 'the payload')}(?=[:.\[])", message)
        else field
        for field in fields
    )


def example(schema: Json | None) -> str:
    """A payload to begin with as JSON text: the fields a JSON Schema asks for, with empty values of their types; "" for nothing."""
    if schema is None or schema in ({}, {"type": "null"}):
        return ""
    return json.dumps(_begun(schema, _DEEPEST), indent=2)


def _begun(schema: Any, deep: int) -> object:
    if not isinstance(schema, dict) or not deep:
        return None
    values, parts, required = schema.get("enum"), schema.get("properties"), schema.get("required")
    if "default" in schema or (isinstance(values, list) and values):
        return schema.get("default", values[0] if isinstance(values, list) and values else None)
    match schema.get("type"):
        case "object" if isinstance(parts, dict) and isinstance(required, list):
            return {name: _begun(part, deep - 1) for name, part in parts.items() if name in required}
        case "object":
            return {}
        case "array":
            return []
        case "string":
            return ""
        case "integer" | "number":
            return 0
        case "boolean":
            return False
    return None


def _field(name: str, part: Any, root: Json, *, required: bool) -> Field:
    schema = _resolved(part, root)
    nullable, schema = _nullable(schema, root)
    choices = _choices(schema)
    field = Field(name, _kind(schema, choices), required, nullable, schema, choices)
    if choices:
        free = not required or nullable
        words = "null" if required else "left out"
        field = replace(field, choices=(("", words), *choices) if free else choices, text="" if free else choices[0][0])
    return replace(field, text=_text(field, schema["default"])) if "default" in schema else field


def _resolved(part: Any, root: Json) -> Json:
    """A schema without references to the root's definitions; what goes round in a circle says nothing."""
    for _ in range(_DEEPEST):
        if not isinstance(part, dict):
            return {}
        others = part.get("allOf")
        reference = (
            others[0].get("$ref") if isinstance(others, list) and len(others) == 1 and isinstance(others[0], dict) else part.get("$ref")
        )
        if not isinstance(reference, str):
            return part
        own = {key: value for key, value in part.items() if key not in ("$ref", "allOf")}
        definitions = root.get("$defs")
        found = definitions.get(reference.removeprefix("#/$defs/")) if isinstance(definitions, dict) else None
        part = {**found, **own} if isinstance(found, dict) else own
    return {}


def _nullable(schema: Json, root: Json) -> tuple[bool, Json]:
    """Whether null is a value, and the schema of the others."""
    kinds, several = schema.get("type"), schema.get("anyOf")
    if isinstance(kinds, list) and "null" in kinds and len(kinds) == 2:  # noqa: PLR2004 null and one more
        return True, {**schema, "type": next((kind for kind in kinds if kind != "null"), "null")}
    if isinstance(several, list) and {"type": "null"} in several and len(several) == 2:  # noqa: PLR2004 the same
        (other,) = [part for part in several if part != {"type": "null"}] or [{}]
        own = {key: value for key, value in schema.items() if key != "anyOf"}
        return True, {**_resolved(other, root), **own}
    return False, schema


def _choices(schema: Json) -> tuple[tuple[str, str], ...]:
    values = schema.get("enum")
    if schema.get("type") == "boolean":
        values = [False, True]
    elif "const" in schema:
        values = [schema["const"]]
    if not isinstance(values, list) or not 0 < len(values) <= CHOICES:
        return ()
    return tuple((json.dumps(value), value if isinstance(value, str) and value else json.dumps(value)) for value in values)


def _kind(schema: Json, choices: tuple[tuple[str, str], ...]) -> Kind:
    if choices:
        return "choice"
    match schema.get("type"):
        case "integer":
            return "integer"
        case "number":
            return "number"
        case "string":
            most = schema.get("maxLength")
            return "text" if "format" in schema or (_is_number(most) and most <= LONGEST) else "long"
    return "json"


def _judged(field: Field) -> Field:
    try:
        field.value()
    except Wrong as error:
        return replace(field, error=str(error))
    return field


def _text(field: Field, value: Any) -> str:
    """What has to be typed for a value."""
    if value is None:
        return ""
    if field.kind in ("text", "long") and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=field.kind == "choice", indent=2 if field.kind == "json" else None)


def _number(text: str) -> float:
    """Whole ones stay whole: `5` is not sent as `5.0`."""
    value = int(text) if _INTEGER.fullmatch(text) else float(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong("this is too large")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"this is no JSON: {error}; text goes into quotes") from error


def _no_constant(name: str) -> None:
    msg = f"{name} is no number of JSON"
    raise ValueError(msg)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 as much as a line has room for


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
