"""The hash chain, pure: canonical JSON, payload digests, and the link from one record to the next.

A record's hash is SHA-256 over a domain tag and the canonical JSON of its fields, the digests of its payloads and the hash before it, so
a payload can be erased later without breaking the chain. Payload digests are salted: a small value cannot be guessed after erasure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GENESIS: Final = "0" * 64
"""`prev` of the first record and of the first checkpoint."""
PAYLOADS: Final = ("before", "after", "evidence")
HASHED: Final = (
    "seq", "at", "actor", "via", "on_behalf_of", "verb", "target", "reason", "outcome",
    "before_digest", "after_digest", "evidence_digest", "system", "prev",
)  # fmt: skip
"""The fields of a journal row that its hash covers."""
SIGNED: Final = ("n", "floor", "seq", "hash", "at", "records", "bytes", "prev", "key")
"""The fields of a checkpoint that its signature covers."""
_RECORD: Final = b"quarterdeck.journal.record.v1\n"
_PAYLOAD: Final = b"quarterdeck.journal.payload.v1\n"
_CHECKPOINT: Final = b"quarterdeck.journal.checkpoint.v1\n"
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the journal: the last record's sequence, hash and time. Kept elsewhere, it proves later that nothing was cut off."""

    seq: int
    hash: str
    at: float


EMPTY: Final = Head(0, GENESIS, 0.0)


def canonical(value: object) -> str:
    """One text per JSON value: keys sorted, no blanks, ASCII only. Raises TypeError or ValueError (NaN) when it is not JSON."""
    return _ENCODER.encode(value)


def link(row: Mapping[str, object]) -> str:
    """The hash of a journal row, from its `HASHED` fields."""
    return _digest(_RECORD, {name: row[name] for name in HASHED})


def payload_digest(salt: str, body: str) -> str:
    """The digest under which a payload (canonical JSON text) is kept."""
    return hashlib.sha256(_PAYLOAD + salt.encode() + b"\n" + body.encode("utf-8", "surrogatepass")).hexdigest()


def signing_input(row: Mapping[str, object]) -> bytes:
    """The bytes of a checkpoint that are signed."""
    return _CHECKPOINT + canonical({name: row[name] for name in SIGNED}).encode()


def checkpoint_digest(row: Mapping[str, object]) -> str:
    """What the next checkpoint carries as `prev`: covers the signature too."""
    return _digest(_CHECKPOINT, {name: row[name] for name in (*SIGNED, "signature")})


def _digest(tag: bytes, fields: Mapping[str, object]) -> str:
    return hashlib.sha256(tag + canonical(fields).encode()).hexdigest()
