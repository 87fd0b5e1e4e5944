"""After a failed write: never the same file again. The next start copies the database into a new file, proves it, and puts it in place.

A sync that failed once may report success the next time while the data is gone, so whatever the old file says after a failure is read
only to be copied (SQLite's backup API), synced, checked against the chain and the head file, and renamed; the old file is kept beside.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from quarterdeck.durable import sync_file, sync_folder
from quarterdeck.errors import Transient
from quarterdeck.store import engine, tail

_WIDTH: Final = 512
_SPARE: Final = 1 << 20
"""Free bytes to leave beside the copy: a store that fills the disk again at once has not recovered."""


@dataclass(frozen=True, slots=True)
class Marker:
    """The state of the database file: `ok`, `failed <why>` or `copied`, in a file of fixed size, so that a full disk cannot stop a note."""

    path: Path

    @classmethod
    def of(cls, root: Path) -> Marker:
        """The marker of a home."""
        return cls(root / "store.state")

    def prepare(self) -> None:
        """Lay the file out while there is room."""
        if not self.path.exists():
            self.set("ok")

    def get(self) -> str:
        """What was noted last; `ok` when nothing was."""
        return self.path.read_text(errors="replace").strip() if self.path.exists() else "ok"

    def set(self, state: str) -> None:
        """Note it durably; raises OSError."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, state.encode()[:_WIDTH].ljust(_WIDTH), 0)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Places:
    """Names beside the database. Of old files only the last pair is kept."""

    database: Path

    def beside(self, suffix: str) -> Path:
        """`quarterdeck.db` with something appended."""
        return self.database.with_name(self.database.name + suffix)

    @property
    def copy(self) -> Path:
        """The new file while it is being made."""
        return self.beside(".new")

    @property
    def kept(self) -> Path:
        """The old file."""
        return self.beside(".failed")


def mend(database: Path, head_file: Path, marker: Marker) -> bool:
    """Do what the marker asks for; True when the database was replaced by its copy.

    Safe to be killed at any point: it is simply done again. Raises Transient when there is no room, what the disk says, or Terminal
    when the old file does not pass the check.
    """
    state, places = marker.get(), Places(database)
    if state == "ok":
        return False
    if state.startswith("failed") and database.exists():
        _copy(places, head_file)
        _forget_older(places)
        marker.set("copied")
    _swap(places)
    marker.set("ok")
    return True


def _copy(places: Places, head_file: Path) -> None:
    places.copy.unlink(missing_ok=True)
    needed = places.database.stat().st_size + _wal_size(places) + _SPARE
    free = shutil.disk_usage(places.database.parent).free
    if free < needed:
        msg = f"the disk is full: a copy of the database needs {needed >> 10} KiB, {free >> 10} KiB are free"
        raise Transient(msg)
    try:
        _backup(engine.untouched(places.database), places.copy)
        sync_file(places.copy)
        _check(places.copy, head_file)
    except BaseException:
        places.copy.unlink(missing_ok=True)
        raise
    sync_folder(places.copy.parent)


def _backup(source: Engine, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with source.connect() as connection:
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous=FULL")
            engine.driver(connection).backup(copy)
        finally:
            copy.close()
    source.dispose()


def _check(path: Path, head_file: Path) -> None:
    source = engine.untouched(path)
    try:
        with source.connect() as connection:
            tail.check(connection, head_file)
    finally:
        source.dispose()


def _forget_older(places: Places) -> None:
    places.kept.unlink(missing_ok=True)
    places.beside(".failed-wal").unlink(missing_ok=True)


def _swap(places: Places) -> None:
    """The old log goes first: it must never meet the new database."""
    if not places.copy.exists():
        return
    if places.beside("-wal").exists():
        places.beside("-wal").replace(places.beside(".failed-wal"))
    places.beside("-shm").unlink(missing_ok=True)
    sync_folder(places.database.parent)
    if not places.kept.exists():
        places.kept.hardlink_to(places.database)
    places.copy.replace(places.database)
    sync_folder(places.database.parent)


def _wal_size(places: Places) -> int:
    wal = places.beside("-wal")
    return wal.stat().st_size if wal.exists() else 0
