"""What a request holds while it writes: the open transaction, the clock, and the journal's head as this transaction sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Table

from quarterdeck.clock import Clock
from quarterdeck.store.chain import Head

_Rows = dict[tuple[object, ...], dict[str, object]]
KEPT: Final = 4096
"""Rows of one table that are remembered."""


@dataclass(slots=True)
class Writing:
    """Passed to the work of `Store.write`, valid until that work returns. `head` moves with every appended record.

    Nobody else writes, so rows that were written last are known without reading them again: of tables that say so (`tables.REMEMBERED`).
    """

    connection: Connection
    clock: Clock
    head: Head
    _known: dict[Table, _Rows] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """Wall time in epoch seconds: for display and expiry; order is by journal sequence."""
        return self.clock.now()

    def known(self, table: Table) -> Mapping[tuple[object, ...], dict[str, object]]:
        """Rows as they are now, by primary key; none is to be changed."""
        return self._known.get(table, {})

    def remember(self, table: Table, rows: Iterable[tuple[tuple[object, ...], dict[str, object]]]) -> None:
        """Rows as they were just written; those that were written longest ago are forgotten for them."""
        kept = self._known.setdefault(table, {})
        for key, row in rows:
            kept.pop(key, None)
            kept[key] = row
        while len(kept) > KEPT:
            del kept[next(iter(kept))]

    def forget(self) -> None:
        """What was written did not happen, or rows were changed without a word."""
        self._known.clear()
