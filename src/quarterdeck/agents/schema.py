"""JSON Schema (draft 2020-12) of payload types, for `_describe`: for people and tools, not for checking; payload.py checks."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_DEEPEST: Final = 6
"""Levels that are described; types may contain themselves."""


def schema(wanted: Any, depth: int = 0) -> dict[str, object]:
    """The schema of a type; `{}` (anything) for what it cannot say more about."""
    origin, args = get_origin(wanted), get_args(wanted)
    if depth > _DEEPEST:
        return {}
    if wanted in _SCALARS:
        return {"type": _SCALARS[wanted]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema(arg, depth + 1) for arg in args]}
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return schema(args[0], depth)
    if wanted is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {"type": "object", "additionalProperties": schema(args[1], depth + 1) if args else True}
    if origin is not None or wanted in (list, tuple, set, frozenset):
        return {"type": "array", "items": schema(args[0], depth + 1) if args else {}}
    return _class(wanted, depth) if isinstance(wanted, type) else {}


def _class(wanted: type, depth: int) -> dict[str, object]:
    if typing.is_typeddict(wanted):
        return _object(wanted, sorted(wanted.__required_keys__), depth)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(wanted):
        missing = dataclasses.MISSING
        required = [f.name for f in dataclasses.fields(wanted) if f.init and f.default is missing and f.default_factory is missing]
        return _object(wanted, required, depth)
    if issubclass(wanted, enum.Enum):
        return {"title": wanted.__name__, "enum": [one.value for one in wanted]}
    if hasattr(wanted, "model_json_schema"):
        return dict(wanted.model_json_schema())
    return {} if wanted in (object, Any) else {"type": "string", "title": wanted.__name__}


def _object(wanted: type, required: list[str], depth: int) -> dict[str, object]:
    hints = typing.get_type_hints(wanted)
    properties = {name: schema(hint, depth + 1) for name, hint in hints.items()}
    return {"type": "object", "title": wanted.__name__, "properties": properties, "required": required}
