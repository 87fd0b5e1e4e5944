"""Output of replicas and services, line by line, into rotated files.

A line in a file is `<iso time> <out|err> <text>`. Reading is rationed per pipe, so that one that floods is slowed down by its own full
pipe instead of starving the node.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from quarterdeck.clock import Clock, iso
from quarterdeck.masks import OPEN, Mask

_FILES: Final = 5
_SIZE: Final = 2 << 20
_LONGEST_LINE: Final = 16 << 10
_READ_AT_ONCE: Final = 64 << 10
_PAUSE: Final = 0.02
_LAST_READS: Final = 16


class LogFile:
    """One log and its four predecessors (`.1` is the youngest). Shared by the incarnations of a slot while they overlap."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file = -1
        self._size = 0
        self.users = 0
        """Pipes that end in it now."""

    def write(self, stream: str, lines: list[bytes]) -> int:
        """Append; returns by how many bytes the logs on disk have grown (negative when an old file was dropped)."""
        stamp = f"{iso(self._clock.now())} {stream} ".encode()
        data = b"".join(b"%s%s\n" % (stamp, line) for line in lines)
        dropped = self._rotate() if self._size + len(data) > _SIZE else 0
        if self._file < 0:
            self._open()
        os.write(self._file, data)
        self._size += len(data)
        return len(data) - dropped

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> int:
        self.close()
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, _FILES))]
        dropped = names[-1].stat().st_size if names[-1].exists() else 0
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
        return dropped

    def close(self) -> None:
        """Give the descriptor back; a later write opens it again."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = -1, 0


class Logs:
    """All log files, and the number of bytes they take."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._files: dict[str, LogFile] = {}
        self.bytes = sum(path.stat().st_size for path in folder.rglob("*.log*"))

    def reader(self, name: str, stream: str, mask: Mask = OPEN) -> LogPipe:
        """A fresh pipe whose lines go to `<name>.log`, without what `mask` takes out."""
        if name not in self._files:
            self._files[name] = LogFile(self._folder / f"{name}.log", self._clock)
        self._files[name].users += 1
        return LogPipe(self, name, stream, mask)

    def add(self, name: str, stream: str, lines: list[bytes]) -> None:
        """Write lines of a reader."""
        self.bytes += self._files[name].write(stream, lines)

    def release(self, name: str) -> None:
        """A reader has finished; the last one closes the file."""
        file = self._files[name]
        file.users -= 1
        if file.users == 0:
            self._files.pop(name).close()


class LogPipe:
    """The read end of one stream. `write_end` goes to the child and is closed by `started`."""

    def __init__(self, logs: Logs, name: str, stream: str, mask: Mask) -> None:
        self._logs = logs
        self._mask = mask
        self._name = name
        self._stream = stream
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)
        self._paused: asyncio.TimerHandle | None = None

    def started(self) -> None:
        """The child has its copy of the write end."""
        os.close(self.write_end)

    def _read(self) -> None:
        if self._read_once() == _READ_AT_ONCE:
            self._loop.remove_reader(self._read_end)
            self._paused = self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._read_end, self._read)

    def _read_once(self) -> int:
        try:
            data = os.read(self._read_end, _READ_AT_ONCE)
        except BlockingIOError:  # read meanwhile
            return 0
        if not data:
            self._loop.remove_reader(self._read_end)
            return 0
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = self._mask.data(self._rest)
            whole = len(self._rest) - max(self._mask.longest - 1, 0)  # what follows may complete a secret
            lines.append(self._rest[:whole])
            self._rest = self._rest[whole:]
        if lines:
            self._logs.add(self._name, self._stream, [piece for line in lines for piece in self._pieces(line)])
        return len(data)

    def finish(self) -> None:
        """The child is gone: take what is left in the pipe (a bounded number of reads, somebody else may still hold it) and close."""
        for _ in range(_LAST_READS):
            if not self._read_once():
                break
        if self._rest:
            self._logs.add(self._name, self._stream, self._pieces(self._rest))
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        self._logs.release(self._name)

    def _pieces(self, line: bytes) -> list[bytes]:
        line = self._mask.data(line)
        return [line[at : at + _LONGEST_LINE] for at in range(0, len(line), _LONGEST_LINE)] or [b""]
