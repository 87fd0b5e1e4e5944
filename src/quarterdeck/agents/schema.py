"""JSON Schema (draft 2020-12) of payload types: for people, forms and tools, not for checking; payload.py checks.

Every type that payload.py decodes is described; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final, get_args, get_origin

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", None: "null"}
_FORMATS: Final[dict[str, dict[str, object]]] = {"UUID": {"type": "string", "format": "uuid"}, "Decimal": {"type": ["string", "number"]}}
_DEEPEST: Final = 6
"""Levels that are described; types may contain themselves."""
_DEFINITIONS: Final = "#/$defs/"


def schema(wanted: Any) -> dict[str, object]:
    """The schema of a type; `{}` (anything) for what it cannot say more about. Raises what a type of the user's raises that is asked."""
    definitions: dict[str, object] = {}
    found = _described(wanted, 0, definitions)
    return {**found, "$defs": definitions} if definitions else found


def _described(wanted: Any, depth: int, definitions: dict[str, object]) -> dict[str, object]:
    origin, args = get_origin(wanted), get_args(wanted)
    if depth > _DEEPEST:
        return {}
    if wanted in _SCALARS:
        return {"type": _SCALARS[wanted]}
    if isinstance(wanted, typing.NewType):
        return _described(wanted.__supertype__, depth, definitions)
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_described(arg, depth + 1, definitions) for arg in args]}
    if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.Final):
        return _described(args[0], depth, definitions)
    if origin is not None or wanted in (list, dict, tuple, set, frozenset):
        return _container(origin or wanted, args, depth + 1, definitions)
    return _class(wanted, depth, definitions) if isinstance(wanted, type) else {}


def _container(kind: Any, args: tuple[Any, ...], depth: int, definitions: dict[str, object]) -> dict[str, object]:
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": _described(args[1], depth, definitions) if args else True}
    if kind is tuple and args and args[-1] is not Ellipsis:
        each = [_described(arg, depth, definitions) for arg in args]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}
    return {"type": "array", "items": _described(args[0], depth, definitions) if args else {}}


def _class(wanted: type, depth: int, definitions: dict[str, object]) -> dict[str, object]:
    if typing.is_typeddict(wanted):
        return _object(wanted, sorted(wanted.__required_keys__), depth, definitions)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(wanted):
        missing = dataclasses.MISSING
        required = [f.name for f in dataclasses.fields(wanted) if f.init and f.default is missing and f.default_factory is missing]
        return _with_defaults(_object(wanted, required, depth, definitions), wanted)
    if hasattr(wanted, "model_json_schema"):
        return _foreign(wanted.__name__, wanted.model_json_schema(), definitions)
    if hasattr(wanted, "__struct_fields__"):
        return _foreign(wanted.__name__, sys.modules["msgspec"].json.schema(wanted), definitions)
    return _value(wanted)


def _value(wanted: type) -> dict[str, object]:
    """Types whose JSON form is one value."""
    if issubclass(wanted, enum.Enum):
        return {"title": wanted.__name__, "enum": [one.value for one in wanted]}
    if issubclass(wanted, bytes):
        return {"type": "string", "contentEncoding": "base64"}
    if issubclass(wanted, date):
        return {"type": "string", "format": "date-time" if issubclass(wanted, datetime) else "date"}
    if wanted in (object, Any):
        return {}
    return dict(_FORMATS.get(wanted.__name__, {"type": "string", "title": wanted.__name__}))


def _object(wanted: type, required: list[str], depth: int, definitions: dict[str, object]) -> dict[str, object]:
    """The fields that are read from a payload: a dataclass also has those that it computes."""
    taken = {f.name for f in dataclasses.fields(wanted) if f.init} if dataclasses.is_dataclass(wanted) else None
    hints = {name: hint for name, hint in typing.get_type_hints(wanted).items() if taken is None or name in taken}
    properties = {name: _described(hint, depth + 1, definitions) for name, hint in hints.items()}
    return {"type": "object", "title": wanted.__name__, "properties": properties, "required": required}


def _with_defaults(found: dict[str, Any], wanted: Any) -> dict[str, object]:
    """Forms show them. Only plain values: others have their JSON form from payload.py, which a schema does not ask."""
    plain = {f.name: f.default for f in dataclasses.fields(wanted) if f.init and (f.default is None or type(f.default) in _SCALARS)}
    properties = {name: {**part, "default": plain[name]} if name in plain else part for name, part in found["properties"].items()}
    return {**found, "properties": properties}


def _foreign(name: str, made: dict[str, Any], definitions: dict[str, object]) -> dict[str, object]:
    """A schema that a library made, inside of ours: what it refers to moves to our root, under names that no other type's can meet."""
    own = made.pop("$defs", {})
    definitions |= {f"{name}.{inner}": _renamed(one, name) for inner, one in own.items()}
    return dict(_renamed(made, name))


def _renamed(part: Any, name: str) -> Any:
    if isinstance(part, list):
        return [_renamed(one, name) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: _reference(one, name) if key == "$ref" else _renamed(one, name) for key, one in part.items()}


def _reference(text: Any, name: str) -> Any:
    ours = isinstance(text, str) and text.startswith(_DEFINITIONS)
    return f"{_DEFINITIONS}{name}.{text.removeprefix(_DEFINITIONS)}" if ours else text
