"""The ledger's own thread: its loop, its connection to the bus, and its sweeps, so that a busy API delays no lease."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quarterdeck.bus import subjects
from quarterdeck.bus.connection import Connection, Login, Unanswered
from quarterdeck.bus.envelope import Envelope, new_id
from quarterdeck.bus.posting import Posting
from quarterdeck.errors import QuarterdeckError, Transient
from quarterdeck.model.work import Holder, Target
from quarterdeck.model.world import Happening
from quarterdeck.store import meta
from quarterdeck.work.ledger import SWEEP_EVERY, Ledger
from quarterdeck.work.outbox import Answer, Relay, answer
from quarterdeck.work.waking import Tell

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from quarterdeck.store.store import Store

log = logging.getLogger(__name__)

CONNECT_PAUSE: Final = 0.25
POST_WITHIN: Final = 5.0
"""Seconds for a stream to confirm a message."""
_NOTHING: Final = bytes(10)


@dataclass(slots=True)
class Lives:
    """Lives of the node, `last` the newest we know. One that begins kills all that an earlier one left, and only then starts any.

    So when a replica is ready for the first time in a life that we saw begin, no earlier incarnation of it is alive. Of a life that had
    begun when we did, that is not known: an earlier one may still drain.
    """

    last: str
    _seen: set[tuple[str, str]] | None = None

    @classmethod
    def known(cls, store: Store) -> Lives:
        """As of the last event that was written down."""
        with store.read() as conn:
            return cls(meta.node_cursor(conn)[0])

    def first(self, life: str, holder: Holder) -> bool:
        """Whether a replica is ready for the first time in a life that we saw begin."""
        if life != self.last:
            self.last, self._seen = life, set()
        if self._seen is None or (holder.system, holder.replica) in self._seen:
            return False
        self._seen.add((holder.system, holder.replica))
        return True


class Service:
    """Made on any thread; `start` it once, `call` it from any, `stop` it at the end. `login` says how to reach the bus, as of now.

    `lives` knows which life of the node we heard of last.
    """

    def __init__(
        self, ledger: Callable[[Tell], Ledger], login: Callable[[], Login], failed: Callable[[BaseException], None], lives: Lives
    ) -> None:
        self.ledger = ledger(self.tell)
        self._lives = lives
        self._login = login
        self._failed = failed
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._connection: Connection | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[Coroutine[object, object, None]] = []
        self.relay = Relay(self.ledger.write, self._post, self.ledger.clock, self.ledger.heard, self.ledger.fairness)
        self.ledger.listeners.append(self.relay.stir)
        self._posting = Posting(self._on_the_bus)
        self._thread = threading.Thread(target=self._run, name="qd-ledger", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def call(self, work: Callable[[], None]) -> None:
        """Run something on the ledger's loop; nothing once it has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def launch(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Run something on the ledger's loop that takes time."""
        self.call(lambda: self._spawn(work()))

    def happened(self, happening: Happening) -> None:
        """What the engine saw: a replica that ended holds nothing any more, one that is ready can be given something."""
        if happening.kind not in ("replica.exited", "replica.ready"):
            return
        holder = Holder.read(happening.system, f"{happening.target}#{happening.detail['incarnation']}")
        if happening.kind == "replica.ready":
            self.call(lambda: self.ledger.ready(holder))
            if self._lives.first(happening.boot, holder):
                self.launch(lambda: self.ledger.outlived(holder))
        else:
            cause, asked = str(happening.detail.get("cause") or ""), bool(happening.detail.get("asked"))
            self.launch(lambda: self.ledger.gone(holder, cause, asked=asked))

    def stop(self) -> None:
        """End; blocks until it has."""
        self.call(self._stopping.set)
        self._thread.join()

    def tell(self, target: Target, n: int | None) -> None:
        """`Tell`: a word to a replica, or to any one of an agent. On the ledger's loop only."""
        if self._connection is None:
            return  # nobody hears us; the sweep says it again
        to = target.agent if n is None else f"{target.agent}-{n}"
        subject = subjects.subject("ask", subjects.LEDGER_SENDER, f"{target.system}.{target.cluster}", to, subjects.LEDGER_WORD)
        self._spawn(
            self._send(
                self._connection, subject, b"", Envelope(new_id(self.ledger.clock.now(), _NOTHING), subjects.LEDGER_SENDER).headers()
            )
        )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        if self._tasks is None:
            self._early.append(work)
            return
        if self._stopping.is_set():
            work.close()
            return
        self._tasks.create_task(_guarded(work))

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as error:  # noqa: BLE001 a ledger that ended by itself must not go unnoticed
            self._failed(error)
        finally:
            self._loop.close()

    async def _live(self) -> None:
        await self._patiently(self.ledger.open)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for work in self._early:
                self._spawn(work)
            loops = [tasks.create_task(work()) for work in (self._listen, self._sweep, self.relay.run)]
            await self._stopping.wait()
            for loop in loops:
                loop.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def _listen(self) -> None:
        """Connected, whatever happens to the bus."""
        while True:
            lost = asyncio.Event()
            try:
                connection = await Connection.open(self._login(), lambda _, lost=lost: lost.set())  # type: ignore[misc]
                await connection.listen(subjects.LEDGER, self._arrived)
                await connection.flush()
            except Transient as error:
                log.debug("the ledger is not on the bus yet: %s", error.message)
                await asyncio.sleep(CONNECT_PAUSE)
                continue
            self._connection = connection
            await lost.wait()

    async def _arrived(self, msg: Msg) -> None:
        try:
            holder = subjects.ledger_holder(msg.subject)
        except ValueError as error:
            log.warning("%s", error)
            return
        if not msg.reply.startswith("_R_."):
            return  # the server names the asker so; anything else would have us speak where no asker listens
        connection, subject, body = self._connection, msg.reply, msg.data

        async def answer() -> None:
            found = await self.ledger.serve(holder, body)
            if connection is not None:
                await self._send(connection, subject, found, None)

        self._spawn(answer())

    async def _send(self, connection: Connection, subject: str, body: bytes, headers: dict[str, str] | None) -> None:
        try:
            await connection.send(subject, body, headers)
        except Unanswered:
            log.debug("lost with the connection: %s", subject)

    async def _post(self, subject: str, body: bytes, headers: dict[str, str]) -> Answer:
        """`Send`, for the relay."""
        try:
            return answer(await self._posting.post(subject, body, headers, POST_WITHIN))
        except Unanswered as error:
            raise Transient(f"no answer of the stream: {error.failure}") from error

    async def _on_the_bus(self, _: float) -> Connection:
        if self._connection is None:
            raise Transient("the ledger is not on the bus")
        return self._connection

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await _guarded(self.ledger.sweep())

    async def _patiently(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except Transient as error:  # a read-only store: until it can write, nobody is given anything
                log.warning("the ledger waits: %s", error.message)
                await asyncio.sleep(1.0)
            else:
                return


async def _guarded(work: Coroutine[object, object, None]) -> None:
    """What cannot be written now is done later; any other error is ours, and is told, but ends nobody's lease."""
    try:
        await work
    except Transient as error:
        log.warning("the ledger could not write: %s", error.message)
    except QuarterdeckError:
        log.exception("the ledger could not do this")
