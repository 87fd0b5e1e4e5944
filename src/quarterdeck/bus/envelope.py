"""What travels with every message: NATS headers around a body of JSON bytes, and the answers and errors that come back.

Pure: time and randomness are arguments. The subject, not the envelope, is the identity; `Envelope.sender` is only compared with it.

======================  =====================================================================
``Qd-Id``               32 hex digits, ordered by time (UUIDv7, RFC 9562)
``Qd-From``             ``cluster/agent-n``
``Qd-Schema``           ``1``, the version of this envelope
``Qd-Deadline``         epoch milliseconds after which nobody waits any more; absent = none
``traceparent``         W3C Trace Context, level 1
``Qd-Path``             the messages that led to this one, see `quarterdeck.model.loops`; absent = none
``Nats-Msg-Id``         durable messages only: nats-server drops a second one with the same id
``Qd-Status``           answers only: ``ok`` or ``error``
``Qd-Error``            error answers only: the kind, see `Answer`
======================  =====================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.bus.subjects import Sender
from quarterdeck.errors import QuarterdeckError, Terminal, Transient, UserError

Headers = Mapping[str, str]
SCHEMA: Final = "1"
HEADROOM: Final = 4096
"""Bytes kept for headers: nats-server counts them, and ends the connection of who sends more than its limit."""
MAX_PAYLOAD: Final = 1024 * 1024 - HEADROOM
"""Bytes of one body: the server's limit of 1 MiB less the headers."""
MAX_KEY: Final = 512
"""Characters of a key; it travels in a header."""
MAX_TEXT: Final = 2000
"""Characters of an error message that travel; the rest is in the log of the replica that failed."""
ID: Final = "Qd-Id"
FROM: Final = "Qd-From"
VERSION: Final = "Qd-Schema"
DEADLINE: Final = "Qd-Deadline"
TRACE: Final = "traceparent"
PATH: Final = "Qd-Path"
KEY: Final = "Nats-Msg-Id"
STATUS: Final = "Qd-Status"
ERROR: Final = "Qd-Error"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ID: Final = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_SENDER: Final = re.compile(r"([a-z0-9_-]+)/([a-z0-9_-]+)-([0-9]+)")


class NoAnswer(Transient):
    """Nobody answered an ask or took a durable message; `cause` says why.

    timeout, no_responders, lost, circuit_open, refused_by_stream or foreign_answer (not in our protocol).

    After `timeout` and `lost` the outcome is unknown: the other side may have done the work.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class RemoteError(QuarterdeckError):
    """The other side answered, with an error. `kind` is its word for it, `replica` the one that answered (`cluster/agent-n`).

    It is also a `Transient` or a `Terminal`, as the other side judged.
    """

    def __init__(self, message: str, *, kind: str, replica: str) -> None:
        super().__init__(f"{replica}: {message}")
        self.kind = kind
        self.replica = replica


class RemoteTransient(RemoteError, Transient):
    """The other side could not do it now."""


class RemoteTerminal(RemoteError, Terminal):
    """The other side will not do it, however often it is asked."""


def new_id(now: float, entropy: bytes) -> str:
    """A UUIDv7 as 32 hex digits (RFC 9562, section 5.7): `now` is epoch seconds, `entropy` ten random bytes.

    The twelve bits after the version carry the fraction of the millisecond (section 6.2, method 3): `sent_at` reads the time back.
    """
    milliseconds, fraction = divmod(int(now * 4_096_000), 4096)
    number = milliseconds << 80 | 0x7 << 76 | fraction << 64 | int.from_bytes(entropy[:8], "big")
    return f"{number & ~(0x3 << 62) | 0x2 << 62:032x}"


def sent_at(id_: str) -> float | None:
    """When whoever made this id made it, in epoch seconds, to a quarter of a microsecond; None when it is none of `new_id`."""
    if not _ID.fullmatch(id_):
        return None
    return (int(id_[:12], 16) * 4096 + int(id_[13:16], 16)) / 4_096_000


@dataclass(frozen=True, slots=True)
class Trace:
    """A place in a trace, as W3C Trace Context names it: 32 and 16 hex digits; `flags` is two (01 = sampled).

    `path` is the text of the messages that led here since something changed; it travels in a header of its own.
    """

    trace_id: str
    span_id: str
    flags: str = "01"
    path: str = ""

    @classmethod
    def begin(cls, entropy: bytes) -> Trace:
        """The first span of a new trace, from 24 random bytes."""
        return cls(entropy[:16].hex(), entropy[16:24].hex())

    @classmethod
    def read(cls, text: str) -> Trace | None:
        """Parse a `traceparent` header; None when it is absent or malformed, as the recommendation demands (a new trace is begun)."""
        found = _TRACEPARENT.match(text)
        if not found or text.startswith("ff") or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
            return None
        return cls(found[1], found[2], found[3])

    def child(self, entropy: bytes) -> Trace:
        """A new span of the same trace, from 8 random bytes."""
        return Trace(self.trace_id, entropy[:8].hex(), self.flags)

    def headers(self) -> dict[str, str]:
        """As it travels."""
        return {TRACE: str(self), PATH: self.path} if self.path else {TRACE: str(self)}

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def full_name(sender: Sender) -> str:
    """`cluster/agent-n`."""
    return f"{sender.cluster}/{sender.agent}-{sender.n}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Everything about a message but its subject and body. `deadline` is epoch seconds."""

    id: str
    sender: Sender
    deadline: float | None = None
    trace: Trace | None = None
    key: str | None = None

    def headers(self) -> dict[str, str]:
        """The NATS headers; `read` gives the same value back (the deadline to the millisecond)."""
        found = {ID: self.id, FROM: full_name(self.sender), VERSION: SCHEMA}
        if self.deadline is not None:
            found[DEADLINE] = str(round(self.deadline * 1000))
        if self.trace is not None:
            found |= self.trace.headers()
        if self.key is not None:
            found[KEY] = self.key
        return found

    @classmethod
    def read(cls, headers: Headers) -> Envelope:
        """Parse headers; raises ValueError with what is wrong."""
        if headers.get(VERSION) != SCHEMA:
            msg = f"{VERSION} is {headers.get(VERSION, 'missing')!r}, this version reads {SCHEMA!r}"
            raise ValueError(msg)
        sender = _SENDER.fullmatch(headers.get(FROM, ""))
        if not sender or not headers.get(ID):
            msg = f"{ID} and {FROM} are needed, {FROM} as cluster/agent-n"
            raise ValueError(msg)
        deadline = headers.get(DEADLINE)
        trace = Trace.read(headers.get(TRACE, ""))
        if trace is not None and (path := headers.get(PATH)):
            trace = replace(trace, path=path)
        return cls(
            id=headers[ID],
            sender=Sender(sender[1], sender[2], int(sender[3])),
            deadline=int(deadline) / 1000 if deadline else None,
            trace=trace,
            key=headers.get(KEY),
        )


