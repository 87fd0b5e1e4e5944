"""The bus as one participant sees it: ask, tell and publish, each with the policy of the link it goes over.

Bodies are bytes here; what they mean is the caller's business. Connections, credentials and receiving are the `Session`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from quarterdeck.bus import subjects
from quarterdeck.bus.batches import BATCH, batches
from quarterdeck.bus.connection import Unanswered
from quarterdeck.bus.envelope import KEY, Ack, Envelope, Limits, NoAnswer, Trace, check_key, check_size, new_id, result
from quarterdeck.bus.envelope import attempt as attempt_name
from quarterdeck.bus.links import Call, Circuit, Failure, Routes
from quarterdeck.bus.posting import Posting
from quarterdeck.bus.session import Session
from quarterdeck.bus.tally import Outgoing
from quarterdeck.clock import Clock
from quarterdeck.errors import Forbidden
from quarterdeck.model.desired import Breaker, Link
from quarterdeck.model.ops import MOST_BODY
from quarterdeck.model.work import Overloaded

if TYPE_CHECKING:
    from nats.aio.msg import Msg

T = TypeVar("T")

_WHY: Final[dict[Failure, str]] = {
    "timeout": "no answer in time; the other side may have done the work",
    "no_responders": "nobody is there to take it",
    "lost": "the connection to the bus broke; the other side may have done the work",
}


UNLIMITED: Final = Limits()
_UNCOUNTED: Final = contextlib.nullcontext()
Watch = Callable[[str], contextlib.AbstractContextManager[object]]
"""Entered around each attempt at an ask, with its name."""


def unwatched(_: str) -> contextlib.AbstractContextManager[object]:
    """Nobody cares."""
    return _UNCOUNTED


class Client:
    """One participant: who it is (`sender`), where it may send (`routes`, replaceable at any time), over which session."""

    def __init__(self, session: Session, sender: subjects.Sender, routes: Routes, clock: Clock) -> None:
        self.session = session
        self.sender = sender
        self.routes = routes
        self.sent = Outgoing()
        self._posting = Posting(session.connection)
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    async def ask(
        self,
        cluster: str,
        to: str,
        verb: str,
        body: bytes,
        *,
        limits: Limits = UNLIMITED,
        trace: Trace | None = None,
        guarded: bool = True,
        watch: Watch = unwatched,
    ) -> bytes:
        """Core request-reply: the body of the answer.

        Tried again after a timeout or without responders as the link allows, so a handler may see one id twice. `guarded=False` is for
        probes: it passes by the breaker and is not counted. `watch` is entered around each attempt, with its name. Raises RemoteTransient
        or RemoteTerminal for an error answer; NoAnswer; Forbidden where no link leads.
        """
        check_size(body, f"the payload of {verb!r}")
        link = self._link(cluster)
        subject = subjects.subject("ask", self.sender, cluster, to, verb)
        envelope = self._envelope(trace)

        async def attempt(limit: float) -> Msg:
            dated = replace(envelope, deadline=self._clock.now() + limit)
            headers = dated.headers()
            with watch(attempt_name(headers)):
                return await self._request(subject, body, headers, limit)

        async def guarded_attempt(limit: float) -> Msg:
            return await self._guard(f"{cluster}/{to}", link.breaker, lambda: attempt(limit))

        with self.sent.to(cluster) if guarded else _UNCOUNTED:
            answer = await self._persist(self._call(link, limits), f"{cluster}/{to}", guarded_attempt if guarded else attempt)
            return result(answer.headers or {}, answer.data)

    async def tell(self, cluster: str, to: str, verb: str, body: bytes, *, trace: Trace | None = None) -> None:
        """Core publish, at most once: nobody confirms it, and it is gone when nobody listens. Raises NoAnswer when it cannot be sent."""
        check_size(body, f"the payload of {verb!r}")
        link = self._link(cluster)
        subject = subjects.subject("ask", self.sender, cluster, to, verb)
        with self.sent.to(cluster):
            try:
                connection = await self.session.connection(link.timeout)
                await connection.send(subject, body, self._envelope(trace).headers())
            except Unanswered as error:
                raise _no_answer(error.failure, f"{cluster}/{to}", 1) from None

    async def publish(
        self,
        cluster: str,
        to: str,
        verb: str,
        body: bytes,
        *,
        key: str | None = None,
        limits: Limits = UNLIMITED,
        trace: Trace | None = None,
    ) -> Ack:
        """Durable: returns once the agent's stream has it on disk. Tried again under one id, which the stream takes once.

        `key` names the message among this agent's messages of this verb: a second one inside the stream's duplicate window comes back with
        `duplicate=True` and is not delivered. Raises NoAnswer (after timeout or lost the outcome is unknown), Overloaded when the stream is
        full, or Forbidden.
        """
        check_key(key or "")
        unique = {KEY: f"{self.sender.cluster}/{self.sender.agent}:{verb}:{key}"} if key else {}
        return await self._publish(cluster, to, verb, body, unique, limits=limits, trace=trace)

    async def _publish(
        self, cluster: str, to: str, verb: str, body: bytes, more: dict[str, str], *, limits: Limits, trace: Trace | None
    ) -> Ack:
        check_size(body, f"the payload of {verb!r}", MOST_BODY)
        link = self._link(cluster)
        subject = subjects.subject("in", self.sender, cluster, to, verb)
        envelope = self._envelope(trace)
        headers = {**replace(envelope, key=envelope.id).headers(), **more}
        with self.sent.to(cluster):
            said = await self._persist(
                self._call(link, limits), f"the stream of {cluster}/{to}", lambda limit: self._posting.post(subject, body, headers, limit)
            )
            return _ack(said, f"{cluster}/{to}")

    async def publish_all(
        self, cluster: str, to: str, verb: str, bodies: Sequence[bytes], *, limits: Limits = UNLIMITED, trace: Trace | None = None
    ) -> list[Ack]:
        """Durable messages in bulk, `BATCH` to one message of the stream, which costs the disk as much as one: an Ack for each batch.

        A batch goes to one replica, which handles its messages one after the other. Raises as `publish` does; what comes after a batch that
        was refused is not sent.
        """
        acks = []
        for batch in batches(bodies):
            body = b"[" + b",".join(batch) + b"]"
            acks.append(await self._publish(cluster, to, verb, body, {BATCH: str(len(batch))}, limits=limits, trace=trace))
        return acks

    async def refuses(self, subject: str) -> bool:
        """Whether the server refuses our publishing on `subject`; an empty message is sent to find out. Raises Transient."""
        try:
            return await (await self.session.connection(5.0)).refuses(subject)
        except Unanswered as error:
            raise _no_answer(error.failure, subject, 1) from None

    def circuits(self) -> dict[str, str]:
        """The breaker's state of every destination that had trouble."""
        return {to: circuit.state for to, circuit in self._circuits.items()}

    async def _request(self, subject: str, body: bytes, headers: dict[str, str], limit: float) -> Msg:
        connection = await self.session.connection(limit)
        return await connection.request(subject, body, headers, limit)

    async def _persist(self, call: Call, to: str, attempt: Callable[[float], Awaitable[T]]) -> T:
        """Attempt until answered, or until the policy gives up."""
        made = 0
        failure: Failure = "timeout"
        while (limit := call.limit(self._clock.monotonic())) > 0:
            try:
                return await attempt(limit)
            except Unanswered as error:
                failure = error.failure
            settling = self.session.settling
            made += not (settling and failure == "no_responders")
            pause = call.pause(made, failure, self._clock.monotonic(), random.random(), settling=settling)  # noqa: S311 jitter
            if pause is None:
                break
            await asyncio.sleep(pause)
        raise _no_answer(failure, to, made)

    async def _guard(self, to: str, policy: Breaker, attempt: Callable[[], Awaitable[Msg]]) -> Msg:
        """One attempt through the breaker of a destination."""
        fresh = Circuit(policy)
        known = self._circuits.get(to, fresh)
        circuit, ticket = (known if known.policy == policy else fresh).admit(self._clock.monotonic())
        self._circuits[to] = circuit
        if ticket is None:
            msg = f"{to} is not asked: its breaker is open after {policy.failures} failures in a row, for up to {policy.reset:g} s"
            raise NoAnswer(msg, cause="circuit_open")
        settle: Callable[[Circuit], Circuit] = lambda circuit: circuit.abandoned(ticket)  # noqa: E731 replaced below
        try:
            answer = await attempt()
            settle = lambda circuit: circuit.succeeded(ticket, self._clock.monotonic())  # noqa: E731
        except Unanswered as error:
            if error.failure == "timeout":  # "no responders" costs nobody anything: docs/decisions/009
                settle = lambda circuit: circuit.failed(ticket, self._clock.monotonic())  # noqa: E731
            raise
        finally:
            after = settle(self._circuits.get(to, fresh))
            self._circuits[to] = after
            if after == fresh:
                del self._circuits[to]
        return answer

    def _link(self, cluster: str) -> Link:
        link = self.routes.link(cluster)
        if link is None:
            msg = f"no link leads from {self.routes.cluster} to {cluster}"
            raise Forbidden(msg, hint=f"add {{from: {self.routes.cluster}, to: {cluster}}} to spec.links")
        return link

    def _envelope(self, trace: Trace | None) -> Envelope:
        return Envelope(new_id(self._clock.now(), os.urandom(10)), self.sender, trace=trace)

    def _call(self, link: Link, limits: Limits) -> Call:
        now = self._clock.monotonic()
        until = None if limits.until is None else now + limits.until - self._clock.now()
        return self.routes.call(link, now, timeout=limits.timeout, until=until)


def _no_answer(failure: Failure, to: str, made: int) -> NoAnswer:
    tries = f" ({made} attempts)" if made > 1 else ""
    return NoAnswer(f"{to}: {_WHY[failure]}{tries}", cause=failure)


def _ack(data: bytes, to: str) -> Ack:
    found = json.loads(data)
    if "error" in found:
        why = found["error"].get("description", found["error"])
        msg = f"the stream of {to} did not take the message: {why}"
        if "maximum" in str(why) and "exceeded" in str(why):
            raise Overloaded(msg, hint="its agent takes in less than it is sent: publish later, or qd scale it")
        raise NoAnswer(msg, cause="refused_by_stream")
    return Ack(found["stream"], found["seq"], found.get("duplicate", False))
