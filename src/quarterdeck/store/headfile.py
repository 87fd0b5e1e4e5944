"""The journal's head in a second file, one line after each commit group, so that records cut off the database's end are missed.

A line is `seq hash at checkpoint crc`: the number of the last signed checkpoint, and the CRC-32 of what stands before. Lines are not
synced one by one: after a power cut the file may lag behind the database, never lead it; opening the store brings it up to date.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from quarterdeck.durable import write_all, write_synced
from quarterdeck.store.chain import Head

NAME: Final = "journal.head"
LIMIT: Final = 1 << 20
"""Bytes after which the file starts again with its last line."""
_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A head, and the number of the last checkpoint at that moment (0: none yet)."""

    head: Head
    checkpoint: int

    @property
    def order(self) -> tuple[int, int]:
        """Later lines have a higher pair."""
        return self.head.seq, self.checkpoint

    def text(self) -> bytes:
        """As written."""
        words = f"{self.head.seq} {self.head.hash} {self.head.at!r} {self.checkpoint}".encode()
        return b"%s %08x\n" % (words, crc32(words))


class HeadFile:
    """Appends heads; keeps one descriptor open and the size within `LIMIT`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._drop_torn_line()
        self._size = os.fstat(self._descriptor).st_size

    def append(self, line: Line) -> None:
        """Add a line; raises OSError when the disk refuses."""
        if self._size > LIMIT:
            self._start_again(line)
            return
        text = line.text()
        write_all(self._descriptor, text)
        self._size += len(text)

    def sync(self) -> None:
        """Make what was appended durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._descriptor)

    def _start_again(self, line: Line) -> None:
        write_synced(self._path, line.text(), mode=0o600)
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._size = len(line.text())

    def _drop_torn_line(self) -> None:
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.ftruncate(self._descriptor, content.rfind(b"\n") + 1)


def lines(path: Path) -> Iterator[Line]:
    """Every whole line; raises ValueError for one that is damaged or out of order, and FileNotFoundError."""
    content = path.read_bytes()
    before = (0, 0)
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].decode(errors="replace").splitlines(), start=1):
        line = _line(number, text)
        if line.order < before:
            msg = f"line {number} of the head file is out of order"
            raise ValueError(msg)
        before = line.order
        yield line


def last(path: Path) -> Line | None:
    """The newest whole line; None when there is no file or nothing in it."""
    if not path.exists():
        return None
    final: Line | None = None
    for final in lines(path):  # noqa: B007 the last one is what is asked for
        pass
    return final


def _line(number: int, text: str) -> Line:
    parts = text.split(" ")
    if len(parts) != _FIELDS:
        msg = f"line {number} of the head file is damaged"
        raise ValueError(msg)
    try:
        line = Line(Head(int(parts[0]), parts[1], float(parts[2])), int(parts[3]))
    except ValueError as error:
        msg = f"line {number} of the head file is damaged"
        raise ValueError(msg) from error
    if line.text() != f"{text}\n".encode():
        msg = f"line {number} of the head file is damaged"
        raise ValueError(msg)
    return line
