"""Rows that carry their own checksum: SQLite serves a flipped bit without a word, so each row is checked whenever it is read.

For every table with a `row_sum` column; the journal has its chain instead. Statements are built once for each shape: building one costs
ten times as much as running it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Float, Insert, Select, Table, Update, and_, bindparam, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import update as sql_update

from quarterdeck.errors import Terminal
from quarterdeck.store.chain import canonical
from quarterdeck.store.tables import LISTED, REMEMBERED
from quarterdeck.store.writing import Writing

Row = dict[str, object]
Key = tuple[object, ...]
Values = Callable[[Mapping[str, object]], tuple[object, ...]]
"""Some values of a row, in an order."""
T = TypeVar("T")
_LENGTH: Final = 32
_SIZES: Final = (1, 4, 16, 64, 256)
"""How many values a statement may ask for at once; fewer are filled up with the last one, so that there are few statements to know."""


def insert(tx: Writing, table: Table, **values: object) -> Row:
    """Add a row; gives its values back as they will be read."""
    return insert_many(tx, table, [values])[0]


def insert_many(tx: Writing, table: Table, values: Sequence[Mapping[str, object]]) -> list[Row]:
    """Add rows in one statement; gives their values back as they will be read."""
    rows = [plain(table, row) for row in values]
    if rows:
        _execute(tx.connection, _insert(table), [{**row, "row_sum": _sum(table, row)} for row in rows])
        _remember(tx, table, rows)
    return rows


def update(tx: Writing, table: Table, row: Mapping[str, object], **values: object) -> Row:
    """Change some values of a row that was read before."""
    new = plain(table, {**row, **values})
    update_many(tx, table, [(new, tuple(values))])
    return new


def update_many(tx: Writing, table: Table, changed: Iterable[tuple[Row, tuple[str, ...]]]) -> None:
    """Change rows in as few statements as there are sets of columns: each row is whole, with the names of what is new in it."""
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row, names in changed:
        alike.setdefault(tuple(sorted(names)), []).append(row)
    keys = keys_of(table)
    for names, rows in alike.items():
        given = [{**r, "row_sum": _sum(table, r), **{f"is_{k}": r[k] for k in keys}} for r in rows]
        _execute(tx.connection, _update(table, names), given)
        _remember(tx, table, rows)


def delete(tx: Writing, table: Table, row: Mapping[str, object]) -> None:
    """Remove a row that was read before."""
    where = and_(*(column == row[column.name] for column in table.primary_key))
    tx.connection.execute(sql_delete(table).where(where))
    if table.info.get(REMEMBERED):
        tx.forget()


def one(connection: Connection, table: Table, **key: object) -> Row | None:
    """The row with this primary key, checked."""
    found = connection.execute(_one(table, tuple(key)), key).first()
    return None if found is None else _checked(table, dict(zip(_columns(table), found, strict=True)))


def some(connection: Connection, table: Table, keys: Sequence[Key]) -> list[Row]:
    """The rows with these primary keys that there are, each checked."""
    names, found = keys_of(table), {}
    for part, size in parts(keys):
        values = {f"{name}_{n}": value for n, key in enumerate(part) for name, value in zip(names, key, strict=True)}
        for row in many(connection, table, _some(table, size), values):
            found[tuple(row[name] for name in names)] = row
    return list(found.values())


def parts(values: Sequence[T]) -> Iterator[tuple[list[T], int]]:
    """Values in pieces for statements that ask for so many at once (`any_of`), each filled up to its size."""
    for at in range(0, len(values), _SIZES[-1]):
        part = list(values[at : at + _SIZES[-1]])
        size = next(size for size in _SIZES if size >= len(part))
        yield part + part[-1:] * (size - len(part)), size


def any_of(column: ColumnElement[Any], size: int) -> ColumnElement[bool]:
    """Whether a column is one of `size` values, which are given as `named` says."""
    return column.in_([bindparam(f"v_{n}") for n in range(size)])


def named(values: Sequence[object]) -> dict[str, object]:
    """The values of an `any_of`."""
    return {f"v_{n}": value for n, value in enumerate(values)}


def many(connection: Connection, table: Table, statement: Select[Any], values: Mapping[str, object] | None = None) -> list[Row]:
    """All rows of a `select(table)…`, each checked; raises Terminal for one that was altered outside the store."""
    names = _columns(table)
    return [_checked(table, dict(zip(names, row, strict=True))) for row in connection.execute(statement, values or {})]


def plain(table: Table, values: Mapping[str, object]) -> Row:
    """Values as they will be read."""
    row = dict(values)
    for name in _floats(table):
        if isinstance(row.get(name), int):
            row[name] = float(row[name])  # type: ignore[arg-type]
    return row


def key_of(table: Table, row: Mapping[str, object]) -> Key:
    """The primary key of a row."""
    return _key(table)(row)


def _remember(tx: Writing, table: Table, rows: Sequence[Row]) -> None:
    if table.info.get(REMEMBERED):
        tx.remember(table, [(key_of(table, row), row) for row in rows])


@lru_cache
def _key(table: Table) -> Values:
    return _taken(keys_of(table))


@lru_cache
def keys_of(table: Table) -> tuple[str, ...]:
    """The names of a table's primary key."""
    return tuple(column.name for column in table.primary_key)


