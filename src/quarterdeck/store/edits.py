"""What every accepted edit of a system's desired state does to its row: the generation rises, and the index points at the edit's record."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection

from quarterdeck.errors import NotFound
from quarterdeck.store import rows, tables
from quarterdeck.store.writing import Writing


def row_of(connection: Connection, system: str) -> rows.Row | None:
    """The system's row, removed or not."""
    return rows.one(connection, tables.systems, name=system)


def require(connection: Connection, system: str) -> rows.Row:
    """The row of a system that is wanted; raises NotFound."""
    row = row_of(connection, system)
    if row is None or row["removed"] is not None:
        msg = f"there is no system {system!r}"
        raise NotFound(msg, hint="qd get systems lists them")
    return row


def edited(tx: Writing, system: str, seq: int, **values: object) -> None:
    """Count an edit; `values` are columns that change with it. The generation never goes back, not even over a removal."""
    row = row_of(tx.connection, system)
    if row is None:
        fresh = {"revision": 0, "generation": 1, "created": tx.now, "removed": None}
        rows.insert(tx, tables.systems, name=system, index_seq=seq, **{**fresh, **values})
        return
    rows.update(tx, tables.systems, row, generation=cast("int", row["generation"]) + 1, index_seq=seq, **values)
