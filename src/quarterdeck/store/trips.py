"""Trips: where money went so fast that no further tasks are begun until a human says so, or the next day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from quarterdeck.clock import iso
from quarterdeck.errors import NotFound
from quarterdeck.store import rows, tables
from quarterdeck.store.rows import Row
from quarterdeck.store.turn import Turn

_T: Final = tables.trips


@dataclass(frozen=True, slots=True)
class Trip:
    """`cluster` empty = the whole system; it holds for the UTC `day` (`2026-11-28`); `at` is epoch seconds."""

    system: str
    cluster: str
    day: str
    reason: str
    at: float

    @property
    def scope(self) -> str:
        """`system` or `system/cluster`."""
        return f"{self.system}/{self.cluster}" if self.cluster else self.system


def set_(turn: Turn, system: str, cluster: str, reason: str) -> Trip | None:
    """Hold the tasks of a system or cluster back; None when they are already."""
    trip = Trip(system, cluster, iso(turn.now)[:10], reason, turn.now)
    row = turn.find(_T, trip.scope)
    if row is not None and row["day"] == trip.day:
        return None
    values = {"system": system, "cluster": cluster, "day": trip.day, "reason": reason, "at": trip.at}
    if row is None:
        turn.insert(_T, scope=trip.scope, **values)
    else:
        turn.update(_T, row, **values)
    return trip


def end(turn: Turn, system: str, cluster: str) -> Trip:
    """Let the tasks go on. Raises NotFound when nothing holds them back."""
    row = turn.find(_T, f"{system}/{cluster}" if cluster else system)
    if row is None:
        raise NotFound(f"nothing holds the tasks of {cluster or system} back", hint="qd get budgets shows what is tripped")
    rows.delete(turn.tx, _T, row)
    return _trip(row)


def forget(turn: Turn, before: str) -> None:
    """Drop those of days before that one: their tasks go on."""
    for row in turn.select(_T, select(_T).where(_T.c.day < before)):
        rows.delete(turn.tx, _T, row)


def of(connection: Connection, system: str, clusters: Sequence[str] | None = None) -> list[Trip]:
    """Those that hold, the system's own first; `clusters`: only these and the system's own."""
    query = select(_T).where(_T.c.system == system).order_by(_T.c.scope)
    found = [_trip(row) for row in rows.many(connection, _T, query)]
    return [trip for trip in found if clusters is None or trip.cluster in ("", *clusters)]


def _trip(row: Row) -> Trip:
    values = {name: row[name] for name in ("system", "cluster", "day", "reason", "at")}
    return Trip(**values)  # type: ignore[arg-type]
