"""Reads what replicas ask of the ledger. They are other people's code: nothing in a request is believed before it was looked at here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

from quarterdeck.errors import QuarterdeckError, Transient, UserError
from quarterdeck.model.blobs import Ref
from quarterdeck.model.ops import (
    MOST,
    MOST_BODY,
    MOST_ERROR,
    MOST_HELD,
    MOST_KEY,
    MOST_OUTPUT,
    WORDS,
    AskHuman,
    AskOpen,
    Finish,
    Op,
    Step,
    WaitKind,
    WaitOpen,
)
from quarterdeck.model.records import storable
from quarterdeck.model.work import SEMANTICS, BudgetExceeded

_LIMITS: Final = {
    "name": MOST_KEY,
    "key": MOST_KEY,
    "lane": MOST_KEY,
    "to": 200,
    "sender": 200,
    "code": 100,
    "arguments": 100,
    "id": 64,
    "message": 64,
    "verb": 63,
    "task": 26,
    "path": 1500,
}
MOST_HEADERS: Final = 20
_MOST_NUMBER: Final = 1e300
"""Beyond it float has no name for a whole number, and NaN is not below it."""
MOST_NESTED: Final = 200
"""Levels of a JSON value."""
T = TypeVar("T")


def malformed(message: str) -> UserError:
    """A request that is not in our protocol: the fault of whatever speaks in place of the SDK."""
    return UserError(message, hint="replicas speak to the ledger through the SDK of this version alone")


def unpack(body: bytes) -> list[Op]:
    """The operations of a request; raises UserError with the place of what is wrong."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the request is not JSON: {error}") from error
    listed = found.get("ops") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST:
        raise malformed(f"a request has a list of 1 to {MOST} ops")
    return [_op(entry, f"ops[{n}]") for n, entry in enumerate(listed)]


def _op(entry: object, where: str) -> Op:
    match entry:
        case [str() as word, dict() as values] if word in WORDS:
            kind = WORDS[word]
        case _:
            raise malformed(f"{where} is not [word, fields] with a word this version knows")
    readers = _READERS[kind]
    unknown = set(values) - set(readers)
    missing = {f.name for f in fields(kind) if f.name not in values and (f.default, f.default_factory) == (MISSING, MISSING)}
    if unknown or missing:
        raise malformed(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)}")
    return kind(**{name: readers[name](value, f"{where}.{name}") for name, value in values.items()})


def _text(limit: int) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or len(value) > limit:
            raise malformed(f"{where} is a text of at most {limit} characters")
        return storable(value)

    return read


def _body(value: object, where: str) -> str:
    if isinstance(value, str) and Ref.in_body(value) is not None:
        return value
    return _json_text(value, where)


