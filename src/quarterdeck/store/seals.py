"""Seals: what the journal says of the events of tasks, so that one that was changed, added or removed is found though they have no chain.

A seal covers events in a row: how many, and the sum of a number for each (AdHash: Bellare and Micciancio, "A New Paradigm for
Collision-Free Hashing", 1997; 2048 bits). A sum can be subtracted from: what retention drops is journalled with its own sum, and what is
left can still be checked. The number of an event comes from its sequence and its row's checksum, which comes from everything in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import Connection, func, select

from quarterdeck.model.records import PLATFORM, Entry
from quarterdeck.store import journal, rows, tables
from quarterdeck.store.writing import Writing

SEALED: Final = "task.seal"
FORGOTTEN: Final = "task.forget"
_BYTES: Final = 256
_MODULUS: Final = 1 << 8 * _BYTES
PIECE: Final = 500
"""Events that are read at once: some milliseconds of processor time, which whoever answers meanwhile waits for."""
_E, _S = tables.task_events, tables.seals


@dataclass(frozen=True, slots=True)
class Sum:
    """Of some events."""

    count: int = 0
    total: int = 0

    def add(self, seq: int, row_sum: str) -> Sum:
        """With one more."""
        number = int.from_bytes(hashlib.shake_256(f"quarterdeck.event.v1 {seq} {row_sum}".encode()).digest(_BYTES))
        return Sum(self.count + 1, (self.total + number) % _MODULUS)

    def less(self, other: Sum) -> Sum:
        """Without those."""
        return Sum(self.count - other.count, (self.total - other.total) % _MODULUS)

    @property
    def told(self) -> list[object]:
        """For the journal."""
        return [self.count, f"{self.total:x}"]

    @classmethod
    def read(cls, told: object) -> Sum:
        """From the journal; raises TypeError or ValueError for what is none."""
        count, total = cast("list[object]", told)
        return cls(int(cast("int", count)), int(str(total), 16))


@dataclass(frozen=True, slots=True)
class Seal:
    """Of the events `first` to `last`."""

    first: int
    last: int
    sum: Sum


def begin(connection: Connection) -> tuple[Seal, int]:
    """A seal that covers nothing yet, and the newest event, up to which it should: see `further`."""
    last = reach(connection)
    return Seal(last + 1, last, Sum()), int(connection.execute(select(func.max(_E.c.seq))).scalar() or 0)


def further(connection: Connection, seal: Seal, newest: int, most: int = PIECE) -> Seal:
    """A seal with the next events up to the `newest`, at most so many. They are read: not in the writer's thread."""
    wanted = select(_E.c.seq, _E.c.row_sum).where(_E.c.seq > seal.last, _E.c.seq <= newest).order_by(_E.c.seq).limit(most)
    found, last = seal.sum, newest
    for seq, row_sum in connection.execute(wanted):
        found, last = found.add(seq, row_sum), seq
    return Seal(seal.first, last, found)


def reach(connection: Connection) -> int:
    """The last event that is sealed."""
    return int(connection.execute(select(func.max(_S.c.last))).scalar() or 0)


def make(tx: Writing, seal: Seal) -> bool:
    """Journal it; False when somebody else sealed meanwhile."""
    if reach(tx.connection) + 1 != seal.first:
        return False
    told = {"first": seal.first, "last": seal.last, "sum": seal.sum.told}
    journal.append(tx, Entry(PLATFORM, SEALED, f"{seal.first}..{seal.last}", evidence=told))
    rows.insert(tx, _S, first=seal.first, last=seal.last)
    return True


def dropped(connection: Connection, events: Iterable[tuple[int, str]]) -> dict[str, list[object]]:
    """Of events (sequence and checksum) that are to go: their sums by the first event of their seal, for the journal."""
    firsts = [row.first for row in connection.execute(select(_S.c.first).order_by(_S.c.first))]
    found: dict[int, Sum] = {}
    at = -1
    for seq, row_sum in sorted(events):
        while at + 1 < len(firsts) and firsts[at + 1] <= seq:
            at += 1
        found[firsts[at]] = found.get(firsts[at], Sum()).add(seq, row_sum)
    return {str(first): each.told for first, each in found.items()}


def prune(tx: Writing) -> None:
    """Forget where seals begin of which nothing is left; never the last one."""
    oldest = tx.connection.execute(select(func.min(_E.c.seq))).scalar() or 0
    last = reach(tx.connection)
    for row in rows.many(tx.connection, _S, select(_S).where(_S.c.last < oldest, _S.c.last < last)):
        rows.delete(tx, _S, row)


class Check:
    """Judges seals against the events there are; fed with the journal's records in order. Trusts nothing it reads."""

    def __init__(self) -> None:
        self._seals: list[Seal] = []
        self._gone: dict[int, Sum] = {}

    def record(self, verb: object, evidence: Mapping[str, object] | None) -> str | None:
        """Take in a record; what is wrong with it by itself."""
        if verb not in (SEALED, FORGOTTEN) or evidence is None:  # an erased payload says nothing
            return None
        try:
            if verb == SEALED:
                self._seals.append(Seal(int(str(evidence["first"])), int(str(evidence["last"])), Sum.read(evidence["sum"])))
            else:
                for first, told in cast("dict[str, object]", evidence["events"]).items():
                    more, known = Sum.read(told), self._gone.get(int(first), Sum())
                    self._gone[int(first)] = Sum(known.count + more.count, (known.total + more.total) % _MODULUS)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return f"a {verb} that is none: {type(error).__name__} {error}"
        return None

    def problems(self, connection: Connection) -> Iterator[str]:
        """What is wrong with the events."""
        there = iter(connection.execute(select(_E).order_by(_E.c.seq)).mappings())
        event = next(there, None)
        for seal in self._seals:
            found = Sum()
            while event is not None and event["seq"] <= seal.last:
                if event["seq"] >= seal.first:
                    found = found.add(cast("int", event["seq"]), str(event["row_sum"]))
                if not rows.sound(_E, dict(event)):
                    yield f"event {event['seq']} of task {event['task']} was changed"
                event = next(there, None)
            expected = seal.sum.less(self._gone.get(seal.first, Sum()))
            if found != expected:
                told = (
                    f"{found.count} of {expected.count} are there"
                    if found.count != expected.count
                    else "they are not those that were sealed"
                )
                yield f"events {seal.first} to {seal.last} do not agree with their seal: {told}"


def evidence_of(payloads: Mapping[str, Mapping[str, str]], digest: object) -> Mapping[str, object] | None:
    """The evidence of a journal line, if it is there and is an object."""
    try:
        found = json.loads(payloads[str(digest)]["body"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None
