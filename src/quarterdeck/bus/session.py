"""The current connection of one participant, and what it receives, over changes of credentials and ends of connections.

`renew` opens a connection with new credentials and receives on it before the old one is drained, so that no message is lost; a
connection that the server closed for good is replaced. An answer goes out over the connection the question came in on, because both
inboxes and permissions to answer belong to a connection: a replaced one stays open until nobody uses it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from quarterdeck.bus.chores import Chores
from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.bus.links import SETTLING
from quarterdeck.bus.receiver import Intake, Receiver
from quarterdeck.errors import Transient
from quarterdeck.model.table import Credential

log = logging.getLogger(__name__)

RETIRE_WITHIN: Final = 60.0
"""Seconds a replaced connection may stay open for handlers that still work on what came over it."""
REBUILD_PAUSE: Final = 0.5


class Session:
    """Connections of one participant, one after the other. Made by `open`; `tasks` runs its background work and outlives it."""

    def __init__(self, login: Login, tasks: asyncio.TaskGroup) -> None:
        self._login = login
        self._tasks = tasks
        self._chores = Chores(tasks)
        self._current: Connection | None = None
        self._intake: Intake | None = None
        self._retiring: set[Connection] = set()
        self._receiving: dict[Receiver, asyncio.Task[None]] = {}
        self._swap = asyncio.Lock()
        self._usable = asyncio.Event()
        self._rebuilding: asyncio.Task[None] | None = None
        self.closing = False

    @classmethod
    async def open(cls, login: Login, tasks: asyncio.TaskGroup) -> Session:
        """Connect; raises Transient when the bus cannot be reached."""
        self = cls(login, tasks)
        await self._move(login)
        return self

    @property
    def inflight(self) -> int:
        """Received messages that are being worked on."""
        return sum(receiver.inflight for receiver in self._receiving)

    @property
    def receiving(self) -> bool:
        """Whether messages are taken in."""
        return self._intake is not None

    @property
    def settling(self) -> bool:
        """Whether the last (re)connection is so fresh that others may not be back yet."""
        return self._current is None or not self._usable.is_set() or self._current.age() < SETTLING

    async def connection(self, limit: float) -> Connection:
        """The current connection; raises Unanswered("lost") when there is none within `limit` seconds."""
        if not self._usable.is_set():
            try:
                async with asyncio.timeout(limit):
                    await self._usable.wait()
            except TimeoutError:
                raise Unanswered("lost") from None
        if self._current is None:
            raise Unanswered("lost")
        return self._current

    async def receive(self, intake: Intake) -> None:
        """Take messages in, now and over every later connection; returns once the server knows."""
        self._intake = intake
        try:
            async with self._swap:
                if self._current is not None:
                    await self._listen(self._current)
        except Transient as error:
            log.warning("%s; opening a new connection", error.message)
            if self._current is not None:
                await self._current.close()  # at once: the server may believe in subscriptions of it that nobody listens to
            await self._reopen(lambda: self._intake is intake)

    async def pause(self, within: float | None = None) -> bool:
        """Take nothing new in. With `within`: give what is being worked on so many seconds, then cancel it; whether nothing was."""
        self._intake = None
        return await self._stop(tuple(self._receiving), within)

    async def renew(self, credential: Credential, url: str = "") -> None:
        """Use new credentials without losing a message; raises Transient when the bus does not accept them: the old ones then stay.

        `url` is where the bus is now, when it moved.
        """
        if self._rebuilding is not None:
            self._rebuilding.cancel()  # what it tries is outdated now
        try:
            await self._move(replace(self._login, credential=credential, url=url or self._login.url))
        except Transient:
            self._rebuild_if_needed()
            raise

    async def close(self) -> None:
        """Flush and close. `pause` before gives what is being worked on its time; here it is cancelled."""
        self.closing = True
        self._usable.clear()
        self._chores.cancel()
        await self.pause(0.0)
        async with self._swap:
            for connection in (self._current, *self._retiring):
                if connection is not None:
                    await connection.close()

    async def _move(self, login: Login) -> None:
        async with self._swap:
            new = await Connection.open(login, lost=self._lost)
            try:
                await self._listen(new)
            except (Transient, asyncio.CancelledError):
                await self._end(new, within=0.0)
                raise
            old, self._current, self._login = self._current, new, login
            self._usable.set()
            self._rebuild_if_needed()
        if old is not None:
            self._retiring.add(old)
            self._chores.start(self._retire(old))

    async def _listen(self, connection: Connection) -> None:
        if self._intake is None:
            return
        receiver = Receiver(connection, self._intake)
        task = self._receiving[receiver] = self._tasks.create_task(_receive(receiver))
        task.add_done_callback(lambda _: self._receiving.pop(receiver))
        listening = asyncio.ensure_future(receiver.listening.wait())
        await asyncio.wait({listening, task}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if not receiver.listening.is_set():
            msg = "the bus did not confirm our subscriptions"
            raise Transient(msg)

    async def _retire(self, connection: Connection) -> None:
        """What came over a connection is answered over it; then it is closed."""
        await self._end(connection, RETIRE_WITHIN)
        self._retiring.discard(connection)

    async def _end(self, connection: Connection, within: float) -> None:
        await self._stop(tuple(receiver for receiver in self._receiving if receiver.connection is connection), within)
        await connection.close(within)

    async def _stop(self, receivers: tuple[Receiver, ...], within: float | None) -> bool:
        tasks = {self._receiving[receiver] for receiver in receivers}
        for receiver in receivers:
            receiver.stop()
        if within is None or not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()  # its durable messages go back to the stream at once
        if late:
            await asyncio.wait(late)
        return not late

    def _lost(self, connection: Connection) -> None:
        """nats-py gave the connection up for good, as it does when the server ends an expired user."""
        if self.closing or self._current is None or self._current is not connection:
            return
        log.warning("the bus closed our connection; opening a new one")
        self._rebuild_if_needed()

    def _rebuild_if_needed(self) -> None:
        if self._current is None or self._current.alive or self.closing:
            return
        self._usable.clear()
        self._rebuilding = self._chores.start(self._reopen(lambda: not (self._current and self._current.alive)))

    async def _reopen(self, needed: Callable[[], bool]) -> None:
        """A new connection with the credentials we have, tried until it works or is not needed any more."""
        while needed() and not self.closing:
            try:
                await self._move(self._login)
            except Transient as error:
                log.warning("no connection to the bus yet: %s", error.message)
                await asyncio.sleep(REBUILD_PAUSE)
            else:
                return


async def _receive(receiver: Receiver) -> None:
    try:
        await receiver.run()
    except* Transient as errors:
        log.warning("receiving ended with the connection: %s", errors.exceptions[0])
