"""The one writer: a thread that takes waiting requests in groups, one savepoint each, one commit for all, and only then answers.

A request that raises fails alone. A commit that fails ends the writer for good: whoever waits is told *unknown*, and the process must
end, because the same file cannot be trusted again (recover.py). A database locked by somebody else fails the group as "not now".
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from quarterdeck.clock import Clock
from quarterdeck.errors import StoreReadOnly, Transient
from quarterdeck.store.chain import Head
from quarterdeck.store.engine import driver, failure, fold_wal
from quarterdeck.store.writing import Writing

T = TypeVar("T")
GROUP: Final = 128
"""Requests in one commit."""
WAITING: Final = 10_000
"""Requests that may wait; one more is refused as Transient."""
FOLD_EVERY: Final = 500
"""Requests after which the write-ahead log is folded into the database file."""
_IDLE: Final = 5.0
"""Seconds of silence after which the keeper is asked whether a checkpoint is due."""


class Keeper(Protocol):
    """What the writer needs of keeper.py."""

    def due(self, head: Head) -> bool:
        """Whether the next commit should make a checkpoint."""
        ...

    def checkpoint(self, tx: Writing) -> None:
        """Make it."""
        ...

    def committed(self, head: Head) -> bool:
        """Note the head after a commit; True when the journal grew."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


@dataclass(slots=True)
class _Request:
    work: Callable[[Writing], object]
    future: Future[object] = field(default_factory=Future)
    value: object = None
    error: Exception | None = None
    taken: bool = False

    def answer(self) -> None:
        if not self.taken:
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)

    def give_up(self, error: Exception) -> None:
        if self.future.done():
            return  # answered before the failure, or cancelled
        if self.taken or self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Writer:
    """Owns the writing connection. `on_growth` is called after each commit that journalled, `on_failure` once, both in its thread."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        head: Head,
        keeper: Keeper,
        *,
        on_growth: Callable[[], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._engine, self._clock, self._head, self._keeper = engine, clock, head, keeper
        self._on_growth, self._on_failure = on_growth, on_failure
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._open = True
        self._unfolded = 0
        self.groups = 0
        self.thread = threading.Thread(target=self._run, name="qd-writer", daemon=True)
        self.thread.start()

    def submit(self, work: Callable[[Writing], T]) -> Future[T]:
        """Queue some work; the future is answered after its commit. Raises StoreReadOnly when closed, Transient when too many wait."""
        if self._queue.qsize() >= WAITING:
            msg = f"{WAITING} writes are waiting: the store cannot keep up"
            raise Transient(msg, hint="try again in a moment")
        request = _Request(work)
        with self._gate:  # nothing may enter the queue behind the stop mark or after a failure
            if not self._open:
                raise StoreReadOnly("the store takes no more writes")
            self._queue.put(request)
        return request.future  # type: ignore[return-value]

    def stop(self) -> None:
        """Finish what is queued, make a last checkpoint, and wait for the thread."""
        self._shut()
        self._queue.put(None)
        self.thread.join()

    def _shut(self) -> None:
        with self._gate:
            self._open = False

    def _run(self) -> None:
        group: list[_Request] = []
        try:
            with self._engine.connect() as connection:
                tx = Writing(connection, self._clock, self._head)
                last = False
                while not last:
                    group, last = self._next_group()
                    self._serve(tx, group, last=last)
                    group = []
                fold_wal(connection, "TRUNCATE")
            self._keeper.close()
        except Exception as error:  # noqa: BLE001 whatever breaks the writer breaks it for good
            self._fail(error, group)

    def _next_group(self) -> tuple[list[_Request], bool]:
        group: list[_Request] = []
        try:
            while len(group) < GROUP:
                request = self._queue.get(block=not group, timeout=_IDLE)
                if request is None:
                    return group, True
                group.append(request)
        except queue.Empty:
            return group, False
        return group, False

    def _serve(self, tx: Writing, group: list[_Request], *, last: bool) -> None:
        started = tx.head
        if not group and not last and not self._keeper.due(tx.head):
            return
        try:
            self._commit(tx, group, last=last)
        except Exception as error:
            if failure(error) != "busy" or in_transaction(tx.connection):
                raise
            tx.head = started
            tx.forget()
            for request in group:
                request.give_up(Transient("the database is locked by another process", hint="try again in a moment"))
            return
        grew = self._keeper.committed(tx.head)
        if grew:
            self._on_growth()  # first: whoever wrote and then reads must not be given what was read before
        for request in group:
            request.answer()
        self._fold(tx.connection, len(group))

    def _commit(self, tx: Writing, group: list[_Request], *, last: bool) -> None:
        with tx.connection.begin():
            for request in group:
                request.taken = request.future.set_running_or_notify_cancel()
                if request.taken:
                    _attempt(tx, request)
            if last or self._keeper.due(tx.head):
                self._keeper.checkpoint(tx)
        self.groups += 1

    def _fold(self, connection: Connection, requests: int) -> None:
        self._unfolded += requests
        if self._unfolded >= FOLD_EVERY:
            self._unfolded = 0
            fold_wal(connection, "PASSIVE")

    def _fail(self, error: Exception, group: list[_Request]) -> None:
        self._shut()
        try:
            self._on_failure(error)
        finally:
            unknown = Transient(f"the outcome of this write is unknown: {error}", hint="look again once the store is back")
            for request in group:
                request.give_up(unknown)
            while not self._queue.empty():
                waiting = self._queue.get()
                if waiting:
                    waiting.give_up(unknown)


def in_transaction(connection: Connection) -> bool:
    """Whether SQLite itself still has the transaction: a full disk may have ended it without a word to the layers above."""
    return driver(connection).in_transaction


def _attempt(tx: Writing, request: _Request) -> None:
    head = tx.head
    try:
        with tx.connection.begin_nested():
            request.value = request.work(tx)
    except Exception as error:
        if failure(error) or not in_transaction(tx.connection):
            raise
        tx.head = head
        tx.forget()
        request.error = error
