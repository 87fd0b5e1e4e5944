"""The relay: takes messages from the outbox to the streams of the agents they are for, and notes what the stream confirmed.

A message is marked after the stream's confirmation, never before. No answer means that its fate is unknown: it is sent again under the same
name, which the stream takes once; its receiver asks the ledger before it handles one, so a copy does no harm.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from quarterdeck.bus import subjects
from quarterdeck.bus.envelope import FROM, ID, KEY, PATH, SCHEMA, TRACE, VERSION
from quarterdeck.clock import Clock
from quarterdeck.errors import Transient
from quarterdeck.model import loops
from quarterdeck.model.messages import Message
from quarterdeck.model.work import Target
from quarterdeck.store import outbox, tables
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn, turning
from quarterdeck.store.writing import Writing
from quarterdeck.work.ledger import Writes

log = logging.getLogger(__name__)

AT_ONCE: Final = 256
LOOK_EVERY: Final = 1.0
"""Seconds between looks at the rows though nobody said that there is something to send."""
SHUT_FIRST: Final = 0.25
SHUT_MOST: Final = 5.0
"""Seconds in which an agent's stream that took nothing is left alone: doubling from the first to the most."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stream said: took it as number `seq`; refused it now (`later`) or for good (`never`), with its reason; or nothing."""

    word: Literal["took", "later", "never"]
    seq: int = 0
    reason: str = ""


Send = Callable[[str, bytes, dict[str, str]], Awaitable[Answer]]
"""(subject, body, headers) → what the stream said; raises Transient when there is no answer."""


@dataclass(slots=True)
class Relay:
    """Lives on the ledger's loop; `run` it in a task."""

    write: Writes
    send: Send
    clock: Clock
    heard: Callable[[Turn], None]
    fairness: Fairness
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _shut: dict[Target, tuple[float, float]] = field(default_factory=dict)
    """Until when a target is left alone (monotonic seconds), and for how long."""

    def stir(self, turn: Turn) -> None:
        """A turn was committed."""
        if turn.posted:
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news.clear()
            try:
                more = await self.round()
            except Transient as error:  # the store is away: nothing is lost by waiting
                log.warning("the outbox waits: %s", error.message)
                more = False
            if not more:
                await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._pause()):
                await self._news.wait()
        except TimeoutError:
            return

    def _pause(self) -> float:
        now = self.clock.monotonic()
        return max(0.0, min([LOOK_EVERY, *(until - now for until, _ in self._shut.values())]))

    async def round(self) -> bool:
        """Send what is due, and note what came of it; whether there may be more."""
        now = self.clock.monotonic()
        apart = [target for target, (until, _) in self._shut.items() if until > now]

        def look(tx: Writing) -> tuple[list[Message], dict[Target, int]]:
            found = outbox.due(tx.connection, AT_ONCE, apart)
            turn = Turn(tx, self.fairness)
            return found, {message.target: outbox.epoch(turn, message.target) for message in found}

        found, epochs = await self.write(look)
        if not found:
            return False
        answers = await asyncio.gather(*(self._offer(message) for message in found))
        pairs = list(zip(found, answers, strict=True))
        self._judge(pairs)
        turn = await self._note(pairs, epochs)
        self.heard(turn)
        return len(found) == AT_ONCE or bool(turn.posted)

    async def _offer(self, message: Message) -> Answer:
        subject = subjects.subject("in", subjects.LEDGER_SENDER, f"{message.system}.{message.cluster}", message.agent, message.verb)
        try:
            return await self.send(subject, (message.body or "null").encode(), headers(message))
        except Transient as error:
            return Answer("later", reason=error.message)

    def _judge(self, pairs: Iterable[tuple[Message, Answer]]) -> None:
        """Leave those alone that took nothing, each time longer."""
        now = self.clock.monotonic()
        refused = {message.target: answer.reason for message, answer in pairs if answer.word == "later"}
        for target in {message.target for message, answer in pairs if answer.word == "took"} - refused.keys():
            self._shut.pop(target, None)
        for target, reason in refused.items():
            _, before = self._shut.get(target, (0.0, SHUT_FIRST / 2))
            pause = min(SHUT_MOST, before * 2)
            self._shut[target] = (now + pause, pause)
            log.info("the stream of %s took not everything (%s): again in %g s", target.name, reason, pause)

    async def _note(self, pairs: Iterable[tuple[Message, Answer]], epochs: dict[Target, int]) -> Turn:
        def work(turn: Turn) -> None:
            turn.load(tables.outbox, [(message.id,) for message, _ in pairs])
            for message, answer in pairs:
                if answer.word == "took" and not outbox.sent(turn, message, answer.seq, epochs[message.target]):
                    log.info("message %s is sent again: its stream was made anew meanwhile, or it has ended", message.id)
                elif answer.word == "never":
                    outbox.refused(turn, message, answer.reason)

        turn, _ = await self.write(turning(self.fairness, work))
        return turn


def headers(message: Message) -> dict[str, str]:
    """Of its envelope: in the name of who sent it, which only the control plane may say for others."""
    own = {ID: message.id, FROM: message.source, VERSION: SCHEMA, KEY: message.unique}
    trace = message.headers.get(TRACE)
    path = loops.read(message.headers.get(PATH, "")).text  # written anew: it is an agent's word
    traced = own if trace is None else {**own, TRACE: trace}
    return {**traced, PATH: path} if path else traced


def answer(data: bytes) -> Answer:
    """What a stream's confirmation says."""
    try:
        found = json.loads(data)
        error = found.get("error")
        if error is None:
            return Answer("took", int(found["seq"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer("later", reason="no confirmation of a stream")
    reason = str(error.get("description", error))
    return Answer("never" if "size" in reason and "message" in reason else "later", reason=reason)
