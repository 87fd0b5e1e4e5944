"""Handling one message: check it, run the handler, turn what happens into an answer. The same for the bus and for the test bench."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Final

from quarterdeck.agents.agent import Agent, Handler
from quarterdeck.agents.context import CURRENT, Context, Place
from quarterdeck.agents.payload import PayloadError, decode, encode, loads
from quarterdeck.agents.schema import schema
from quarterdeck.bus import subjects
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import MAX_PAYLOAD, Answer, Envelope, full_name, refusal
from quarterdeck.bus.pull import Verdict
from quarterdeck.errors import QuarterdeckError, Terminal

log = logging.getLogger(__name__)

RETRY_FIRST: Final = 0.5
RETRY_MOST: Final = 30.0
"""Seconds until a durable message whose handler failed comes again: doubling from the first to the most."""
UNKNOWN_VERB_TRIES: Final = 10
"""A verb we do not know may come from a newer revision during a rollout; after so many deliveries it is given up."""
_WORTH_RETRYING: Final = (TimeoutError, ConnectionError, InterruptedError, BlockingIOError)


class Desk:
    """Where the messages of one replica are handled."""

    def __init__(self, agent: Agent, place: Place, *, incarnation: int = 0, revision: str = "") -> None:
        self._agent = agent
        self._place = place
        self._handlers = agent.handlers
        self._incarnation = incarnation
        self._revision = revision

    async def answer(self, incoming: Incoming) -> Answer:
        """The answer to a message; raises nothing but cancellation."""
        try:
            address = subjects.parse(incoming.subject)
            envelope = Envelope.read(incoming.headers)
        except ValueError as error:
            return self._never("envelope", str(error))
        if envelope.sender != address.sender:
            log.warning("refused: a message on %s signs as %s", incoming.subject, full_name(envelope.sender))
            return self._never("forbidden", f"the subject says {full_name(address.sender)}, the envelope {full_name(envelope.sender)}")
        if address.verb.startswith("_"):
            return self._reserved(address.verb)
        if envelope.deadline is not None and self._place.clock.now() >= envelope.deadline:
            return refusal("deadline", "its deadline had passed on arrival: not started", self._place.name, retry=True, final=True)
        found = self._handlers.get(address.verb)
        if found is None:
            return self._unknown(address.verb)
        answer = await self._handle(found, incoming, envelope)
        self._place.progressed()
        return answer

    async def settle(self, incoming: Incoming) -> Verdict:
        """What becomes of a durable message, after handling it; raises nothing but cancellation."""
        answer = await self.answer(incoming)
        if answer.ok:
            return Verdict("done")
        if answer.final or (answer.kind == "verb" and incoming.delivered >= UNKNOWN_VERB_TRIES):
            log.error("given up: durable message %s on %s: %s", incoming.headers.get("Qd-Id"), incoming.subject, answer.message)
            return Verdict("never", reason=answer.kind)
        delay = min(RETRY_MOST, RETRY_FIRST * 2 ** (min(incoming.delivered, 16) - 1))
        log.warning("durable message on %s (delivery %d) again in %g s: %s", incoming.subject, incoming.delivered, delay, answer.message)
        return Verdict("again", delay)

    async def _handle(self, handler: Handler, incoming: Incoming, envelope: Envelope) -> Answer:
        context = Context(
            self._place,
            sender=full_name(envelope.sender),
            deadline=envelope.deadline,
            trace=envelope.trace,
            id=envelope.id,
            delivered=incoming.delivered,
        )
        try:
            try:
                payload = decode(loads(incoming.body), handler.takes) if handler.takes is not None else None
            except PayloadError as error:
                return self._never("payload", f"{handler.verb}: {error.message}")
            value = await run(handler, payload, context)
            return Answer(b"") if incoming.delivered else self._result(handler, value)
        except Exception as error:  # the boundary to user code: whatever it raises becomes an answer
            context.log.exception("handler failed", verb=handler.verb, sender=context.sender)
            return self._failed(error)

    def _result(self, handler: Handler, value: object) -> Answer:
        """An ask is answered with what the handler returned; a durable message has nobody to answer to."""
        try:
            body = encode(value)
        except PayloadError as error:
            return self._never("reply", f"{handler.verb} returned something else than data: {error.message}")
        if len(body) > MAX_PAYLOAD:
            return self._never("reply", f"the answer of {handler.verb} is {len(body):,} bytes; one message carries at most {MAX_PAYLOAD:,}")
        return Answer(body)

    def _failed(self, error: Exception) -> Answer:
        kind = type(error).__name__
        retry = error.retry if isinstance(error, QuarterdeckError) else isinstance(error, _WORTH_RETRYING)
        message = str(error) or kind
        return refusal(kind, f"{kind}: {message}", self._place.name, retry=retry, final=isinstance(error, Terminal))

    def _never(self, kind: str, message: str) -> Answer:
        return refusal(kind, message, self._place.name, final=True)

    def _unknown(self, verb: str) -> Answer:
        known = ", ".join(sorted(self._handlers)) or "none"
        return refusal("verb", f"{verb!r} is no verb of this agent (its verbs: {known})", self._place.name)

    def _reserved(self, verb: str) -> Answer:
        if verb == "_ping":
            found = {"from": self._place.name, "pid": os.getpid(), "incarnation": self._incarnation, "revision": self._revision}
            return Answer(encode(found))
        if verb == "_describe":
            return Answer(encode(self._description()))
        return self._unknown(verb)

    def _description(self) -> dict[str, Any]:
        verbs = {
            verb: {
                "payload": {"type": "null"} if handler.takes is None else schema(handler.takes),
                "answer": schema(handler.gives),
                "summary": (handler.function.__doc__ or "").strip().partition("\n")[0],
            }
            for verb, handler in sorted(self._handlers.items())
        }
        return {"agent": f"{self._place.cluster}/{self._place.agent}", "revision": self._revision, "verbs": verbs}


async def run(handler: Handler, payload: object, context: Context) -> Any:
    """Call a handler; a sync one in a thread, so that the loop keeps beating."""
    given = {"payload": payload, "context": context}
    arguments = [given[name] for name in handler.arguments]
    token = CURRENT.set(context)
    try:
        if handler.is_async:
            return await handler.function(*arguments)
        return await asyncio.to_thread(handler.function, *arguments)
    finally:
        CURRENT.reset(token)
