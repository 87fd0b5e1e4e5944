"""Taking durable messages from an agent's own stream: never more than there are free places, acknowledged after the work.

One pull request is outstanding at a time, for as many messages as places are free, so nothing waits in this process. Delivery is at
least once: a message whose acknowledgement is lost comes again, and the handler sees it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from quarterdeck.bus import subjects
from quarterdeck.bus.connection import Connection, Incoming, Unanswered

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

log = logging.getLogger(__name__)

EXPIRES: Final = 10.0
"""Seconds one pull request stays at the server."""
LOST_AFTER: Final = 11.0
"""Seconds without a message or an end after which a pull request counts as lost."""
STILL_WORKING: Final = 1.0
"""Seconds between two "in progress" signs; the consumer's ack_wait is 5 s."""
PAUSE_FIRST: Final = 0.05
PAUSE_MOST: Final = 2.0
_HEARTBEAT, _EXPIRED = "100", "408"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a durable message: done (ack), again after `delay` seconds (nak), or never (term, with the reason)."""

    kind: Literal["done", "again", "never"]
    delay: float = 0.0
    reason: str = ""
    messages: int = 1
    """How many this is about: a batch is one message of the stream."""

    def wire(self) -> bytes:
        """The acknowledgement as nats-server reads it."""
        match self.kind:
            case "done":
                return b"+ACK"
            case "again":
                return b"-NAK " + json.dumps({"delay": int(self.delay * 1e9)}).encode()
            case "never":
                return f"+TERM {self.reason}".encode()


class Pull:
    """The pull consumer of one agent over one connection. `work` gives the verdict and raises nothing."""

    def __init__(self, connection: Connection, agent: str, places: int, work: Callable[[Incoming], Awaitable[Verdict]]) -> None:
        self._connection = connection
        self._agent = agent
        self._places = places
        self._work = work
        self._working: set[str] = set()
        self._asked = 0
        self._request = 0
        self._pause = 0.0
        self._stopped = asyncio.Event()
        self._ended = False
        self._changed = asyncio.Event()
        self._inbox = connection.inbox()

    @property
    def busy(self) -> int:
        """Messages being worked on."""
        return len(self._working)

    async def run(self) -> None:
        """Pull until `stop` or until the connection is closed; returns when the last message taken is worked off."""
        self._connection.watchers.append(self._again)
        try:
            await self._run()
        finally:
            self._ended = True

    def stop(self) -> None:
        """Ask for no more."""
        self._stopped.set()
        self._changed.set()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            taken = await self._connection.listen(f"{self._inbox}.*", self._arrived)
            sign = tasks.create_task(self._say_working())
            while not self._stopped.is_set() and self._connection.alive:
                await self._turn()
            await self._give_up_interest(taken)
            while self._working:
                self._changed.clear()
                await self._changed.wait()
            sign.cancel()

    async def _turn(self) -> None:
        self._changed.clear()
        if not self._asked and self.busy < self._places and self._connection.nats.is_connected:  # else a reconnection wakes us
            await self._ask(self._places - self.busy)
        try:
            async with asyncio.timeout(LOST_AFTER):
                await self._changed.wait()
        except TimeoutError:
            self._asked = 0
        if self._pause:
            with contextlib.suppress(TimeoutError):  # the pause is over
                async with asyncio.timeout(self._pause):
                    await self._stopped.wait()

    async def _ask(self, batch: int) -> None:
        name = subjects.stream(self._agent)
        order = json.dumps({"batch": batch, "expires": int(EXPIRES * 1e9)}).encode()
        self._request += 1
        self._asked = batch
        try:
            await self._connection.send(f"$JS.API.CONSUMER.MSG.NEXT.{name}.{name}", order, reply=f"{self._inbox}.{self._request}")
        except Unanswered:
            self._back_off("the bus is away")

    async def _arrived(self, msg: Msg) -> None:
        status = (msg.headers or {}).get("Status")
        if status is None and self._ended:
            await self._acknowledge(msg.reply, Verdict("again"))  # it came too late for us
        elif status is None:
            self._asked = max(0, self._asked - 1)
            self._pause = 0.0
            self._working.add(msg.reply)  # now, not when its task first runs: places are counted in between
            self._tasks.create_task(self._handle(msg))
        elif status == _HEARTBEAT or msg.subject != f"{self._inbox}.{self._request}":
            return  # a sign of life, or the end of an earlier request
        elif status == _EXPIRED:
            self._again()
        else:
            reason = (msg.headers or {}).get("Description", "").partition("\n")[0].strip()
            self._back_off(f"{status} {reason}".strip())

    def _again(self) -> None:
        self._asked = 0
        self._pause = 0.0
        self._changed.set()

    def _back_off(self, why: str) -> None:
        if not self._pause:
            log.warning("stream %s gives nothing: %s; trying on", subjects.stream(self._agent), why)
        self._asked = 0
        self._pause = min(PAUSE_MOST, max(PAUSE_FIRST, self._pause * 2))
        self._changed.set()

    async def _handle(self, msg: Msg) -> None:
        verdict = Verdict("again")  # cancelled: at once, for somebody else
        try:
            verdict = await self._work(Incoming(msg.subject, msg.headers or {}, msg.data, msg.metadata.num_delivered))
        finally:
            self._working.discard(msg.reply)
            self._changed.set()
            await self._acknowledge(msg.reply, verdict)

    async def _acknowledge(self, reply: str, verdict: Verdict) -> None:
        try:
            await self._connection.send(reply, verdict.wire())
        except Unanswered:
            log.warning("an acknowledgement (%s) is lost with the connection: the message comes again", verdict.kind)

    async def _say_working(self) -> None:
        while True:
            await asyncio.sleep(STILL_WORKING)
            for reply in tuple(self._working):
                try:
                    await self._connection.send(reply, b"+WPI")
                except Unanswered:
                    break  # without a connection there is nobody to tell

    async def _give_up_interest(self, taken: Subscription) -> None:
        self._connection.watchers.remove(self._again)
        if self._connection.nats.is_connected:
            await self._connection.drain(taken)
