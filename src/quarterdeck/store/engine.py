"""How the database file is opened, four ways, and what an error from it means. The only file that knows SQLite's own words.

- `writable`: the one writer: WAL, synchronous=FULL (both asserted), BEGIN IMMEDIATE, no automatic checkpoint: SQLite swallows the errors
  of an automatic one, so the writer orders checkpoints itself and sees them fail.
- `readers`: a pool of query-only connections, each use one snapshot.
- `untouched`: reads a file that must not be written to any more, or whose disk is full: read-only descriptor, no locks of its own (our
  file lock keeps others out) and EXCLUSIVE mode, so that neither a `-shm` file nor a checkpoint at close is needed.
- `offline`: somebody else's file, perhaps in use at this moment.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import Pool, QueuePool, StaticPool

from quarterdeck.errors import Terminal

Failure = Literal["busy", "full", "io", "corrupt"]
BUSY_SECONDS: Final = 5.0
ERRORS: Final = (OSError, sqlite3.Error, DBAPIError)
"""What opening, reading and copying may raise when the disk is at fault."""
_FULL_SYNC: Final = 2
_CODES: Final[dict[int, Failure]] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "io",
    sqlite3.SQLITE_CANTOPEN: "io",
    sqlite3.SQLITE_READONLY: "io",
    sqlite3.SQLITE_PROTOCOL: "io",
    sqlite3.SQLITE_NOMEM: "io",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
}
_ERRNOS: Final[dict[int, Failure]] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EIO: "io",
    errno.EROFS: "io",
}


def writable(path: Path) -> Engine:
    """The writer's engine: a single connection, durable at every commit."""

    def connect() -> sqlite3.Connection:
        raw = _open(path, "mode=rwc", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "journal_size_limit=67108864")
        _assert_durable(raw)
        return raw

    return _engine(connect, "BEGIN IMMEDIATE", StaticPool)


def readers(path: Path) -> Engine:
    """A pool of query-only connections; more than 16 at once wait up to 5 s."""

    def connect() -> sqlite3.Connection:
        return _open(path, "mode=rw", "query_only=ON")

    return _engine(connect, "BEGIN", QueuePool)


def untouched(path: Path) -> Engine:
    """Reads without changing a byte on disk; one connection, so one reader at a time."""

    def connect() -> sqlite3.Connection:
        wal = path.with_name(path.name + "-wal")
        whole = not wal.exists() or wal.stat().st_size == 0
        # EXCLUSIVE comes before the first read, or SQLite would want a -shm file
        return _open(path, "immutable=1" if whole else "mode=ro&vfs=unix-none", "locking_mode=EXCLUSIVE")

    return _engine(connect, "BEGIN", StaticPool)


def offline(path: Path) -> Engine:
    """For verifiers: takes part in SQLite's locking when it can, so that a running control plane is not disturbed."""
    if not path.with_name(path.name + "-shm").exists():  # nobody is using it, and reading it must not make files
        return untouched(path)
    try:
        raw = _open(path, "mode=ro", "schema_version")
    except sqlite3.OperationalError:  # left by a crash, on a disk that has no room now
        return untouched(path)
    return _engine(lambda: raw, "BEGIN", StaticPool)


def fold_wal(connection: Connection, mode: Literal["PASSIVE", "TRUNCATE"]) -> None:
    """Copy the write-ahead log into the database file and sync it; raises what the disk answers. Outside a transaction only."""
    driver(connection).execute(f"PRAGMA wal_checkpoint({mode})").fetchall()


def driver(connection: Connection) -> sqlite3.Connection:
    """The sqlite3 connection underneath."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        msg = f"the store expects sqlite3, not {type(raw).__name__}"
        raise TypeError(msg)
    return raw


def failure(error: BaseException) -> Failure | None:
    """What the database or the disk means by an error, looking through its causes; None: it is not about them."""
    return next((kind for one in _causes(error) if (kind := _kind(one))), None)


def _kind(error: BaseException) -> Failure | None:
    if isinstance(error, sqlite3.Error):
        return _CODES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return _ERRNOS.get(error.errno or 0) if isinstance(error, OSError) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.orig if isinstance(one, DBAPIError) else None, one.__cause__, one.__context__]


def _open(path: Path, query: str, *pragmas: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{query}"
    raw = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    try:
        for pragma in (*pragmas, "temp_store=MEMORY"):  # a full disk must not break sorting
            raw.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        raw.close()
        raise
    return raw


def _engine(connect: Callable[[], sqlite3.Connection], begin: str, pool: type[Pool]) -> Engine:
    bounds = {"pool_size": 4, "max_overflow": 12, "pool_timeout": 5} if pool is QueuePool else {}
    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=pool, **bounds)

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "begin", start)
    return engine


def _assert_durable(raw: sqlite3.Connection) -> None:
    (mode,) = raw.execute("PRAGMA journal_mode").fetchone()
    (sync,) = raw.execute("PRAGMA synchronous").fetchone()
    if (mode, sync) != ("wal", _FULL_SYNC):
        raw.close()
        msg = f"the database would not be durable: journal_mode={mode}, synchronous={sync} (wanted wal and FULL)"
        raise Terminal(msg, hint="keep the home on a local file system; network file systems cannot do this")
