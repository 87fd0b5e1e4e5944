"""The check at every start: the journal's last records, its last checkpoint and the head file must agree, or the store is refused.

A cut-off end or an older copy of the database is found here; the whole chain is for `qd journal verify`.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from quarterdeck.errors import Terminal
from quarterdeck.store import checkpoints, headfile, journal, keys, tables
from quarterdeck.store.chain import Head, signing_input

RECORDS: Final = 200
_HINT: Final = "run qd journal verify; restore the home from a backup, or, if this is a restored one, remove journal.head"


def check(connection: Connection, head_file: Path) -> Head:
    """Give the journal's end, or raise Terminal that names what does not fit."""
    end = journal.head(connection)
    records = journal.read(connection, after=end.seq - RECORDS, limit=RECORDS)  # raises for a changed one
    for before, record in pairwise(records):
        if record.prev != before.hash:
            _refuse(f"record {record.seq} does not follow record {before.seq}")
    _last_checkpoint(connection, end)
    _head_file(connection, end, head_file)
    return end


def _last_checkpoint(connection: Connection, end: Head) -> None:
    last = checkpoints.newest(connection)
    if last is None:
        return
    if not keys.signed_by(last.key, signing_input(asdict(last)), last.signature):
        _refuse(f"checkpoint {last.n} was changed or not signed by its key")
    if last.seq > end.seq or _hash(connection, last.seq) != last.hash:
        _refuse(f"checkpoint {last.n} covers record {last.seq}, which is not there")


def _head_file(connection: Connection, end: Head, path: Path) -> None:
    try:
        last = headfile.last(path)
    except ValueError as error:
        _refuse(str(error))
        return
    if last and last.head.seq > end.seq:
        _refuse(f"the journal ends at record {end.seq}, its head file at {last.head.seq}: it was cut, or this is an older copy")
    if last and last.head.seq and _hash(connection, last.head.seq) not in (last.head.hash, None):
        _refuse(f"record {last.head.seq} is not the one the head file names")


def _hash(connection: Connection, seq: int) -> str | None:
    j = tables.journal
    return connection.execute(select(j.c.hash).where(j.c.seq == seq)).scalar()


def _refuse(what: str) -> None:
    msg = f"the journal does not verify: {what}"
    raise Terminal(msg, hint=_HINT)
