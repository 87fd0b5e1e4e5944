"""One control plane per home: an advisory lock that the kernel lifts when its holder dies, with the holder's name in the file."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.clock import Clock, iso
from quarterdeck.errors import Conflict

_WIDTH: Final = 128


@dataclass(frozen=True, slots=True)
class FileLock:
    """A held lock; `release` or the end of the process lifts it."""

    descriptor: int

    def release(self) -> None:
        """Let the next one in."""
        os.close(self.descriptor)


def look(path: Path) -> None:
    """Raise what `take` would; for who has much to do before he takes it."""
    with suppress(FileNotFoundError):
        os.close(_locked(path, os.O_RDWR | os.O_CLOEXEC))


def take(path: Path, clock: Clock) -> FileLock:
    """Take the lock at once or raise Conflict that names the holder's pid and since when it holds."""
    descriptor = _locked(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    text = json.dumps({"pid": os.getpid(), "since": iso(clock.now())}).ljust(_WIDTH).encode()
    with suppress(OSError):  # a full disk: the lock is what matters, the name in it is a courtesy
        os.pwrite(descriptor, text, 0)
    return FileLock(descriptor)


def _locked(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, _WIDTH, 0)
        os.close(descriptor)
        msg = f"another control plane holds this home: {_name(holder)}"
        raise Conflict(msg, hint="stop it with qd down, or use another QUARTERDECK_HOME", where=str(path.parent)) from error
    return descriptor


def _name(text: bytes) -> str:
    try:
        holder = json.loads(text)
        return f"pid {holder['pid']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "its name is not readable"
