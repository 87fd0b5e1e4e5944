"""Durable messages through the ledger, at both ends: kept for who sends one, and for who receives one neither handled twice nor lost."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.agents.line import PATIENCE, Line
from quarterdeck.agents.part import Part
from quarterdeck.bus.connection import Incoming
from quarterdeck.bus.envelope import FROM, ID, Ack, check_key
from quarterdeck.bus.subjects import LEDGER_SENDER, stream
from quarterdeck.errors import NotFound, QuarterdeckError
from quarterdeck.model import ops

log = logging.getLogger(__name__)

BUSY_PAUSE: Final = 1.0
"""Seconds between two tries to take a message that another replica has in hand."""
TAKE_EVERY: Final = 5.0
"""Seconds between two signs that a message is still in hand; the ledger gives it to nobody else for 15."""
LOOK_FIRST: Final = 0.01
LOOK_MOST: Final = 0.5
"""Seconds between looks at whether a stream has confirmed a kept message: doubling from the first to the most."""
_KEPT: Final = f"in.{LEDGER_SENDER.prefix}."
_REMEMBERED: Final = 1000


def letter(asked: ops.Publish, part: Part | None) -> ops.Publish:
    """As the ledger wants it: inside a task under the task's fence, and under a key of its own unless it has one. Raises UserError."""
    check_key(asked.key or "")
    check_key(asked.lane or "")
    if part is None:
        return asked
    key = asked.key or part.own_key(f"publish:{asked.to}:{asked.verb}", "task/")
    return replace(asked, key=key, task=part.info.id, fence=part.info.fence)


async def keep(line: Line, asked: ops.Publish, within: float | None, *, confirmed: bool) -> Ack:
    """Have the ledger keep a message and send it; with `confirmed`, wait until the agent's stream has it as well."""
    until = asyncio.get_running_loop().time() + (PATIENCE if within is None else within)

    def left() -> float:
        return max(0.0, until - asyncio.get_running_loop().time())

    found = await line.call(asked, left())
    seq, pause = found["seq"], LOOK_FIRST
    while confirmed and not seq:
        await asyncio.sleep(min(pause, left()))
        pause = min(LOOK_MOST, pause * 2)
        seq = (await line.call(ops.Posted(found["id"]), left()))["seq"]
    return Ack(stream(asked.to.rpartition("/")[2]), seq, duplicate=not found["created"], message=found["id"])


@dataclass(slots=True)
class Mailbox:
    """The receiving end of one replica."""

    line: Line
    _finished: dict[str, None] = field(default_factory=dict)
    _here: dict[str, tuple[asyncio.Lock, int]] = field(default_factory=dict)

    @staticmethod
    def kept(incoming: Incoming) -> str:
        """The id of a message that came out of the outbox; empty for one that went straight to the stream. Nobody else can send so."""
        return incoming.headers.get(ID, "") if incoming.subject.startswith(_KEPT) else ""

    @asynccontextmanager
    async def alone(self, message: str) -> AsyncIterator[None]:
        """One copy of a message at a time in this process; another one may come when its stream was made anew."""
        if not message:
            yield
            return
        lock, users = self._here.get(message, (asyncio.Lock(), 0))
        self._here[message] = (lock, users + 1)
        again = asyncio.create_task(self._take_again(message))
        try:
            async with lock:
                yield
        finally:
            again.cancel()
            lock, users = self._here.pop(message)
            if users > 1:
                self._here[message] = (lock, users - 1)

    async def finished(self, message: str) -> bool:
        """Whether somebody has handled it already; waits while another replica has it in hand. Raises QuarterdeckError."""
        if message in self._finished:
            await self._note(message)
            return True
        while (word := await self._take(message)) == "busy":  # noqa: ASYNC110 the ledger says it when it is asked
            await asyncio.sleep(BUSY_PAUSE)
        return word == "done"

    async def _take_again(self, message: str) -> None:
        """While it is in hand: nobody else shall have it, however long its handler takes."""
        while True:
            await asyncio.sleep(TAKE_EVERY)
            try:
                await self._take(message)
            except QuarterdeckError as error:
                log.debug("message %s is not taken again: %s", message, error.message)

    async def _take(self, message: str) -> str:
        try:
            return str(await self.line.call(ops.Take(message), PATIENCE))
        except NotFound:  # an older copy of the database was put back: it knows nothing of it
            return "go"

    async def handled(self, message: str) -> None:
        """Say that it is done. Raises QuarterdeckError; it is remembered here until the ledger has heard it."""
        self._finished[message] = None
        if len(self._finished) > _REMEMBERED:
            del self._finished[next(iter(self._finished))]
        await self._note(message)

    async def _note(self, message: str) -> None:
        try:
            await self.line.call(ops.Handled(message), PATIENCE)
        except NotFound:
            log.warning("message %s is handled, but the ledger does not know it", message)
        self._finished.pop(message, None)

    async def bury(self, incoming: Incoming, reason: str) -> bool:
        """Have it kept as a dead message; whether it is. Until then the stream must not let go of it."""
        headers = {str(k)[: ops.MOST_KEY]: str(v)[: ops.MOST_ERROR] for k, v in list(incoming.headers.items())[:20]}
        text = incoming.body.decode("utf-8", "replace")[: ops.MOST_BODY]
        sender = headers.get(FROM, "")[:200]
        given = ops.Bury(_identity(incoming), sender, incoming.verb, headers, text, reason[: ops.MOST_ERROR], incoming.delivered)
        try:
            await self.line.call(given, PATIENCE)
        except QuarterdeckError as error:
            log.error("a message could not be given up: %s", error.message)  # noqa: TRY400 the trace says nothing more
            return False
        return True


def _identity(incoming: Incoming) -> str:
    """Its id, or a name by its content for one that has none of ours."""
    found = incoming.headers.get(ID, "")
    if len(found) == 32 and found.isalnum():  # noqa: PLR2004 as `new_id` makes them
        return found
    text = f"{incoming.subject}\n{sorted(incoming.headers.items())}\n".encode("utf-8", "replace") + incoming.body
    return hashlib.sha256(text).hexdigest()[:32]
