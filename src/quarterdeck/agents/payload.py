"""Payloads between JSON and the types of a handler: decoding with a check, and encoding.

Understood: dataclasses, TypedDict, Enum, Literal, unions, list, dict, tuple, set, the JSON types, bytes (base64), datetime, date, UUID,
Decimal, Path; and, without importing their libraries, msgspec structs and pydantic models. Unknown fields are ignored, so that old and
new revisions can talk during a rollout; missing and wrong ones are refused with their path.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, Final, get_args, get_origin

from quarterdeck.errors import UserError
from quarterdeck.model.work import MOST_BODY

Decode = Callable[[Any, str], Any]
"""From a JSON value and the path to it, to the wanted value; raises PayloadError."""
_BY_NAME: Final = {("uuid", "UUID"), ("decimal", "Decimal"), ("pathlib", "Path"), ("pathlib", "PurePath"), ("pathlib._local", "Path")}
_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class PayloadError(UserError):
    """A payload that does not fit the type the handler takes; the message names the place in it."""


def encode(value: object) -> bytes:
    """JSON in UTF-8 without spaces; raises PayloadError for what JSON cannot say (NaN and infinities too)."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"a {type(value).__name__} cannot be sent as JSON: {error}"
        raise PayloadError(msg) from error


def body(value: object, what: str, most: int = MOST_BODY) -> str:
    """JSON text; raises UserError for what JSON cannot say, and for too much of it. `Line.body` has room for more."""
    found = encode(value)
    if len(found) > most:
        raise UserError(f"{what} is {len(found):,} bytes; at most {most:,} are kept", hint="keep it in a file and pass its name")
    return found.decode()


def loads(body: bytes) -> Any:
    """The JSON value of a body, an empty one being null; raises PayloadError."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError) as error:
        msg = f"the payload is not JSON: {error}"
        raise PayloadError(msg) from error


def decode(value: Any, wanted: Any) -> Any:
    """`value` (a JSON value) as an instance of the type `wanted`; raises PayloadError."""
    return decoder(wanted)(value, "")


def check(wanted: Any, seen: set[Any] | None = None) -> None:
    """Make the decoders of a type and of all it contains now; raises UserError or NameError for what cannot be decoded."""
    known = set() if seen is None else seen
    if wanted in known:
        return
    known.add(wanted)
    decoder(wanted)
    own = wanted if isinstance(wanted, type) and (dataclasses.is_dataclass(wanted) or typing.is_typeddict(wanted)) else None
    inner = typing.get_type_hints(own).values() if own else () if get_origin(wanted) is typing.Literal else get_args(wanted)
    for part in inner:
        if part is not Ellipsis and get_origin(part) is not typing.ClassVar:
            check(part, known)


@cache
def decoder(wanted: Any) -> Decode:
    """The decoder of a type, made once; raises UserError for a type that cannot come out of JSON."""
    origin, args = get_origin(wanted), get_args(wanted)
    if wanted is Any or wanted is object:
        return lambda value, _: value
    if wanted in _SCALARS:
        return _scalar(wanted)
    if wanted is None:
        return _scalar(type(None))
    if isinstance(wanted, typing.NewType):
        return decoder(wanted.__supertype__)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.Final):
        return decoder(args[0])
    if origin is typing.Literal:
        return _literal(args)
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is not None or wanted in (list, dict, tuple, set, frozenset):
        return _container(origin or wanted, args)
    if isinstance(wanted, type):
        return _class(wanted)
    msg = f"{wanted!r} cannot be the type of a payload"
    raise UserError(msg, hint="use a dataclass, a TypedDict, dict, list, str, int, float or bool")


def _plain(value: object) -> object:
    """The JSON form of one value json does not know; raises TypeError."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "__struct_fields__"):
        return sys.modules["msgspec"].to_builtins(value)
    if any((base.__module__, base.__name__) in _BY_NAME for base in type(value).__mro__):
        return str(value)
    raise TypeError(type(value).__name__)


def _wrong(path: str, wanted: str, value: object) -> PayloadError:
    found = "null" if value is None else f"{type(value).__name__} {value!r}"
    return PayloadError(f"{path or 'the payload'}: expected {wanted}, got {found if len(found) <= 80 else found[:77] + '...'}")  # noqa: PLR2004


def _scalar(wanted: type) -> Decode:
    accepted: Any = (int, float) if wanted is float else wanted
    name = _SCALARS[wanted]

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool):
            raise _wrong(path, name, value)
        return float(value) if wanted is float else value

    return read


def _literal(allowed: tuple[object, ...]) -> Decode:
    def read(value: Any, path: str) -> Any:
        for one in allowed:
            if value == one and type(value) is type(one):
                return value
        raise _wrong(path, "one of " + ", ".join(map(repr, allowed)), value)

    return read


