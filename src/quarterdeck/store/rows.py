"""Rows that carry their own checksum: SQLite serves a flipped bit without a word, so each row is checked whenever it is read.

For every table with a `row_sum` column; the journal has its chain instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Float, Select, Table, and_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import update as sql_update

from quarterdeck.errors import Terminal
from quarterdeck.store.chain import canonical
from quarterdeck.store.writing import Writing

Row = dict[str, object]
_LENGTH: Final = 32


def insert(tx: Writing, table: Table, **values: object) -> Row:
    """Add a row; gives its values back as they will be read."""
    row = _plain(table, values)
    tx.connection.execute(sql_insert(table), {**row, "row_sum": _sum(table, row)})
    return row


def update(tx: Writing, table: Table, row: Mapping[str, object], **values: object) -> Row:
    """Change some values of a row that was read before."""
    new = _plain(table, {**row, **values})
    where = and_(*(column == row[column.name] for column in table.primary_key))
    tx.connection.execute(sql_update(table).where(where).values(**new, row_sum=_sum(table, new)))
    return new


def delete(tx: Writing, table: Table, row: Mapping[str, object]) -> None:
    """Remove a row that was read before."""
    where = and_(*(column == row[column.name] for column in table.primary_key))
    tx.connection.execute(sql_delete(table).where(where))


def one(connection: Connection, table: Table, **key: object) -> Row | None:
    """The row with this primary key, checked."""
    where = and_(*(table.c[name] == value for name, value in key.items()))
    return next(iter(many(connection, table, select(table).where(where))), None)


def many(connection: Connection, table: Table, statement: Select[Any]) -> list[Row]:
    """All rows of a `select(table)…`, each checked; raises Terminal for one that was altered outside the store."""
    return [_checked(table, dict(row)) for row in connection.execute(statement).mappings()]


def _checked(table: Table, found: Mapping[str, object]) -> Row:
    row = {name: value for name, value in found.items() if name != "row_sum"}
    if not _matches(table, row, found["row_sum"]):
        key = ", ".join(str(row[column.name]) for column in table.primary_key)
        msg = f"row {key!r} of {table.name} does not match its checksum: it was altered outside the store or the disk lost a bit"
        raise Terminal(msg, hint="restore the home from a backup; qd journal verify shows what is still sound")
    return row


def _matches(table: Table, row: Row, expected: object) -> bool:
    try:
        return _sum(table, row) == expected
    except TypeError:  # a blob where text belongs is not JSON
        return False


def _plain(table: Table, values: Mapping[str, object]) -> Row:
    floats = {column.name for column in table.columns if isinstance(column.type, Float)}
    return {name: float(value) if name in floats and isinstance(value, int) else value for name, value in values.items()}


def _sum(table: Table, row: Mapping[str, object]) -> str:
    return hashlib.sha256(f"{table.name}\n{canonical(dict(row))}".encode()).hexdigest()[:_LENGTH]