def attempt(headers: Headers) -> str:
    """What both sides call one attempt at an ask: its id stays the same when it is tried again, its deadline does not."""
    return f"{headers.get(ID, '')}-{headers.get(DEADLINE, '')}"


@dataclass(frozen=True, slots=True)
class Ack:
    """A durable message is on disk. `duplicate`: it was there already, under the same key.

    `seq` is its place in the agent's stream, 0 while only the database has it; `message` its id there, empty for one that went straight
    to the stream.
    """

    stream: str
    seq: int
    duplicate: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a caller waits: `timeout` seconds in all (None: what the link allows), never past `until` (epoch seconds)."""

    timeout: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica answers. `kind` is empty for ok.

    Else it is one of our own words (envelope, forbidden, deadline, verb, payload, overloaded, draining, reply) or the class name of the
    handler's exception; `retry` says whether asking again may help. `final` stays here: delivering the message again is pointless.
    """

    body: bytes
    kind: str = ""
    message: str = ""
    retry: bool = False
    replica: str = ""
    final: bool = False

    @property
    def ok(self) -> bool:
        """Whether the handler succeeded."""
        return not self.kind

    def headers(self) -> dict[str, str]:
        """The NATS headers of the answer."""
        return {STATUS: "ok"} if self.ok else {STATUS: "error", ERROR: self.kind}

    def content(self) -> bytes:
        """The body of the answer: the handler's result, or what went wrong. Never a traceback: that stays in the replica's log."""
        if self.ok:
            return self.body
        return json.dumps({"message": self.message[:MAX_TEXT], "retry": self.retry, "replica": self.replica}).encode()


def refusal(kind: str, message: str, replica: str, *, retry: bool = False, final: bool = False) -> Answer:
    """An error answer."""
    return Answer(b"", kind, message, retry, replica, final)


def result(headers: Headers, body: bytes) -> bytes:
    """The body of an ok answer; raises RemoteTransient or RemoteTerminal for an error one, NoAnswer for something that is no answer."""
    status = headers.get(STATUS)
    if status == "ok":
        return body
    try:
        detail = json.loads(body) if status == "error" else {}
        error = RemoteTransient if detail["retry"] else RemoteTerminal
        message, replica = str(detail["message"]), str(detail["replica"])
    except (ValueError, KeyError, TypeError):
        msg = f"the other side did not answer in this protocol ({STATUS} is {status!r})"
        raise NoAnswer(msg, cause="foreign_answer") from None
    raise error(message, kind=headers.get(ERROR, "unknown"), replica=replica)


def check_key(key: str) -> None:
    """Refuse a key that would not fit a header; raises UserError."""
    if len(key) > MAX_KEY or not key.isprintable():
        msg = f"a key has at most {MAX_KEY} printable characters, this one has {len(key)}"
        raise UserError(msg, hint="use a digest of it")


def check_size(body: bytes, what: str, most: int = MAX_PAYLOAD) -> None:
    """Refuse a body that the bus would not carry; raises UserError before anything is sent."""
    if len(body) > most:
        msg = f"{what} is {len(body):,} bytes; one message carries at most {most:,}"
        raise UserError(msg, hint="send a reference to the data (a path, a key), or split it")
