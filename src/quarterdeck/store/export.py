"""The journal as JSON lines: records with their payloads and checkpoints, in order; what verifiers read and auditors keep.

Every line is canonical JSON with a `kind`: `Journal` (the format) first, `record` and `checkpoint`, and `end` with the totals last. An
export's end is signed with the home's key, so that nobody else can cut it, or write all of it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey
from sqlalchemy import Connection, select

from quarterdeck.clock import iso
from quarterdeck.store import journal, keys, tables
from quarterdeck.store.chain import GENESIS, canonical
from quarterdeck.store.journal import Row, with_payloads
from quarterdeck.version import API_VERSION

Line = dict[str, object]
HEADER: Final[Line] = {"kind": "Journal", "apiVersion": API_VERSION, "format": 1}
_END: Final = b"quarterdeck.journal.export.v1\n"


def export(connection: Connection, signer: SigningKey) -> Iterator[str]:
    """The text of every line from one snapshot, the last one signed."""
    for line in lines(connection):
        yield canonical(sign(line, signer) if line["kind"] == "end" else line) + "\n"


def proof(connection: Connection, key_folder: Path) -> dict[str, object]:
    """What is to be kept elsewhere: the end of the chain, and the public key (hex) of the home."""
    head = journal.head(connection)
    return {"seq": head.seq, "hash": head.hash, "at": iso(head.at), "key": keys.published(key_folder)}


def sign(end: Line, signer: SigningKey) -> Line:
    """The end line with the key and a signature over all the rest of it: head, totals and key."""
    unsigned = {**end, "key": keys.public(signer)}
    return {**unsigned, "signature": signer.sign(_signing_input(unsigned)).signature.hex()}


def is_signed(end: Mapping[str, object]) -> bool:
    """Whether the signature of an end line is the one that its key makes."""
    return keys.signed_by(str(end["key"]), _signing_input(end), str(end["signature"]))


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


def _signing_input(end: Mapping[str, object]) -> bytes:
    return _END + canonical({name: value for name, value in end.items() if name != "signature"}).encode()


def _before(mark: Line, row: Row) -> bool:
    """A checkpoint stands right after the record it covers; one whose place is not a number stands where it is found."""
    seq = mark["seq"]
    return not isinstance(seq, int) or seq < int(row["seq"])  # type: ignore[call-overload]
