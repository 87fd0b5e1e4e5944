"""Receiving over one connection: the asks of an agent and of one certain replica, and the durable messages of the agent's stream.

Old and new connection of a replica overlap while its credentials are renewed: every subscription is in a queue group, so that each
message reaches one of them only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from quarterdeck.bus import subjects
from quarterdeck.bus.asks import Asks
from quarterdeck.bus.connection import Connection, Incoming, Unanswered
from quarterdeck.bus.envelope import FROM, Answer, refusal
from quarterdeck.bus.pull import Pull, Verdict
from quarterdeck.bus.tally import Worked

if TYPE_CHECKING:
    from nats.aio.msg import Msg

log = logging.getLogger(__name__)

ANSWERED: Final = ("_INBOX.", "_R_.")
"""Where askers listen: inboxes of this account, and the server's stand-ins for those of others."""
WAITING_MOST: Final = 256
"""Asks that may wait for a free place; a further one is answered `overloaded` at once."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What to receive and who works on it. `answer` and `settle` raise nothing; `places` bounds asks and durable messages, each."""

    cluster: str
    agent: str
    n: int
    places: int
    answer: Callable[[Incoming], Awaitable[Answer]]
    settle: Callable[[Incoming], Awaitable[Verdict]]
    worked: Worked = field(default_factory=Worked)
    """Counts over all connections of the intake."""
    asks: Asks = field(default_factory=Asks)
    """Those that are worked on or wait for a place, over all connections."""

    @property
    def name(self) -> str:
        """`cluster/agent-n`."""
        return f"{self.cluster}/{self.agent}-{self.n}"


class Receiver:
    """One intake over one connection; `run` it in a task, then `stop` and await the task."""

    def __init__(self, connection: Connection, intake: Intake) -> None:
        self.listening = asyncio.Event()
        self.connection = connection
        self._intake = intake
        self._pull = Pull(connection, intake.agent, intake.places, self._settle)
        self._places = asyncio.Semaphore(intake.places)
        self._asks = 0
        self._stopped = asyncio.Event()
        self._ended = False

    @property
    def inflight(self) -> int:
        """Messages being worked on or waiting for a place."""
        return self._asks + self._pull.busy

    async def run(self) -> None:
        """Receive until `stop`; returns when everything received is answered. Cancelling it cancels the handlers."""
        self._intake.asks.places += self._intake.places
        try:
            await self._run()
        finally:
            self._ended = True
            self._intake.asks.places -= self._intake.places

    def stop(self) -> None:
        """Take nothing new."""
        self._stopped.set()

    async def _run(self) -> None:
        agent, n = self._intake.agent, self._intake.n
        shared, own = subjects.receives(agent, n)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            heard = [
                await self.connection.listen(shared, self._asked, queue=agent),
                await self.connection.listen(own, self._asked, queue=f"{agent}-{n}"),
            ]
            tasks.create_task(self._pull.run())
            await self.connection.flush()
            self.listening.set()
            await self._stopped.wait()
            self._pull.stop()
            for subscription in heard:
                await self.connection.drain(subscription)

    async def _asked(self, msg: Msg) -> None:
        if self._ended:
            await self._reply(msg, refusal("draining", "the replica takes nothing in any more", self._intake.name, retry=True))
            return
        incoming = Incoming(msg.subject, msg.headers or {}, msg.data, told=not msg.reply)
        if self._asks >= self._intake.places + WAITING_MOST:
            if not _of_platform(incoming):
                self._intake.worked.note(well=False)
            await self._reply(msg, refusal("overloaded", f"{self._asks} asks are waiting already", self._intake.name, retry=True))
            return
        self._asks += 1
        self._tasks.create_task(self._work(msg, incoming))

    async def _work(self, msg: Msg, incoming: Incoming) -> None:
        try:
            with self.connection.in_use():
                if _of_platform(incoming):
                    answer = await self._intake.answer(incoming)  # a question of the platform never waits for user code
                else:
                    answer = await self._in_turn(incoming)
                    self._intake.worked.note(well=answer.ok)
                await self._reply(msg, answer)
        except asyncio.CancelledError:
            await self._reply(msg, refusal("draining", "the replica stopped before it was done", self._intake.name, retry=True))
            raise
        finally:
            self._asks -= 1

    async def _in_turn(self, incoming: Incoming) -> Answer:
        ask = self._intake.asks.came(incoming, waits=self._places.locked())
        try:
            async with self._places:
                ask.held = True
                if ask.unwanted:
                    return refusal("deadlock", ask.unwanted, self._intake.name, retry=True)
                return await self._intake.answer(incoming)
        finally:
            self._intake.asks.over(ask)

    async def _settle(self, incoming: Incoming) -> Verdict:
        verdict = await self._intake.settle(incoming)
        self._intake.worked.note(well=verdict.kind == "done", count=verdict.messages)
        return verdict

    async def _reply(self, msg: Msg, answer: Answer) -> None:
        if not msg.reply.startswith(ANSWERED):
            return  # it was told, not asked; or somebody wants our answer, in our name, where no asker listens
        try:
            await self.connection.send(msg.reply, answer.content(), {**answer.headers(), FROM: self._intake.name})
        except Unanswered:
            log.warning("an answer on %s is lost with the connection", msg.subject)


def _of_platform(incoming: Incoming) -> bool:
    """Who is there, what can it do: such questions are neither user code's work nor counted as such."""
    return incoming.verb.startswith("_")
