"""Proofs by doing: an acknowledged write, a round trip over a link, and a forbidden path that is tried with all rights and refused.

A probe that could not have failed proves nothing: the listener of a forbidden path is heard first to hear at all.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quarterdeck.bus import streams, subjects
from quarterdeck.bus.connection import Connection, Unanswered
from quarterdeck.bus.subjects import Sender
from quarterdeck.clock import Clock
from quarterdeck.errors import Transient

if TYPE_CHECKING:
    from nats.aio.msg import Msg

SUBJECT: Final = "qd.probe"
_STREAM: Final = "QD_PROBE"
STREAM_API: Final = (f"$JS.API.STREAM.CREATE.{_STREAM}", f"$JS.API.STREAM.INFO.{_STREAM}")
_AGENT: Final = "qd-probe"
_PATIENCE: Final = 2.0
_SILENCE: Final = 0.25
"""Seconds after which a message on a path inside one server, which takes under a millisecond, is not coming."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answered, and after how many milliseconds."""

    data: bytes
    headers: Mapping[str, str]
    ms: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Whether a forbidden path was refused, and the evidence for it."""

    refused: bool
    reason: str


async def publish_and_ack(ask: streams.Requests, clock: Clock) -> float:
    """Milliseconds of one durable message. The stream is made when it is not there: it holds nothing of value."""
    shape = {"name": _STREAM, "subjects": [SUBJECT], "storage": "file", "max_msgs": 1, "max_bytes": 64 * 1024, "discard": "old"}
    if await streams.call(ask, f"STREAM.INFO.{_STREAM}") is None:
        await streams.call(ask, f"STREAM.CREATE.{_STREAM}", shape)
    started = clock.monotonic()
    await ask(SUBJECT, b"")
    return (clock.monotonic() - started) * 1000


async def ask(
    connection: Connection, subject: str, payload: bytes, told: str = "", *, headers: Mapping[str, str], within: float, clock: Clock
) -> Answer:
    """One request with a limit in seconds; raises Transient with the reason when nobody answered, who is `told` so, else the subject."""
    started = clock.monotonic()
    try:
        message = await connection.request(subject, payload, dict(headers), within)
    except Unanswered as error:
        reason = {"no_responders": "nobody listens", "timeout": f"no answer within {within:g} s", "lost": "the bus was lost"}
        raise Transient(f"{told or subject}: {reason[error.failure]}") from error
    return Answer(bytes(message.data), dict(message.headers or {}), (clock.monotonic() - started) * 1000)


def link_subject(source: str, target: str) -> str:
    """A subject nobody else uses, on which `source` may reach `target` if there is a link."""
    return subjects.subject("ask", Sender(source, _AGENT, 0), target, _AGENT, uuid.uuid4().hex)


async def round_trip(here: Connection, there: Connection, subject: str, inner: str, clock: Clock) -> float:
    """Milliseconds from `here` on `subject` to a listener `there` on `inner` and back."""

    async def answer(message: Msg) -> None:
        await message.respond(b"{}")

    await there.listen(inner, answer)
    await there.flush()
    return (await ask(here, subject, b"{}", headers={}, within=_PATIENCE, clock=clock)).ms


async def forbidden(here: Connection, there: Connection, system: str, source: str, target: str) -> Refusal:
    """Try every form of subject that could lead from `here` to `there`. Raises Transient when the listener hears nothing at all."""
    nonce = uuid.uuid4().hex
    heard: asyncio.Queue[str] = asyncio.Queue(100)

    async def hear(message: Msg) -> None:
        heard.put_nowait(message.subject)

    for tokens in range(1, 10):
        await there.listen(".".join(["*"] * tokens + [nonce]), hear)
    await there.flush()
    await there.send(f"ask.{target}.{_AGENT}.0.{_AGENT}.{nonce}")
    try:
        await asyncio.wait_for(heard.get(), _PATIENCE)
    except TimeoutError:
        raise Transient(f"the listener in {target} is deaf: nothing is proven about {source}") from None
    tried = _ways(system, source, target, nonce)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome(here, subject)) for subject in tried]
    outcomes = [task.result() for task in tasks]
    answered = [subject for subject, outcome in zip(tried, outcomes, strict=True) if outcome == "answered"]
    arrived = [] if heard.empty() else [heard.get_nowait()]
    if answered or arrived:
        return Refusal(refused=False, reason=f"{source} reached {target} on {(arrived or answered)[0]}")
    return Refusal(refused=True, reason=f"{len(tried)} of {len(tried)} subjects refused ({', '.join(sorted(set(outcomes)))})")


def _ways(system: str, source: str, target: str, nonce: str) -> tuple[str, ...]:
    """In its own name, in the target's, in the control plane's; through an import, without one, through the control plane's."""
    speakers = (source, target, subjects.PLATFORM)
    inner = [f"{kind}.{speaker}.{_AGENT}.0.{_AGENT}.{nonce}" for kind in ("ask", "in") for speaker in speakers]
    return tuple(f"{prefix}{subject}" for prefix in (f"to.{target}.", f"to.{system}.{target}.", "") for subject in inner)


async def _outcome(here: Connection, subject: str) -> str:
    try:
        await here.request(subject, b"{}", {}, _SILENCE)
    except Unanswered as error:
        return error.failure.replace("_", " ")
    return "answered"
