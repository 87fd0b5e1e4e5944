"""What must not run on this machine, whatever else says so: a short list on disk that is older than every kill it orders.

The file is preallocated and written in place, so that a full disk cannot stop a stop, in two halves by turns, so that a torn write leaves
the list before it. It has one writer at a time: the node while there is one, else whoever holds the node's lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from quarterdeck.durable import write_all
from quarterdeck.errors import Conflict, UserError
from quarterdeck.model.home import Home

Edit = Callable[[tuple["Halt", ...]], tuple["Halt", ...]]
_HALF: Final = 128 << 10
_HEAD: Final = struct.Struct(">4sQI32s")
_MAGIC: Final = b"QDH1"
TASK: Final = "task:"
"""Begins the target of a halt that is about one task: it forbids no replica to run, and waits for a control plane to end the task."""
LONGEST_REASON: Final = 200
"""Characters of a reason that are kept here; a Change keeps it whole."""


@dataclass(frozen=True, slots=True)
class Halt:
    """A system (empty: all), a cluster or an agent of which nothing may run. `target` is empty, `cluster`, `cluster/agent` or `task:ID`.

    `since` is epoch seconds. `change` is the Change that says so; None where it came past the control plane, which then makes one.
    """

    system: str
    target: str
    since: float
    reason: str
    actor: str = ""
    change: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """There is one for each."""
        return self.system, self.target

    def covers(self, system: str, agent: str) -> bool:
        """Whether it forbids `cluster/agent` of a system to run."""
        return self.system in ("", system) and self.target in ("", agent, agent.partition("/")[0])

    def to_json(self) -> dict[str, object]:
        """A JSON object; `from_json` gives the same value back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Halt:
        """Read the JSON form; raises KeyError, TypeError or ValueError when it is not one."""
        change = data["change"]
        return cls(
            str(data["system"]),
            str(data["target"]),
            float(data["since"]),
            str(data["reason"])[:LONGEST_REASON],
            str(data["actor"])[:LONGEST_REASON],
            None if change is None else int(change),
        )


def with_halt(halts: Iterable[Halt], new: Halt) -> tuple[Halt, ...]:
    """The list with one added. One that is there already stays as old as it is, and learns of the newest Change that says so."""
    kept = {halt.key: halt for halt in halts}
    old = kept.get(new.key)
    kept[new.key] = new if old is None else replace(old, change=new.change or old.change)
    return tuple(kept.values())


def without(halts: Iterable[Halt], key: tuple[str, str]) -> tuple[Halt, ...]:
    """The list with one taken out."""
    return tuple(halt for halt in halts if halt.key != key)


def prepare(home: Home) -> None:
    """Take the room on disk that a later write needs. Raises OSError."""
    size = home.halts.stat().st_size if home.halts.exists() else 0
    if size < 2 * _HALF:  # nothing that is there is touched: it may be a list
        _put(home, size, b"0" * (2 * _HALF - size))


def read(home: Home) -> tuple[Halt, ...] | None:
    """The list on disk; None when there is one that cannot be read: then nobody knows what may run."""
    try:
        content = home.halts.read_bytes()
    except FileNotFoundError:  # a home of before
        return ()
    halves = [content[:_HALF], content[_HALF : 2 * _HALF]]
    found = [half for half in map(_open, halves) if half is not None]
    if found:
        return max(found, key=lambda half: half[0])[1]
    return () if all(half.strip(b"0") == b"" for half in halves) else None


def write(home: Home, halts: Iterable[Halt]) -> None:
    """Replace the list, on disk when this returns. Raises UserError when it has grown too long, OSError."""
    body = json.dumps([halt.to_json() for halt in halts], separators=(",", ":")).encode()
    if len(body) > _HALF - _HEAD.size:
        raise UserError(f"{len(body):,} bytes of halts are too many", hint="qd stop cluster NAME and qd stop fleet are one each")
    prepare(home)
    number = _newest(home) + 1
    head = _HEAD.pack(_MAGIC, number, len(body), hashlib.sha256(number.to_bytes(8, "big") + body).digest())
    _put(home, number % 2 * _HALF, head + body)


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Be the writer while no node lives, by its lock. Raises Conflict when one does."""
    home.node.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.node / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("a node runs on this home", hint="it keeps the halts: ask it") from None
        yield
    finally:
        os.close(descriptor)


def edit_alone(home: Home, edit: Edit) -> tuple[Halt, ...]:
    """Change the list while no node lives; gives the new one. Raises Conflict when one does, OSError."""
    with alone(home):
        new = edit(read(home) or ())
        write(home, new)
        return new


def _newest(home: Home) -> int:
    content = home.halts.read_bytes()
    return max((half[0] for half in (_open(content[:_HALF]), _open(content[_HALF:])) if half is not None), default=0)


def _open(half: bytes) -> tuple[int, tuple[Halt, ...]] | None:
    """(number, list) of one half, or None when it holds none."""
    if len(half) < _HEAD.size:
        return None
    magic, number, length, digest = _HEAD.unpack_from(half)
    body = half[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or hashlib.sha256(number.to_bytes(8, "big") + body).digest() != digest:
        return None
    return number, tuple(Halt.from_json(item) for item in json.loads(body))


def _put(home: Home, at: int, content: bytes) -> None:
    descriptor = os.open(home.halts, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.lseek(descriptor, at, os.SEEK_SET)
        write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
