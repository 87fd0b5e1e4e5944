"""The door to the truth: opens the one database of a home, lets many read and one thread write, and knows when it cannot write.

States: writable (WAL, synchronous=FULL, one writer thread); read-only (asked for, or the disk failed: reads go on, writes raise
StoreReadOnly, `try_become_writable` mends it); failed (a commit failed in this process: it must end with `EXIT_STORE_FAILED`, by os._exit,
because closing the old file would write to it once more).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine

from quarterdeck.clock import Clock
from quarterdeck.errors import NotFound, QuarterdeckError, StoreReadOnly, Terminal, Transient
from quarterdeck.model.home import Home
from quarterdeck.model.records import PLATFORM, Entry
from quarterdeck.store import checkpoints, engine, headfile, journal, lock, recover, schema, tail
from quarterdeck.store.checkpoints import Limits
from quarterdeck.store.growth import Growth, Subscription
from quarterdeck.store.keeper import Keeper
from quarterdeck.store.recover import Marker
from quarterdeck.store.writer import Writer
from quarterdeck.store.writing import Writing

T = TypeVar("T")
EXIT_STORE_FAILED: Final = 74
"""Exit code of a process whose store failed (EX_IOERR of sysexits.h): start it again, it opens read-only or mended."""
WRITE_DEADLINE: Final = 30.0
"""Seconds after which a write that is not answered is reported as unknown."""


@dataclass(frozen=True, slots=True)
class _Open:
    """What is open right now; replaced whole when a read-only store becomes writable."""

    readers: Engine
    writing: Engine | None
    writer: Writer | None
    why: str = ""


class Store:
    """Made by `Store.open`; `close` it once. `read` and `write_sync` from any thread, `write` and `subscribe` from an event loop."""

    def __init__(self, home: Home, clock: Clock, held: lock.FileLock, on_fatal: Callable[[BaseException], None], limits: Limits) -> None:
        self.home, self.limits = home, limits
        self._clock, self._held, self._on_fatal = clock, held, on_fatal
        self._marker = Marker.of(home.root)
        self._head_file = home.root / headfile.NAME
        self._growth = Growth()
        self._failed: BaseException | None = None
        self._turn = threading.RLock()
        self._open: _Open | None = None

    @classmethod
    def open(
        cls,
        home: Home,
        clock: Clock,
        *,
        read_only: bool = False,
        on_fatal: Callable[[BaseException], None] = lambda error: None,  # noqa: ARG005 nobody to tell
        limits: Limits = Limits(),  # noqa: B008 a frozen value
    ) -> Store:
        """Lock, migrate, check the journal's tail, and start the writer.

        With a full or failing disk the store opens read-only by itself: look at `writable` and `reason`. Raises Conflict when another
        process holds the home, NotFound when there is nothing to read, Terminal when the journal does not verify.
        `on_fatal` is called once, in the writer's thread, when a commit has failed: end the process.
        """
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = lock.take(home.store_lock, clock)
        store = cls(home, clock, held, on_fatal, limits)
        try:
            why = "opened to be read only" if read_only else store._start_writing()
            if why:
                store._start_reading(why)
        except BaseException:
            held.release()
            raise
        return store

    @property
    def writable(self) -> bool:
        """Whether writes are taken."""
        return self._failed is None and self._now.writer is not None

    @property
    def reason(self) -> str:
        """Why it is not writable; empty when it is."""
        return f"a commit failed: {self._failed}" if self._failed else self._now.why

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot for short reads; in a read-only store one reader at a time."""
        alone = nullcontext() if self._now.writer else self._turn
        with alone, self._now.readers.connect() as connection:
            yield connection

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Run `work` in the writer's thread and return its value once it is on disk; what it raises is raised here, nothing of it kept.

        Raises StoreReadOnly when writing is off, Transient when the outcome is unknown. Cancelling does not undo what has begun.
        """
        future = self._submit(work)
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise _unknown() from error

    def write_sync(self, work: Callable[[Writing], T]) -> T:
        """The same for plain threads; never from inside `work`."""
        if (writer := self._now.writer) and threading.current_thread() is writer.thread:
            raise RuntimeError("write_sync inside the work of a write would wait for itself")
        try:
            return self._submit(work).result(WRITE_DEADLINE)
        except FutureTimeoutError as error:
            raise _unknown() from error

    def subscribe(self) -> Subscription:
        """Wake-ups after commits that journalled something."""
        return self._growth.subscribe()

    @property
    def grown(self) -> int:
        """Another number after each commit that journalled something: what was read under the same one has not changed since."""
        return self._growth.count

    def wake(self) -> None:
        """Wake everybody who waits for growth, though nothing grew: the control plane stops."""
        self._growth.announce()

    def sizes(self) -> dict[str, int]:
        """Bytes on disk, what the journal holds, and its limits."""
        with self.read() as connection:
            records, size = checkpoints.kept(connection)
        database = self.home.database
        return {
            "database_bytes": _size(database),
            "wal_bytes": _size(database.with_name(database.name + "-wal")),
            "kept_after_failure_bytes": _size(database.with_name(database.name + ".failed")),
            "head_file_bytes": _size(self._head_file),
            "journal_records": records,
            "journal_records_limit": self.limits.records,
            "journal_bytes": size,
            "journal_bytes_limit": self.limits.bytes,
        }

    def try_become_writable(self) -> bool:
        """For a read-only store, every few seconds: True when writes are taken again. Blocks for a copy of the database."""
        with self._turn:
            if self._failed is not None or self._now.writer:
                return self.writable
            self._now.readers.dispose()
            why = self._start_writing()
            if why:
                self._start_reading(why)
            return not why

    def close(self) -> None:
        """Finish queued writes, checkpoint, and let the home go. After a failure nothing is written any more."""
        with self._turn:
            now, self._open = self._open, None
            if now is None:
                return
            if now.writer and self._failed is None:
                now.writer.stop()
            now.readers.dispose()
            if now.writing and self._failed is None:
                now.writing.dispose()
            self._held.release()

    @property
    def _now(self) -> _Open:
        if self._open is None:
            raise Terminal("the store is closed")
        return self._open

    def _submit(self, work: Callable[[Writing], T]) -> Future[T]:
        writer = self._now.writer
        if writer is None or self._failed is not None:
            msg = f"the store is read-only: {self.reason}"
            raise StoreReadOnly(msg, hint="make room on the disk; reads and qd down go on working")
        return writer.submit(work)

    def _start_writing(self) -> str:
        """Empty when writes are taken, else why not; only errors of the disk are an answer, the rest is raised."""
        try:
            self._marker.prepare()
            mended = recover.mend(self.home.database, self._head_file, self._marker)
            self._open_writer()
        except (QuarterdeckError, *engine.ERRORS) as error:
            return self._refusal(error)
        if mended:
            entry = Entry(PLATFORM, "store.recovered", self.home.database.name, "a write had failed; copied to a new file and verified")
            self.write_sync(lambda tx: journal.append(tx, entry))
        return ""

    def _open_writer(self) -> None:
        self.home.database.touch(mode=0o600)
        writing = engine.writable(self.home.database)
        try:
            schema.migrate(writing)
            with writing.connect() as connection:
                head = tail.check(connection, self._head_file)
                keeper = Keeper(connection, self._head_file, self.home.keys, self._clock, self.limits)
        except BaseException:
            writing.dispose()
            raise
        writer = Writer(writing, self._clock, head, keeper, on_growth=self._growth.announce, on_failure=self._fail)
        self._open = _Open(engine.readers(self.home.database), writing, writer)

    def _start_reading(self, why: str) -> None:
        if not _size(self.home.database):
            msg = f"there is no database to read in {self.home.root} ({why})"
            raise NotFound(msg, hint="qd up starts one; QUARTERDECK_HOME names another home")
        readers = engine.untouched(self.home.database)
        with readers.connect() as connection:
            schema.require(connection)
            tail.check(connection, self._head_file)
        self._open = _Open(readers, None, None, why)

    def _refusal(self, error: Exception) -> str:
        if isinstance(error, Transient) or engine.failure(error) in {"full", "io"}:
            return str(error)
        if engine.failure(error) == "corrupt":
            msg = f"the database is damaged: {error}"
            raise Terminal(msg, hint="restore the home from a backup", where=str(self.home.database)) from error
        raise error

    def _fail(self, error: BaseException) -> None:
        self._failed = error
        try:
            self._marker.set(f"failed {error}")
        except OSError as second:
            error.add_note(f"and the failure could not be noted: {second}")
        self._on_fatal(error)


def _unknown() -> Transient:
    return Transient(f"the write was not answered within {WRITE_DEADLINE:.0f} s: its outcome is unknown", hint="look again before retrying")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
