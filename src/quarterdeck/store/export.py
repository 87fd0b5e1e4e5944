"""The journal as JSON lines: records with their payloads and checkpoints, in order; what verifiers read and auditors keep.

Every line is canonical JSON with a `kind`: `Journal` (the format) first, `record` and `checkpoint`, and `end` with the totals last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TextIO

from sqlalchemy import Connection, select

from quarterdeck.store import tables
from quarterdeck.store.chain import GENESIS, canonical
from quarterdeck.store.journal import Row, with_payloads

Line = dict[str, object]
HEADER: Final[Line] = {"kind": "Journal", "apiVersion": "quarterdeck.dev/v1alpha1", "format": 1}


def export(connection: Connection, out: TextIO) -> int:
    """Write all lines from one snapshot; gives the number of records. Raises OSError when `out` refuses."""
    records = 0
    for line in lines(connection):
        out.write(canonical(line) + "\n")
        records += line["kind"] == "record"
    return records


def lines(connection: Connection) -> Iterator[Line]:
    """The same as values, whatever state the rows are in."""
    waiting = [dict(row) for row in connection.execute(select(tables.checkpoints).order_by(tables.checkpoints.c.n)).mappings()]
    marks: list[Line] = [{"kind": "checkpoint", **row} for row in waiting]
    records, made, end = 0, len(marks), {"seq": 0, "hash": GENESIS}
    yield dict(HEADER)
    for row, found in with_payloads(connection, select(tables.journal).order_by(tables.journal.c.seq)):
        while marks and _before(marks[0], row):
            yield marks.pop(0)
        payloads = {digest: {"salt": salt, "body": body} for digest, (salt, body) in found.items()}
        yield {"kind": "record", **row, "payloads": payloads}
        records, end = records + 1, {"seq": row["seq"], "hash": row["hash"]}
    yield from marks
    yield {"kind": "end", "records": records, "checkpoints": made, **end}


def _before(mark: Line, row: Row) -> bool:
    """A checkpoint stands right after the record it covers; one whose place is not a number stands where it is found."""
    seq = mark["seq"]
    return not isinstance(seq, int) or seq < int(row["seq"])  # type: ignore[call-overload]
