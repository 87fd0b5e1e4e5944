"""Where replicas put large bodies and get them from: in pieces over the bus, beside the ledger, so that nobody's tasks wait for them.

What is on its way is known in memory only. A put is told how much is here, whatever it sent, and goes on from there: from the beginning
when we were started anew, or when it was silent for too long. Whoever knows what a blob of its system is called may have it: the name is a
digest, which only those know who had the content or were given the name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from quarterdeck.bus import subjects
from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.clock import Clock
from quarterdeck.errors import Conflict, QuarterdeckError, Terminal, Transient
from quarterdeck.model.blobs import PIECE, TRANSFERS, Get, Put, Ref, head, unpack
from quarterdeck.model.work import Holder
from quarterdeck.store.blobs import Blobs, Draft
from quarterdeck.work.requests import told

if TYPE_CHECKING:
    from nats.aio.msg import Msg

log = logging.getLogger(__name__)

IDLE: Final = 60.0
"""Seconds after which a put that sends nothing is forgotten, when the next one begins."""
AT_ONCE: Final = 8
"""Pieces that are written or read at the same time."""
BACKLOG: Final = 256
"""Pieces that wait in memory for that; what does not fit is asked for again."""
CONNECT_PAUSE: Final = 0.25
Hearer = Callable[["Msg"], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Transfer:
    """A put that is under way; one piece of it at a time."""

    last: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    draft: Draft | None = None


@dataclass(slots=True)
class Depot:
    """Lives on one event loop; the files are written and read on threads."""

    blobs: Blobs
    clock: Clock
    _putting: dict[tuple[Holder, Ref], _Transfer] = field(default_factory=dict)

    async def run(self, login: Callable[[], Login]) -> None:
        """Answer whoever asks over the bus, whatever happens to it, until cancelled. `login` says how to reach it, as of now."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                lost = asyncio.Event()
                try:
                    connection = await Connection.open(login(), lambda _, lost=lost: lost.set())  # type: ignore[misc]
                    await connection.listen(subjects.BLOBS, self._hearer(connection, places, tasks), backlog=BACKLOG)
                    await connection.flush()
                except Transient as error:
                    log.debug("blobs are not on the bus yet: %s", error.message)
                    await asyncio.sleep(CONNECT_PAUSE)
                    continue
                try:
                    await lost.wait()
                finally:
                    await connection.close()

    def _hearer(self, connection: Connection, places: asyncio.Semaphore, tasks: asyncio.TaskGroup) -> Hearer:
        async def answer(holder: Holder, msg: Msg) -> None:
            try:
                await connection.send(msg.reply, await self.serve(holder, msg.data))
            except Unanswered:
                log.debug("an answer was lost with the connection")
            finally:
                places.release()

        async def heard(msg: Msg) -> None:
            try:
                holder = subjects.blobs_holder(msg.subject)
            except ValueError as error:
                log.warning("%s", error)
                return
            if msg.reply.startswith("_R_."):  # the server names the asker so; we speak nowhere else
                await places.acquire()
                tasks.create_task(answer(holder, msg))

        return heard

    async def serve(self, holder: Holder, request: bytes) -> bytes:
        """Answer one request."""
        try:
            asked = unpack(request)
            return await (self._put(holder, asked) if isinstance(asked, Put) else self._get(holder, asked))
        except QuarterdeckError as error:
            return head({"error": told(error)})
        except Exception:  # the fault is ours: whoever asked shall not wait
            log.exception("a request of %s could not be answered", holder.name)
            return head({"error": told(Terminal("blobs could not be reached; the log of the control plane has the cause"))})

    async def _get(self, holder: Holder, asked: Get) -> bytes:
        if asked.at == 0:
            await asyncio.to_thread(self.blobs.check, holder.system, asked.ref)
        return head({}, await asyncio.to_thread(self.blobs.read, holder.system, asked.ref, asked.at, PIECE))

    async def _put(self, holder: Holder, asked: Put) -> bytes:
        """Take a piece if it is the next one, and say how much is here."""
        transfer = self._transfer(holder, asked.ref)
        async with transfer.turn:
            if self._putting.get((holder, asked.ref)) is not transfer:  # it ended meanwhile: this is a piece that was sent twice
                return await self._put(holder, asked)
            try:
                have = await asyncio.to_thread(_taken, self.blobs, holder.system, transfer, asked)
            finally:
                if transfer.draft is None:
                    del self._putting[holder, asked.ref]
        return head({"have": have})

    def _transfer(self, holder: Holder, ref: Ref) -> _Transfer:
        now = self.clock.monotonic()
        found = self._putting.pop((holder, ref), None)
        if found is None:
            self._make_room(holder, now - IDLE)
            found = _Transfer(now)
        found.last = now
        self._putting[holder, ref] = found  # the last used is the last in the list
        return found

    def _make_room(self, holder: Holder, before: float) -> None:
        """Forget what sends nothing any more, and of a replica that has begun too many the first ones: those it has given up."""
        still = [key for key, transfer in self._putting.items() if not transfer.turn.locked()]
        mine = [key for key in still if key[0] == holder]
        over = mine[: max(0, len(mine) - TRANSFERS + 1)]
        for key in still:
            if key in over or self._putting[key].last < before:
                draft = self._putting.pop(key).draft
                if draft is not None:
                    draft.drop()


def _taken(blobs: Blobs, system: str, transfer: _Transfer, asked: Put) -> int:
    """How much is here after this piece; a transfer without a draft is over. Raises Conflict, StoreReadOnly, and it is over too."""
    draft = transfer.draft
    if draft is None:
        if blobs.holds(system, asked.ref):
            return asked.ref.size
        draft = transfer.draft = blobs.draft(system)
    try:
        if asked.at == draft.size and asked.piece:
            _add(draft, asked)
        if draft.size < asked.ref.size:
            return draft.size
    except BaseException:
        _end(transfer, draft)
        raise
    _end(transfer, draft)
    return asked.ref.size


def _add(draft: Draft, asked: Put) -> None:
    draft.write(asked.piece)
    if draft.size > asked.ref.size:
        raise Conflict(f"what came is more than {asked.ref.size:,} bytes", hint="put it again under its own name")
    if draft.size == asked.ref.size:
        draft.keep(asked.ref)


def _end(transfer: _Transfer, draft: Draft) -> None:
    draft.drop()
    transfer.draft = None