def _union(args: tuple[Any, ...]) -> Decode:
    options = [decoder(arg) for arg in args]

    def read(value: Any, path: str) -> Any:
        problems = []
        for option in options:
            try:
                return option(value, path)
            except PayloadError as error:
                problems.append(error.message)
        raise PayloadError(max(problems, key=lambda text: text.count(".") + text.count("[")))  # the one that got deepest

    return read


def _container(kind: Any, args: tuple[Any, ...]) -> Decode:
    if kind in (dict, Mapping) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        return _dict(decoder(args[1]) if args else decoder(Any))
    if kind is tuple and args and args[-1] is not Ellipsis:
        return _fixed([decoder(arg) for arg in args])
    item = decoder(args[0]) if args else decoder(Any)
    build: Callable[[Any], Any] = {tuple: tuple, set: set, frozenset: frozenset}.get(kind, list)
    if not (isinstance(kind, type) and issubclass(kind, (Sequence, set, frozenset, typing.Collection))):
        msg = f"{kind!r} cannot be the type of a payload"
        raise UserError(msg, hint="use list, dict, tuple or set")

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(path, "array", value)
        return build([item(one, f"{path}[{index}]") for index, one in enumerate(value)])

    return read


def _dict(item: Decode) -> Decode:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(path, "object", value)
        return {key: item(one, f"{path}.{key}" if path else key) for key, one in value.items()}

    return read


def _fixed(items: list[Decode]) -> Decode:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list) or len(value) != len(items):
            raise _wrong(path, f"array of {len(items)}", value)
        return tuple(item(one, f"{path}[{index}]") for index, (item, one) in enumerate(zip(items, value, strict=True)))

    return read


def _class(wanted: type) -> Decode:
    if dataclasses.is_dataclass(wanted):
        return _fields(wanted, _required_of_dataclass(wanted), {f.name for f in dataclasses.fields(wanted) if f.init})
    if typing.is_typeddict(wanted):
        return _fields(wanted, wanted.__required_keys__, None)  # type: ignore[attr-defined]
    if hasattr(wanted, "model_validate"):
        return _converted(wanted, wanted.model_validate)
    if hasattr(wanted, "__struct_fields__"):
        return _converted(wanted, lambda value: sys.modules["msgspec"].convert(value, wanted))
    if issubclass(wanted, bytes):
        return _converted(wanted, lambda value: base64.b64decode(value, validate=True))
    if issubclass(wanted, date):
        parse = datetime.fromisoformat if issubclass(wanted, datetime) else date.fromisoformat
        return _converted(wanted, parse)
    if issubclass(wanted, enum.Enum) or (wanted.__module__, wanted.__name__) in _BY_NAME:
        return _converted(wanted, wanted)
    msg = f"{wanted.__qualname__} cannot be the type of a payload"
    raise UserError(msg, hint=f"make {wanted.__name__} a dataclass or a TypedDict")


def _required_of_dataclass(wanted: Any) -> frozenset[str]:
    missing = dataclasses.MISSING
    return frozenset(f.name for f in dataclasses.fields(wanted) if f.init and f.default is missing and f.default_factory is missing)


def _fields(wanted: type, required: frozenset[str], known: set[str] | None) -> Decode:
    """Objects with named fields; their decoders are made at first use, so that a type may contain itself."""
    build: Callable[..., Any] = dict if known is None else wanted

    @cache
    def decoders() -> dict[str, Decode]:
        hints = typing.get_type_hints(wanted)
        return {name: decoder(hint) for name, hint in hints.items() if known is None or name in known}

    def read(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(path, f"object ({wanted.__name__})", value)
        missing = sorted(required - value.keys())
        if missing:
            msg = f"{path or 'the payload'}: {wanted.__name__} needs {', '.join(missing)}"
            raise PayloadError(msg)
        prefix = f"{path}." if path else ""
        found = {name: read_one(value[name], prefix + name) for name, read_one in decoders().items() if name in value}
        return _built(lambda: build(**found), path)

    return read


def _converted(wanted: type, convert: Callable[[Any], Any]) -> Decode:
    def read(value: Any, path: str) -> Any:
        try:
            return convert(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            first = str(error).partition("\n")[0]
            raise _wrong(path, f"{wanted.__name__} ({first})" if first else wanted.__name__, value) from error

    return read


def _built(build: Callable[[], Any], path: str) -> Any:
    """A constructor's own check (`__post_init__`) is a check of the payload."""
    try:
        return build()
    except (ValueError, TypeError) as error:
        msg = f"{path or 'the payload'}: {error}"
        raise PayloadError(msg) from error
