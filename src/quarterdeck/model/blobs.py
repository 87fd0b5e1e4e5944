"""Bodies too large for a row or a message: files that are named by their content, and what replicas say when they put and get them.

A body (payload, result, step's or effect's value) is JSON text, or `@` and the name of such a file. No JSON begins so: a value can neither
be taken for a reference nor pretend to be one.

A request is a line of JSON and, for a put, bytes behind it: `{"put": name, "at": offset}` or `{"get": name, "at": offset}`. The answer to
a put is `{"have": bytes}`, from where to go on, whatever was sent; to a get `{}` and bytes behind it; or `{"error": …}` as the ledger says
it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from quarterdeck.errors import NotFound, UserError

MOST_BLOB: Final = 64 * 1024 * 1024
"""Bytes of one of them."""
PIECE: Final = 256 * 1024
"""Bytes that travel at once over the bus."""
TRANSFERS: Final = 4
"""Of one replica at the same time."""
_MARK: Final = "@"
_NAME: Final = re.compile(r"sha256:([0-9a-f]{64}):([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Ref:
    """Which content, and how many bytes it has."""

    digest: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Ref:
        """The content's own."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    @classmethod
    def read(cls, name: str) -> Ref:
        """From its name; raises UserError for what is none."""
        found = _NAME.fullmatch(name)
        if found is None or int(found[2]) > MOST_BLOB:
            raise UserError(f"{name[:100]!r} names no blob", hint=f"sha256:<64 hex digits>:<bytes>, at most {MOST_BLOB:,}")
        return cls(found[1], int(found[2]))

    @classmethod
    def in_body(cls, body: str) -> Ref | None:
        """What a body refers to; None for JSON text. Raises UserError for neither."""
        return cls.read(body[1:]) if body.startswith(_MARK) else None

    def __str__(self) -> str:
        return f"sha256:{self.digest}:{self.size}"

    @property
    def body(self) -> str:
        """In place of the JSON text."""
        return f"{_MARK}{self}"


Use = Callable[[str, Ref], None]
"""(system, ref): somebody is about to refer to it, it must stay. Raises NotFound when it is not there."""


def nowhere(system: str, ref: Ref) -> None:
    """`Use` where nothing is kept."""
    raise NotFound(f"there is no blob {ref} in {system}", hint="put it first, and use what the answer calls it")


def told(body: str) -> list[object]:
    """What a body says, for a digest: equal for equal values, and by reference for the same bytes. Raises UserError for neither."""
    ref = Ref.in_body(body)
    return [json.loads(body)] if ref is None else [None, str(ref)]


@dataclass(frozen=True, slots=True)
class Put:
    """These are its bytes from `at` on."""

    ref: Ref
    at: int
    piece: bytes = b""


@dataclass(frozen=True, slots=True)
class Get:
    """Some of its bytes from `at` on, please."""

    ref: Ref
    at: int


def pack(asked: Put | Get) -> bytes:
    """As it travels."""
    if isinstance(asked, Put):
        return head({"put": str(asked.ref), "at": asked.at}, asked.piece)
    return head({"get": str(asked.ref), "at": asked.at})


def unpack(request: bytes) -> Put | Get:
    """What a request asks for; raises UserError for what is none."""
    try:
        said, piece = split(request)
        name, at = said.get("put", said.get("get")), said["at"]
    except (ValueError, KeyError, AttributeError, RecursionError):
        raise _malformed() from None
    if not isinstance(name, str) or type(at) is not int or len(piece) > PIECE:
        raise _malformed()
    ref = Ref.read(name)
    if not 0 <= at <= ref.size:
        raise _malformed()
    return Put(ref, at, piece) if "put" in said else Get(ref, at)


def head(said: dict[str, Any], rest: bytes = b"") -> bytes:
    """A line of JSON and bytes behind it."""
    return json.dumps(said, separators=(",", ":")).encode() + b"\n" + rest


def split(message: bytes) -> tuple[Any, bytes]:
    """The opposite of `head`; raises ValueError."""
    line, _, rest = message.partition(b"\n")
    return json.loads(line), rest


def _malformed() -> UserError:
    hint = "replicas put and get blobs through the SDK of this version alone"
    return UserError(f"a request puts or gets up to {PIECE:,} bytes of a blob", hint=hint)