def _json_text(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > MOST_BODY:
        raise malformed(f"{where} is JSON text of at most {MOST_BODY:,} bytes")
    try:
        found = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(f"{where} is not JSON: {error}") from error
    if value.count("[") + value.count("{") > MOST_NESTED and _deeper(found, MOST_NESTED):
        raise malformed(f"{where} is nested more than {MOST_NESTED} deep")
    return storable(value)


def _deeper(value: object, most: int) -> bool:
    """Whether a value has more levels than that: whoever writes it out again goes down into them."""
    level = [value]
    for _ in range(most):
        level = [one for each in level if isinstance(each, list | dict) for one in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return False
    return any(isinstance(each, list | dict) for each in level)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**53) < value < 2**53:
        raise malformed(f"{where} is a whole number")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -_MOST_NUMBER <= value <= _MOST_NUMBER:
        raise malformed(f"{where} is a number")
    return float(value)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise malformed(f"{where} is true or false")
    return value


def _maybe(read: Callable[[object, str], T]) -> Callable[[object, str], T | None]:
    return lambda value, where: None if value is None else read(value, where)


def _list(read: Callable[[object, str], T]) -> Callable[[object, str], tuple[T, ...]]:
    def every(value: object, where: str) -> tuple[T, ...]:
        if not isinstance(value, list) or len(value) > MOST_HELD:
            raise malformed(f"{where} is a list of at most {MOST_HELD}")
        return tuple(read(one, f"{where}[{n}]") for n, one in enumerate(value))

    return every


def _held(value: object, where: str) -> tuple[str, int]:
    match value:
        case [str() as task, fence]:
            return _text(26)(task, where), _whole(fence, where)
        case _:
            raise malformed(f"{where} is [task, fence]")


def _far(value: object, where: str) -> tuple[str, float, str]:
    match value:
        case [str() as task, (int() | float()) as fraction, str() as text]:
            return _text(26)(task, where), min(1.0, max(0.0, _number(fraction, where))), _text(MOST_KEY)(text, where)
        case _:
            raise malformed(f"{where} is [task, fraction, text]")


def _piece(value: object, where: str) -> str:
    found: str = _json_text(value, where)
    if len(found.encode()) > MOST_OUTPUT:
        raise malformed(f"{where} is at most {MOST_OUTPUT:,} bytes")
    return found


def _amounts(value: object, where: str) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > len(WORDS):
        raise malformed(f"{where} is an object of numbers")
    return {_text(20)(name, where): _number(amount, f"{where}.{name}") for name, amount in value.items()}


def _semantics(value: object, where: str) -> str:
    if value not in SEMANTICS:
        raise malformed(f"{where} is one of {', '.join(SEMANTICS)}")
    return str(value)


def _outcome(value: object, where: str) -> str:
    if value not in ("done", "failed", "unknown"):
        raise malformed(f"{where} is one of done, failed, unknown")
    return str(value)


def _headers(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_HEADERS:
        raise malformed(f"{where} is an object of at most {MOST_HEADERS} texts")
    return {_text(MOST_KEY)(name, where): _text(MOST_ERROR)(text, f"{where}.{name}") for name, text in value.items()}


def _ask(value: object, where: str) -> AskOpen:
    match value:
        case [str() as name, str() as verb, (int() | float()) as since, bool() as held]:
            return _text(MOST_KEY)(name, where), _text(63)(verb, where), _number(since, where), held
        case _:
            raise malformed(f"{where} is [id, verb, since, held]")


def _wait(value: object, where: str) -> WaitOpen:
    match value:
        case [str() as waiter, ("task" | "ask" | "message") as kind, str() as verb, str() as on, str() as how, str() as to, since]:
            if how not in get_args(WaitKind):
                raise malformed(f"{where} waits in no way this version knows")
            who = _text(MOST_KEY)(waiter, where), kind, _text(63)(verb, where), _text(MOST_KEY)(on, where)
            return *who, cast("WaitKind", how), _text(200)(to, where), _number(since, where)
        case _:
            raise malformed(f"{where} is [waiter, kind, verb, on, how, to, since]")


_BY_NAME: Final[dict[str, Callable[[object, str], Any]]] = {
    "headers": _headers,
    "body": _text(MOST_BODY),
    "payload": _body,
    "result": _body,
    "semantics": _semantics,
    "outcome": _outcome,
    "budget": _amounts,
    "amounts": _amounts,
    "values": _list(_piece),
    "asks": _list(_ask),
    "waits": _list(_wait),
}
_BY_TYPE: Final[dict[object, Callable[[object, str], Any]]] = {
    int: _whole,
    bool: _flag,
    float: _number,
    int | None: _maybe(_whole),
    float | None: _maybe(_number),
    tuple[str, ...]: _list(_text(MOST_KEY)),
    tuple[tuple[str, int], ...]: _list(_held),
    tuple[tuple[str, float, str], ...]: _list(_far),
}


def _reader(kind: type[Op], name: str, hint: object) -> Callable[[object, str], Any]:
    if kind is AskHuman and name == "arguments":
        return _piece
    if kind in (Step, Finish) and name == "value":
        return _body if kind is Step else _maybe(_body)
    if name in _BY_NAME:
        return _BY_NAME[name]
    text = _text(_LIMITS.get(name, MOST_ERROR))
    return {**_BY_TYPE, str: text, str | None: _maybe(text)}[hint]


_READERS: Final = {kind: {name: _reader(kind, name, hint) for name, hint in get_type_hints(kind).items()} for kind in WORDS.values()}


def told(error: QuarterdeckError) -> dict[str, object]:
    """An error as replicas read it; `agents.line.raised` is the opposite."""
    said = {
        "kind": type(error).__name__,
        "message": error.message[:MOST_ERROR],
        "hint": error.hint,
        "again": isinstance(error, Transient),
    }
    return {**said, "budget": [error.kind, error.account]} if isinstance(error, BudgetExceeded) else said
