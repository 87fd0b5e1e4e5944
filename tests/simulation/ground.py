"""What a simulated fleet stands on: a database in memory, a clock that is set back and forth, and what all runs have in common."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.pool import StaticPool

from quarterdeck.model.records import Actor
from quarterdeck.store import engine, tables

if TYPE_CHECKING:
    from tests.simulation.loop import Loop

HUMAN = Actor("uid:0", "socket")
AGENTS = ("a", "b", "d")
"""Each gives work to the next: one that waited for work of its own agent could wait for itself."""
TROUBLE = 50.0
"""Seconds in which things go wrong."""


class Disk:
    """A database in memory: commits at once. One for all runs, emptied between them, since the statements compiled for it are dear."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.engine = engine._engine(lambda: self.raw, "BEGIN", StaticPool)
        tables.metadata.create_all(self.engine)
        self.empty = sqlite3.connect(":memory:", check_same_thread=False)
        self.raw.backup(self.empty)

    def clear(self) -> None:
        self.empty.backup(self.raw)

    @contextmanager
    def read(self):
        with self.engine.connect() as connection:
            yield connection


class Clock:
    """The loop's time; the wall clock is set back and forth now and then."""

    def __init__(self, loop: Loop) -> None:
        self.loop, self.skew = loop, 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.loop.time() + self.skew

    def monotonic(self) -> float:
        return self.loop.time()
