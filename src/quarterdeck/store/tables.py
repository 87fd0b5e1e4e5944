"""Every table of the store, once, as SQLAlchemy Core metadata; the migrations build exactly this (a test compares them).

Times are epoch seconds. `row_sum` is the checksum of its row (rows.py): SQLite itself serves a flipped bit without a word.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata: Final = MetaData()


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=False)


def _whole(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=key, nullable=False, autoincrement=False)


def _time(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _row_sum() -> Column[str]:
    return Column("row_sum", String(32), nullable=False)


journal: Final = Table(
    "journal",
    metadata,
    _whole("seq", key=True),
    _time("at"),
    _text("actor"),
    _text("via"),
    _text("on_behalf_of"),
    _text("verb"),
    _text("target"),
    _text("reason"),
    _text("outcome"),
    _text("system"),
    _text("before_digest"),
    _text("after_digest"),
    _text("evidence_digest"),
    _text("prev"),
    _text("hash"),
    Index("ix_journal_target", "target", "seq"),
    Index("ix_journal_verb", "verb", "seq"),
)

payloads: Final = Table(
    "payloads",
    metadata,
    _text("digest", key=True),
    _whole("seq"),
    _text("salt"),
    _text("body"),
    Index("ix_payloads_seq", "seq"),
)

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    _whole("n", key=True),
    _whole("floor"),
    _whole("seq"),
    _text("hash"),
    _time("at"),
    _whole("records"),
    _whole("bytes"),
    _text("prev"),
    _text("key"),
    _text("signature"),
)

meta: Final = Table("meta", metadata, _text("key", key=True), _text("value"), _row_sum())

systems: Final = Table(
    "systems",
    metadata,
    _text("name", key=True),
    _whole("revision"),
    _whole("generation"),
    _whole("index_seq"),
    _time("created"),
    _time("removed", nullable=True),
    _row_sum(),
)

revisions: Final = Table(
    "revisions",
    metadata,
    _text("system", key=True),
    _whole("number", key=True),
    _text("digest"),
    _text("spec"),
    _text("code"),
    _text("lock"),
    _time("at"),
    _text("actor"),
    _text("reason"),
    _text("templates"),
    _row_sum(),
)

changes: Final = Table(
    "changes",
    metadata,
    _whole("id", key=True),
    _text("system"),
    _text("author"),
    _text("actor"),
    _text("target"),
    _text("field"),
    _text("value"),
    _text("reason"),
    _time("at"),
    _time("until", nullable=True),
    _text("state"),
    _time("ended", nullable=True),
    _row_sum(),
    Index("ix_changes_system_state", "system", "state"),
)

conditions: Final = Table(
    "conditions",
    metadata,
    _text("system", key=True),
    _text("kind", key=True),
    _text("target", key=True),
    _text("status"),
    _text("reason"),
    _text("message"),
    _time("since"),
    _time("observed"),
    _text("evidence"),
    _whole("generation"),
    _text("phase"),
    _row_sum(),
)

inventory: Final = Table(
    "inventory",
    metadata,
    _text("system", key=True),
    _text("kind", key=True),
    _text("name", key=True),
    _whole("epoch"),
    _whole("first"),
    _whole("last"),
    _whole("messages"),
    _time("made"),
    _time("seen"),
    _time("gone", nullable=True),
    _row_sum(),
)

tokens: Final = Table(
    "tokens",
    metadata,
    _text("id", key=True),
    _text("role"),
    _text("hash"),
    _text("note"),
    _time("created"),
    _time("expires"),
    Column("once", Boolean, nullable=False),
    _time("revoked", nullable=True),
    _row_sum(),
)
