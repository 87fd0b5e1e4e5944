"""Handling one message: check it, run the handler, turn what happens into an answer. The same for the bus and for the test bench."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Final

from quarterdeck.agents.activity import Activity, Deadlock, NoProgress
from quarterdeck.agents.agent import Agent, Handler
from quarterdeck.agents.calls import in_thread
from quarterdeck.agents.context import CURRENT, Context, OutsideTask, Place
from quarterdeck.agents.payload import PayloadError, decode, encode, loads
from quarterdeck.agents.post import Mailbox
from quarterdeck.agents.schema import schema
from quarterdeck.bus import subjects
from quarterdeck.bus.batches import BATCH, count
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import ID, MAX_PAYLOAD, Answer, Envelope, attempt, full_name, refusal, sent_at
from quarterdeck.bus.pull import Verdict
from quarterdeck.errors import QuarterdeckError, Terminal, UserError, named
from quarterdeck.model import loops
from quarterdeck.model.messages import DELIVERIES

log = logging.getLogger(__name__)

RETRY_FIRST: Final = 0.5
RETRY_MOST: Final = 30.0
"""Seconds until a durable message whose handler failed comes again: doubling from the first to the most."""
REMEMBERED: Final = 1000
"""Batches of which it is remembered what was handled of them."""
UNKNOWN_VERB_TRIES: Final = 10
"""A verb we do not know may come from a newer revision during a rollout; after so many deliveries it is given up."""
_WORTH_RETRYING: Final = (TimeoutError, ConnectionError, InterruptedError, BlockingIOError)


class Desk:
    """Where the messages of one replica are handled."""

    def __init__(
        self, agent: Agent, place: Place, *, incarnation: int = 0, revision: str = "", word: Callable[[], None] = lambda: None
    ) -> None:
        self._agent = agent
        self._place = place
        self._handlers = agent.handlers
        self._incarnation = incarnation
        self._revision = revision
        self._word = word
        self._done: dict[str, set[int]] = {}
        self._mailbox = Mailbox(place.line) if place.line is not None and place.sent is not None else None

    async def answer(self, incoming: Incoming) -> Answer:
        """The answer to a message; raises nothing but cancellation."""
        try:
            address = subjects.parse(incoming.subject)
            envelope = Envelope.read(incoming.headers)
        except ValueError as error:
            return self._never("envelope", str(error))
        if address.sender not in (envelope.sender, subjects.LEDGER_SENDER):  # who speaks for others; see `subjects`
            log.warning("refused: a message on %s signs as %s", incoming.subject, full_name(envelope.sender))
            return self._never("forbidden", f"the subject says {full_name(address.sender)}, the envelope {full_name(envelope.sender)}")
        if address.verb.startswith("_"):
            return self._reserved(address)
        if envelope.deadline is not None and self._place.clock.now() >= envelope.deadline:
            return refusal("deadline", "its deadline had passed on arrival: not started", self._place.name, retry=True, final=True)
        found = self._handlers.get(address.verb)
        if found is None:
            return self._unknown(address.verb)
        path = loops.read(envelope.trace.path if envelope.trace else "").then(f"{self._place.cluster}/{self._place.agent}", address.verb)
        if round_ := loops.loop(path):
            return self._never(NoProgress.__name__, refused(self._place, round_, full_name(envelope.sender), address.verb))
        with self._measured(incoming, envelope):
            answer = await self._handle(found, incoming, envelope, path)
        self._place.progressed()
        return answer

    async def settle(self, incoming: Incoming) -> Verdict:
        """What becomes of a durable message, after handling it; raises nothing but cancellation."""
        box = self._mailbox
        if count(incoming.headers):
            return await self._settle_batch(incoming)
        if box is None or not (kept := box.kept(incoming)):
            return await self._settle(incoming)
        try:
            async with box.alone(kept):
                if await box.finished(kept):
                    return Verdict("done")
                verdict = await self._settle(incoming)
                if verdict.kind == "done":
                    await box.handled(kept)
                return verdict
        except QuarterdeckError as error:  # the ledger is away: the stream keeps the message meanwhile
            log.warning("durable message on %s waits: %s", incoming.subject, error.message)
            return Verdict("again", RETRY_MOST)

    async def _settle_batch(self, incoming: Incoming) -> Verdict:
        """One after the other. What was handled here is not handled here again when the rest comes once more."""
        try:
            bodies = loads(incoming.body)
        except PayloadError as error:
            return await self._give_up(incoming, self._never("payload", error.message))
        if not isinstance(bodies, list) or len(bodies) != count(incoming.headers):
            return await self._give_up(incoming, self._never("payload", "it is no batch of as many messages as it says"))
        name = incoming.headers.get(ID, "")
        done = self._done.setdefault(name, set())
        worst = Verdict("done")
        for number, value in enumerate(bodies):
            if number in done:
                continue
            verdict = await self._settle(_part(incoming, number, value))
            if verdict.kind == "again":
                worst = verdict
            else:
                done.add(number)
        if worst.kind == "done" or len(self._done) > REMEMBERED:
            self._done.pop(name, None)
        return replace(worst, messages=len(bodies))

    async def _settle(self, incoming: Incoming) -> Verdict:
        if incoming.delivered > DELIVERIES:  # a replica that dies of it cannot say so
            return await self._give_up(incoming, refusal("deliveries", "nobody came to an end with it", self._place.name))
        answer = await self.answer(incoming)
        if answer.ok:
            return Verdict("done")
        unknown = answer.kind == "verb" and incoming.delivered >= UNKNOWN_VERB_TRIES
        if answer.final or unknown or incoming.delivered >= DELIVERIES:
            return await self._give_up(incoming, answer)
        delay = min(RETRY_MOST, RETRY_FIRST * 2 ** (min(incoming.delivered, 16) - 1))
        log.warning("durable message on %s (delivery %d) again in %g s: %s", incoming.subject, incoming.delivered, delay, answer.message)
        return Verdict("again", delay)

    async def _give_up(self, incoming: Incoming, answer: Answer) -> Verdict:
        """The message becomes a dead one, for a human; the stream lets go of it only when the ledger has it."""
        log.error("given up: durable message %s on %s: %s", incoming.headers.get("Qd-Id"), incoming.subject, answer.message)
        if self._mailbox is not None and not await self._mailbox.bury(incoming, f"{answer.kind}: {answer.message}"):
            return Verdict("again", RETRY_MOST)
        return Verdict("never", reason=answer.kind)

    async def _handle(self, handler: Handler, incoming: Incoming, envelope: Envelope, path: loops.Path) -> Answer:
        context = Context(
            self._place,
            sender=full_name(envelope.sender),
            deadline=envelope.deadline,
            trace=envelope.trace,
            id=envelope.id,
            delivered=incoming.delivered,
            activity=Activity(attempt(incoming.headers), "message" if incoming.delivered else "ask", handler.verb),
            path=path,
        )
        try:
            try:
                payload = decode(await self._value(incoming), handler.takes) if handler.takes is not None else None
            except PayloadError as error:
                return self._never("payload", f"{handler.verb}: {error.message}")
            value = await run(handler, payload, context)
            return Answer(b"") if incoming.delivered else self._result(handler, value)
        except OutsideTask:  # whoever asked has to ask otherwise; the handler is right
            return self._never("task", self._for_a_task(handler))
        except Exception as error:  # the boundary to user code: whatever it raises becomes an answer
            context.log.exception("handler failed", verb=handler.verb, sender=context.sender)
            return self._failed(error)

    async def _value(self, incoming: Incoming) -> Any:
        """What a message says; a durable one may say it by reference, an ask that does is no JSON."""
        line = self._place.line
        if line is None or not incoming.delivered or not incoming.body.startswith(b"@"):
            return loads(incoming.body)
        try:
            return await line.value(incoming.body.decode("utf-8", "replace"))
        except UserError as error:  # what it refers to is not there, and will not be
            raise PayloadError(error.message) from error

    def _measured(self, incoming: Incoming, envelope: Envelope) -> AbstractContextManager[None]:
        """Its way ends and its work begins. What comes again was on its way before: that is the time of the retry, not of the way."""
        measures = self._place.measures
        if measures is None:
            return nullcontext()
        if incoming.delivered <= 1:
            kind = "publish" if incoming.delivered else "tell" if incoming.told else "ask"
            measures.arrived(envelope.sender.cluster, kind, sent_at(envelope.id))
        return measures.working(incoming.verb, "durable" if incoming.delivered else "message")

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
        final = isinstance(error, Terminal) and not isinstance(error, Deadlock)  # later, the others of a deadlock have gone on
        return refusal(kind, self._place.mask.text(named(error)), self._place.name, retry=retry, final=final)

    def _never(self, kind: str, message: str) -> Answer:
        return refusal(kind, message, self._place.name, final=True)

    def _for_a_task(self, handler: Handler) -> str:
        name = f"{self._place.cluster}/{self._place.agent}"
        return f"{handler.verb!r} is work for a task, not for a message: qd task submit {name} --verb {handler.verb}"

    def _unknown(self, verb: str) -> Answer:
        known = ", ".join(sorted(self._handlers)) or "none"
        return refusal("verb", f"{verb!r} is no verb of this agent (its verbs: {known})", self._place.name)

    def _reserved(self, address: subjects.Address) -> Answer:
        verb = address.verb
        if verb == subjects.LEDGER_WORD and address.sender.prefix == subjects.LEDGER_SENDER.prefix:
            self._word()
            return Answer(b"")
        if verb == "_ping":
            found = {"from": self._place.name, "pid": os.getpid(), "incarnation": self._incarnation, "revision": self._revision}
            return Answer(encode(found))
        if verb == "_describe":
            return Answer(encode(self._description()))
        return self._unknown(verb)

    def _description(self) -> dict[str, Any]:
        verbs = {
            verb: {
                "payload": {"type": "null"} if handler.takes is None else _taken(handler),
                "answer": schema(handler.gives),
                "summary": _first_line(handler),
            }
            for verb, handler in sorted(self._handlers.items())
        }
        return {"agent": f"{self._place.cluster}/{self._place.agent}", "revision": self._revision, "verbs": verbs}


def refused(place: Place, found: loops.Loop, sender: str, verb: str) -> str:
    """Tell the ledger of a loop; why what goes round in it is not handled."""
    log.warning("refused: %r of %s goes round: %s", verb, sender, found.told)
    if place.waits is not None:
        place.waits.looped(found, sender, verb)
    return f"{verb!r} of {sender} was not handled, it goes round: {found.told}"


def _part(batch: Incoming, number: int, value: object) -> Incoming:
    """One message of a batch, under an id of its own."""
    name = batch.headers.get(ID, "")
    headers = {k: v for k, v in batch.headers.items() if k != BATCH} | {ID: f"{name[:-2]}{number:02x}"}
    return replace(batch, headers=headers, body=encode(value))


def verbs(agent: Agent) -> dict[str, object]:
    """What an agent answers to, for people and forms: `{verb: {payload: JSON Schema or None, doc: first line of the docstring, task}}`."""
    found = sorted(agent.handlers.items())
    return {verb: {"payload": _taken(handler), "doc": _first_line(handler), "task": verb in agent.tasks} for verb, handler in found}


def _taken(handler: Handler) -> dict[str, object] | None:
    """A type that decodes may still not be able to describe itself: then anything may come, as far as a schema can tell."""
    try:
        return None if handler.takes is None else schema(handler.takes)
    except Exception:  # the boundary to user code: a model's own schema is made by it
        log.warning("the payload of %r cannot be described", handler.verb, exc_info=True)
        return {}


def _first_line(handler: Handler) -> str:
    return (handler.function.__doc__ or "").strip().partition("\n")[0]


async def run(handler: Handler, payload: object, context: Context) -> Any:
    """Call a handler; a sync one in a thread, so that the loop keeps beating."""
    given = {"payload": payload, "context": context}
    arguments = [given[name] for name in handler.arguments]
    token = CURRENT.set(context)
    try:
        if handler.is_async:
            return await handler.function(*arguments)
        return await in_thread(handler.function, *arguments)
    finally:
        CURRENT.reset(token)
