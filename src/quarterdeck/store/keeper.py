"""Looks after the journal beside the writer: checkpoints when they are due, the head file after each commit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from quarterdeck.clock import Clock
from quarterdeck.model.records import PLATFORM, Entry
from quarterdeck.store import checkpoints, headfile, journal, keys
from quarterdeck.store.chain import Head
from quarterdeck.store.checkpoints import Limits
from quarterdeck.store.headfile import HeadFile, Line
from quarterdeck.store.writing import Writing

EVERY: Final = 60.0
"""Seconds between checkpoints while something is journalled."""
SEGMENT: Final = 10_000
"""Records after which a checkpoint is due at once, so that retention never drops a huge segment in one go."""


class Keeper:
    """Used by the writer thread only, after it was made. Opening it brings the head file up to date."""

    def __init__(self, connection: Connection, head_file: Path, key_folder: Path, clock: Clock, limits: Limits) -> None:
        last = checkpoints.newest(connection)
        self._clock, self._limits = clock, limits
        self._signer = keys.signer(key_folder)
        self._rekeyed = last is not None and last.key != keys.public(self._signer)
        self._covered, self._n = (last.seq, last.n) if last else (0, 0)
        head = journal.head(connection)
        self._due_at = clock.monotonic() + (EVERY if head.seq <= self._covered else 0.0)  # who is killed again and again has some too
        known = headfile.last(head_file)
        self._file = HeadFile(head_file)
        self._written = known.order if known else (0, 0)
        self.committed(head)

    def due(self, head: Head) -> bool:
        """Whether a checkpoint should be made with the next commit."""
        behind = head.seq - self._covered
        return behind >= SEGMENT or (behind > 0 and self._clock.monotonic() >= self._due_at)

    def checkpoint(self, tx: Writing) -> None:
        """Make one, and drop what the limits do not allow."""
        if self._rekeyed:
            reason = "keys/journal.seed was missing: checkpoints are signed by a new key from here on"
            journal.append(tx, Entry(PLATFORM, "journal.key", keys.public(self._signer), reason))
        made = checkpoints.make(tx, self._signer, self._limits)
        self._due_at = self._clock.monotonic() + EVERY
        if made:
            self._covered, self._n, self._rekeyed = made.seq, made.n, False

    def committed(self, head: Head) -> bool:
        """Write the head down after a commit; True when the journal grew. Raises OSError when the disk refuses."""
        line = Line(head, self._n)
        if line.order == self._written:
            return False
        grew = head.seq > self._written[0]
        self._file.append(line)
        if self._n > self._written[1]:
            self._file.sync()
        self._written = line.order
        return grew

    def close(self) -> None:
        """Make the head file durable and let it go."""
        self._file.sync()
        self._file.close()