@lru_cache
def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


@lru_cache
def _floats(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if isinstance(column.type, Float))


@lru_cache
def _insert(table: Table) -> Insert:
    return sql_insert(table)


def _execute(connection: Connection, statement: Insert | Update, given: list[dict[str, object]]) -> None:
    """Once for each row. Where the driver takes positions, rows go to it as they are: what lies between costs more than the database."""
    text, values = _text(statement, connection.dialect)
    if values is None:
        connection.execute(statement, given)
    else:
        found = [*map(values, given)]
        connection.exec_driver_sql(text, found if len(found) > 1 else found[0])


@lru_cache(1024)
def _text(statement: Insert | Update, dialect: Dialect) -> tuple[str, Values | None]:
    """What the driver is given: the statement, and the values of a row in its order, where it takes positions."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), _taken(tuple(compiled.positiontup)) if compiled.positional and compiled.positiontup else None


@lru_cache(1024)
def _update(table: Table, names: tuple[str, ...]) -> Update:
    where = and_(*(table.c[name] == bindparam(f"is_{name}") for name in keys_of(table)))
    return sql_update(table).where(where).values({name: bindparam(name) for name in (*names, "row_sum")})


@lru_cache
def _some(table: Table, size: int) -> Select[Any]:
    keys = keys_of(table)
    if len(keys) == 1:
        return select(table).where(table.c[keys[0]].in_([bindparam(f"{keys[0]}_{n}") for n in range(size)]))
    return select(table).where(or_(*(and_(*(table.c[name] == bindparam(f"{name}_{n}") for name in keys)) for n in range(size))))


@lru_cache
def _one(table: Table, key: tuple[str, ...]) -> Select[Any]:
    return select(table).where(and_(*(table.c[name] == bindparam(name) for name in key))).limit(1)


def _checked(table: Table, row: Row) -> Row:
    expected = row.pop("row_sum")
    if not _matches(table, row, expected):
        key = ", ".join(str(row[column.name]) for column in table.primary_key)
        msg = f"row {key!r} of {table.name} does not match its checksum: it was altered outside the store or the disk lost a bit"
        raise Terminal(msg, hint="restore the home from a backup; qd journal verify shows what is still sound")
    return row


def sound(table: Table, found: Mapping[str, object]) -> bool:
    """Whether a row as it lies there matches its checksum."""
    return _matches(table, dict(found), found["row_sum"])


def _matches(table: Table, row: Row, expected: object) -> bool:
    try:
        return _sum(table, row) == expected
    except TypeError:  # a blob where text belongs is not JSON
        return False


def _sum(table: Table, row: Row) -> str:
    text = ascii(_values(table)(row)) if table.info.get("sum") == LISTED else canonical(row)
    return hashlib.sha256(f"{table.name}\n{text}".encode()).hexdigest()[:_LENGTH]


@lru_cache
def _values(table: Table) -> Values:
    """The values of a row in the order of its table's columns, without its sum."""
    return _taken(tuple(name for name in _columns(table) if name != "row_sum"))


def _taken(names: tuple[str, ...]) -> Values:
    """Some values of a row, in this order. An `itemgetter`, which gives no tuple for one name, takes a third of a comprehension's time."""
    found = itemgetter(*names)
    return found if len(names) > 1 else lambda row: (found(row),)
