"""What tasks say while they work, and how far they are: in memory only, the newest of it, for whoever follows them.

Written on the ledger's thread and read on the doors'; a control plane that starts again knows none of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_PIECES: Final = 1000
"""Pieces of output that are kept of one task."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of all tasks together; those that have said nothing for the longest time lose theirs first."""
MOST_TASKS: Final = 10_000
"""Tasks whose progress is kept."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: `n` counts those of the task from 1 (a gap shows what was lost), `at` is epoch seconds, `value` JSON text."""

    n: int
    at: float
    value: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is, 0 to 1, in its own words."""

    fraction: float
    text: str


@dataclass(slots=True)
class _Said:
    """Of one task: `base` is the number before the first piece of the attempt with the newest fence."""

    fence: int
    base: int
    last: int
    pieces: deque[Piece] = field(default_factory=deque)
    size: int = 0


@dataclass(slots=True)
class Output:
    """`heard` is told of each task that said something or moved on, on the ledger's thread."""

    heard: Callable[[str], None] = lambda task: None  # noqa: ARG005 nobody to tell
    _said: OrderedDict[str, _Said] = field(default_factory=OrderedDict)
    _progress: OrderedDict[str, Progress] = field(default_factory=OrderedDict)
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, task: str, fence: int, first: int, values: tuple[str, ...], at: float) -> None:
        """Keep pieces of an attempt, numbered from `first` on in it; what is known already or belongs to an older attempt is not kept."""
        with self._lock:
            said = self._said.setdefault(task, _Said(fence, 0, 0))
            self._said.move_to_end(task)
            if fence > said.fence:
                said.fence, said.base = fence, said.last
            if fence == said.fence:
                for number, value in enumerate(values, said.base + first):
                    self._keep(said, Piece(number, at, value))
            self._make_room()
        self.heard(task)

    def _keep(self, said: _Said, piece: Piece) -> None:
        if piece.n <= said.last:
            return
        said.last = piece.n
        said.pieces.append(piece)
        self._grow(said, len(piece.value))
        if len(said.pieces) > MOST_PIECES:
            self._grow(said, -len(said.pieces.popleft().value))

    def _grow(self, said: _Said, size: int) -> None:
        said.size += size
        self._size += size

    def _make_room(self) -> None:
        while self._size > MOST_BYTES or len(self._said) > MOST_TASKS:
            _, oldest = self._said.popitem(last=False)
            self._size -= oldest.size

    def after(self, task: str, n: int = 0) -> list[Piece]:
        """What a task said after its `n`-th piece."""
        with self._lock:
            said = self._said.get(task)
            return [piece for piece in said.pieces if piece.n > n] if said else []

    def moved(self, task: str, progress: Progress) -> None:
        """A task is so far now."""
        with self._lock:
            self._progress[task] = progress
            self._progress.move_to_end(task)
            if len(self._progress) > MOST_TASKS:
                self._progress.popitem(last=False)
        self.heard(task)

    def progress(self, task: str) -> Progress | None:
        """How far a task said it is."""
        with self._lock:
            return self._progress.get(task)
