"""The bus as one participant sees it: ask, tell and publish, each with the policy of the link it goes over.

Bodies are bytes here; what they mean is the caller's business. Connections, credentials and receiving are the `Session`'s.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from quarterdeck.bus import subjects
from quarterdeck.bus.connection import Unanswered
from quarterdeck.bus.envelope import Ack, Envelope, Limits, NoAnswer, Trace, check_key, check_size, new_id, result
from quarterdeck.bus.links import Call, Circuit, Failure, Routes
from quarterdeck.bus.session import Session
from quarterdeck.clock import Clock
from quarterdeck.errors import Forbidden
from quarterdeck.model.desired import Breaker, Link

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    Attempt = Callable[[float], Awaitable[Msg]]

_WHY: Final[dict[Failure, str]] = {
    "timeout": "no answer in time; the other side may have done the work",
    "no_responders": "nobody is there to take it",
    "lost": "the connection to the bus broke; the other side may have done the work",
}


UNLIMITED: Final = Limits()


class Client:
    """One participant: who it is (`sender`), where it may send (`routes`, replaceable at any time), over which session."""

    def __init__(self, session: Session, sender: subjects.Sender, routes: Routes, clock: Clock) -> None:
        self.session = session
        self.sender = sender
        self.routes = routes
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    async def ask(
        self, cluster: str, to: str, verb: str, body: bytes, *, limits: Limits = UNLIMITED, trace: Trace | None = None, guarded: bool = True
    ) -> bytes:
        """Core request-reply: the body of the answer.

        Tried again after a timeout or without responders as the link allows, so a handler may see one id twice. `guarded=False` passes by
        the breaker, for probes. Raises RemoteTransient or RemoteTerminal for an error answer; NoAnswer; Forbidden where no link leads.
        """
        check_size(body, f"the payload of {verb!r}")
        link = self._link(cluster)
        subject = subjects.subject("ask", self.sender, cluster, to, verb)
        envelope = self._envelope(trace)

        async def attempt(limit: float) -> Msg:
            dated = replace(envelope, deadline=self._clock.now() + limit)
            return await self._request(subject, body, dated.headers(), limit)

        async def guarded_attempt(limit: float) -> Msg:
            return await self._guard(f"{cluster}/{to}", link.breaker, lambda: attempt(limit))

        answer = await self._persist(self._call(link, limits), f"{cluster}/{to}", guarded_attempt if guarded else attempt)
        return result(answer.headers or {}, answer.data)

    async def tell(self, cluster: str, to: str, verb: str, body: bytes, *, trace: Trace | None = None) -> None:
        """Core publish, at most once: nobody confirms it, and it is gone when nobody listens. Raises NoAnswer when it cannot be sent."""
        check_size(body, f"the payload of {verb!r}")
        link = self._link(cluster)
        subject = subjects.subject("ask", self.sender, cluster, to, verb)
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
        `duplicate=True` and is not delivered. Raises NoAnswer (after timeout or lost the outcome is unknown) or Forbidden.
        """
        check_size(body, f"the payload of {verb!r}")
        check_key(key or "")
        link = self._link(cluster)
        subject = subjects.subject("in", self.sender, cluster, to, verb)
        envelope = self._envelope(trace)
        unique = f"{self.sender.cluster}/{self.sender.agent}:{verb}:{key}" if key else envelope.id
        headers = replace(envelope, key=unique).headers()
        answer = await self._persist(
            self._call(link, limits), f"the stream of {cluster}/{to}", lambda limit: self._request(subject, body, headers, limit)
        )
        return _ack(answer.data, f"{cluster}/{to}")

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

    async def _persist(self, call: Call, to: str, attempt: Attempt) -> Msg:
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
            blameless = error.failure == "lost" or (error.failure == "no_responders" and self.session.settling)
            if not blameless:
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
        msg = f"the stream of {to} did not take the message: {found['error'].get('description', found['error'])}"
        raise NoAnswer(msg, cause="refused_by_stream")
    return Ack(found["stream"], found["seq"], found.get("duplicate", False))
