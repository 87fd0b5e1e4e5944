"""Large bodies as files, `HOME/blobs/<system>/<first two digits>/<sha256>`: what has the same content is one file, written once.

Only the control plane reads and writes them. A file that no row refers to, and that nobody has put or asked for in a day, goes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select, text

from quarterdeck.bus.subjects import TOKEN
from quarterdeck.durable import sync_folder, write_all
from quarterdeck.errors import Conflict, NotFound, StoreReadOnly, Terminal
from quarterdeck.model.blobs import MOST_BLOB, Ref, nowhere
from quarterdeck.model.work import TooLarge
from quarterdeck.store import rows, tables

UNUSED: Final = 86_400.0
"""Seconds that a file stays to which nothing refers: who has put it may be about to."""
SPARE: Final = 256 * 1024 * 1024
"""Bytes of the disk that are left to the database, which must be able to write."""
AT_ONCE: Final = 200
"""Files whose references are looked for with one read."""
_DRAFT: Final = ".draft-"
_CHUNK: Final = 1 << 20
_COLUMNS: Final = (tables.task_bodies.c.body, tables.steps.c.value, tables.effects.c.value, tables.outbox.c.body)
"""Every column in which a body is kept; each has an index of its references."""


class Blobs:
    """Made once for a home, since it keeps what is about to be used from what is about to be dropped. Every method may block."""

    def __init__(self, root: Path, *, spare: int = SPARE) -> None:
        self._root = root
        self._spare = spare
        self._using = threading.Lock()

    def open(self) -> None:
        """Begin: what was on its way when the last process ended is begun anew by whoever sends it."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._root.glob(f"*/{_DRAFT}*"):
            left.unlink()

    def draft(self, system: str) -> Draft:
        """Begin a new one. Raises StoreReadOnly."""
        with _writing():
            folder = self._folder(system)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._root)
            return Draft(folder, self._spare)

    def use(self, system: str, ref: Ref) -> None:
        """See to it that it stays for a day at least; raises NotFound when it is not there."""
        path = self._path(system, ref)
        with self._using:
            if not self._there(path, ref):
                nowhere(system, ref)
            os.utime(path)

    def holds(self, system: str, ref: Ref) -> bool:
        """Whether it is there and whole; it stays for a day then."""
        try:
            self.use(system, ref)
            self.check(system, ref)
        except (NotFound, Terminal):
            return False
        return True

    def check(self, system: str, ref: Ref) -> None:
        """Read all of it. Raises NotFound, and Terminal when it cannot be read or its content is not what its name says."""
        content, at = hashlib.sha256(), 0
        while piece := self.read(system, ref, at, _CHUNK):
            content.update(piece)
            at += len(piece)
        if (content.hexdigest(), at) != (ref.digest, ref.size):
            raise Terminal(f"the file of blob {ref} is damaged", hint="put the same content again: it is written anew")

    def read(self, system: str, ref: Ref, at: int, most: int) -> bytes:
        """Up to so many bytes of it. Raises NotFound, Terminal."""
        try:
            with self._path(system, ref).open("rb") as file:
                return os.pread(file.fileno(), most, at)
        except FileNotFoundError:
            raise NotFound(f"there is no blob {ref} in {system}", hint="it was dropped, as nothing referred to it") from None
        except OSError as error:
            raise Terminal(f"the file of blob {ref} cannot be read: {error.strerror}", hint="put the same content again") from error

    def sweep(self, referred: Callable[[list[Ref]], Collection[str]], before: float) -> int:
        """Drop what was not used since that time (epoch seconds) and what none of the bodies refers to; gives how many those are."""
        old, gone = list(self._old(before)), 0
        for at in range(0, len(old), AT_ONCE):
            some = old[at : at + AT_ONCE]
            kept = referred([ref for _, ref in some])
            gone += sum(self._drop(path, before) for path, ref in some if ref.body not in kept)
        return gone

    def _old(self, before: float) -> Iterator[tuple[Path, Ref]]:
        for path in self._root.glob("*/??/*"):
            seen = path.stat()
            if seen.st_mtime < before:
                yield path, Ref(path.name, seen.st_size)

    def _drop(self, path: Path, before: float) -> bool:
        with self._using:
            if path.stat().st_mtime >= before:  # somebody is about to refer to it
                return False
            path.unlink()
            return True

    def _there(self, path: Path, ref: Ref) -> bool:
        return path.is_file() and path.stat().st_size == ref.size

    def _path(self, system: str, ref: Ref) -> Path:
        return _place(self._folder(system), ref)

    def _folder(self, system: str) -> Path:
        if not TOKEN.match(system):
            raise NotFound(f"there is no system {system[:100]!r}", hint="qd get systems lists them")
        return self._root / system


class Draft:
    """Content on its way into a file; `keep` it or `drop` it."""

    def __init__(self, folder: Path, spare: int) -> None:
        self.size = 0
        self._folder = folder
        self._spare = spare
        self._path = folder / f"{_DRAFT}{os.urandom(8).hex()}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._content = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Add to it. Raises TooLarge, StoreReadOnly; then it can only be dropped."""
        if self.size + len(piece) > MOST_BLOB:
            raise TooLarge(f"more than {MOST_BLOB:,} bytes", hint="keep it where its reader can reach it too, and pass its name")
        with _writing():
            disk = os.fstatvfs(self._file)
            if disk.f_bavail * disk.f_frsize - len(piece) < self._spare:
                raise StoreReadOnly("the disk has no room for large payloads", hint="make room on the disk of the home: qd doctor")
            write_all(self._file, piece)
        self._content.update(piece)
        self.size += len(piece)

    def keep(self, wanted: Ref | None = None) -> Ref:
        """Give it its name, on disk when this returns. Raises Conflict when that is not the one wanted, StoreReadOnly."""
        found = Ref(self._content.hexdigest(), self.size)
        if wanted not in (None, found):
            raise Conflict(f"what came is {found}, not {wanted}", hint="its content has changed on the way: put it again")
        path = _place(self._folder, found)
        with _writing():
            os.fsync(self._file)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._folder)
            self._path.replace(path)  # over one of the same name too: it may be damaged, ours is not
            sync_folder(path.parent)
        return found

    def drop(self) -> None:
        """Leave nothing behind; what was kept stays."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def referred(connection: Connection, refs: list[Ref]) -> set[str]:
    """Which of these some body refers to, as bodies have them."""
    found: set[str] = set()
    for column in _COLUMNS:
        for some, size in rows.parts([ref.body for ref in refs]):
            is_ref = text(tables.IS_REF.format(column.name))  # spelled as in the index, or it is not used
            query = select(column).where(is_ref, rows.any_of(column, size))
            found.update(connection.execute(query, rows.named(some)).scalars())
    return found


def _place(folder: Path, ref: Ref) -> Path:
    return folder / ref.digest[:2] / ref.digest


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreReadOnly(f"a large payload cannot be kept: {error.strerror}", hint="qd doctor looks at the disk of the home") from error
