"""Small things by key: the epoch of the desired table, and how far the node's events were read."""

from __future__ import annotations

from sqlalchemy import Connection

from quarterdeck.store import rows, tables
from quarterdeck.store.writing import Writing

_EPOCH = "epoch"
_CURSOR = "node.events"


def get(connection: Connection, key: str) -> str | None:
    """The value kept under a key."""
    row = rows.one(connection, tables.meta, key=key)
    return str(row["value"]) if row else None


def put(tx: Writing, key: str, value: str) -> None:
    """Keep a value; not journalled."""
    row = rows.one(tx.connection, tables.meta, key=key)
    if row is None:
        rows.insert(tx, tables.meta, key=key, value=value)
    elif row["value"] != value:
        rows.update(tx, tables.meta, row, value=value)


def next_epoch(tx: Writing) -> int:
    """Raise the epoch by one: each control plane takes its own at start, so that an older one's tables are refused."""
    epoch = int(get(tx.connection, _EPOCH) or 0) + 1
    put(tx, _EPOCH, str(epoch))
    return epoch


def node_cursor(connection: Connection) -> tuple[str, int]:
    """(boot id of the node, sequence of the last event that was taken in); ("", 0) before the first."""
    boot, _, seq = (get(connection, _CURSOR) or " 0").partition(" ")
    return boot, int(seq)


def move_node_cursor(tx: Writing, boot: str, seq: int) -> None:
    """Note it in the same transaction as what the events led to."""
    put(tx, _CURSOR, f"{boot} {seq}")
