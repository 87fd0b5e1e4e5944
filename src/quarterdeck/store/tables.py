"""Every table of the store, once, as SQLAlchemy Core metadata; the migrations build exactly this (a test compares them).

Times are epoch seconds. `row_sum` is the checksum of its row (rows.py): SQLite itself serves a flipped bit without a word.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, text

metadata: Final = MetaData()
LISTED: Final = "listed"
"""`sum` in a table's `info`: its checksum covers the values in the order of its columns, which is quicker than canonical JSON."""
REMEMBERED: Final = "remembered"
"""In a table's `info`: the writer remembers its newest rows (writing.py)."""
IN_LINE: Final = "state = 'queued' AND behind IS NULL AND turn > 0"
"""A task that an agent may be given."""
LATER: Final = "state = 'queued' AND turn <= 0"
"""A task whose time had not come when it was queued: out of line, so that no claim looks past it (store/claims.py)."""
IS_REF: Final = "substr({0}, 1, 1) = '@' AND length({0}) < 100"
"""Whether a column has a body that is kept as a file (model/blobs.py). A long text may begin so too, and no index has room for it."""


def _text(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=False)


def _whole(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=key, nullable=False, autoincrement=False)


def _time(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _row_sum() -> Column[str]:
    return Column("row_sum", String(32), nullable=False)


def _only(name: str, where: str, *columns: str) -> Index:
    """An index of some rows, where most would only cost; a query finds it that says the same in the same words."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


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
    "payloads", metadata, _text("digest", key=True), _whole("seq"), _text("salt"), _text("body"), Index("ix_payloads_seq", "seq")
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
    Column("cluster", Text, nullable=True),
    Column("system", Text, nullable=True),
    _time("used", nullable=True),
    _text("user"),
    Column("refresh", Boolean, nullable=False),
    Column("parent", Text, nullable=True),
)

tasks: Final = Table(
    "tasks",
    metadata,
    _text("id", key=True),
    _whole("number"),
    _text("system"),
    _text("cluster"),
    _text("agent"),
    _text("verb"),
    Column("key", Text, nullable=True),
    _text("request"),
    _text("tenant"),
    _whole("rank"),
    Column("lane", Text, nullable=True),
    Column("behind", Text, nullable=True),
    _time("turn"),
    _text("state"),
    _text("reason"),
    _whole("attempts"),
    _whole("most"),
    _whole("fence"),
    Column("owner", Text, nullable=True),
    _time("after"),
    _time("deadline", nullable=True),
    Column("parent", Text, nullable=True),
    _text("root"),
    _whole("depth"),
    Column("cancel", Text, nullable=True),
    _text("budget"),
    _text("trace"),
    _text("path"),
    _time("created"),
    _time("started", nullable=True),
    _time("ended", nullable=True),
    _row_sum(),
    Index("ix_tasks_number", "number", unique=True),
    Index("ix_tasks_key", "system", "key", unique=True),
    Index("ix_tasks_agent", "system", "cluster", "agent", "state", "number"),
    _only("ix_tasks_next", IN_LINE, "system", "cluster", "agent", "rank", "turn", "number"),
    _only("ix_tasks_later", LATER, "system", "cluster", "agent", "after"),
    Index("ix_tasks_state", "state", "number"),
    _only("ix_tasks_owner", "owner IS NOT NULL", "owner", "state"),
    _only("ix_tasks_parent", "parent IS NOT NULL", "parent"),
    Index("ix_tasks_root", "root"),
    _only("ix_tasks_lane", "lane IS NOT NULL AND ended IS NULL", "lane", "system", "cluster", "agent", "number"),
    _only("ix_tasks_deadline", "deadline IS NOT NULL", "deadline", "state"),
    info={"sum": LISTED, REMEMBERED: True},
)

task_bodies: Final = Table(
    "task_bodies",
    metadata,
    _text("task", key=True),
    _text("kind", key=True),
    _text("body"),
    _row_sum(),
    _only("ix_task_bodies_refs", IS_REF.format("body"), "body"),
    info={"sum": LISTED},
)

task_events: Final = Table(
    "task_events",
    metadata,
    _whole("seq", key=True),
    _text("task"),
    _text("kind"),
    _time("at"),
    _text("actor"),
    _whole("fence"),
    _text("detail"),
    _row_sum(),
    Index("ix_task_events_task", "task", "seq"),
    info={"sum": LISTED},
)

seals: Final = Table("seals", metadata, _whole("first", key=True), _whole("last"), _row_sum(), info={"sum": LISTED})

forgotten: Final = Table(
    "forgotten",
    metadata,
    _text("system", key=True),
    _text("key", key=True),
    _text("request"),
    _text("task"),
    _whole("number"),
    _text("state"),
    _time("created"),
    _time("ended"),
    _row_sum(),
    Index("ix_forgotten_task", "task"),
    info={"sum": LISTED},
)

steps: Final = Table(
    "steps",
    metadata,
    _text("task", key=True),
    _text("name", key=True),
    _text("code"),
    _text("value"),
    _time("at"),
    _whole("fence"),
    _row_sum(),
    _only("ix_steps_refs", IS_REF.format("value"), "value"),
    info={"sum": LISTED},
)

effects: Final = Table(
    "effects",
    metadata,
    _text("root", key=True),
    _text("key", key=True),
    _text("task"),
    _text("semantics"),
    _text("arguments"),
    _text("outcome"),
    _whole("fence"),
    Column("value", Text, nullable=True),
    _text("error"),
    _time("started"),
    _time("ended", nullable=True),
    _row_sum(),
    Index("ix_effects_outcome", "outcome"),
    Index("ix_effects_task", "task"),
    _only("ix_effects_refs", IS_REF.format("value"), "value"),
    info={"sum": LISTED, REMEMBERED: True},
)

questions: Final = Table(
    "questions",
    metadata,
    _text("task", key=True),
    _text("name", key=True),
    _text("question"),
    _text("options"),
    _text("arguments"),
    Column("default", Text, nullable=True),
    _time("until", nullable=True),
    _text("state"),
    Column("answer", Text, nullable=True),
    _text("by"),
    _time("asked"),
    _time("ended", nullable=True),
    _row_sum(),
    Index("ix_questions_state", "state", "until"),
    info={"sum": LISTED},
)

budgets: Final = Table(
    "budgets",
    metadata,
    _text("scope", key=True),
    _text("name"),
    _text("system"),
    Column("parent", Text, nullable=True),
    _text("limits"),
    _text("reserved"),
    _text("spent"),
    _text("held"),
    _text("told"),
    _row_sum(),
    info={"sum": LISTED},
)

trips: Final = Table(
    "trips",
    metadata,
    _text("scope", key=True),
    _text("system"),
    _text("cluster"),
    _text("day"),
    _text("reason"),
    _time("at"),
    _row_sum(),
    info={"sum": LISTED},
)

outbox: Final = Table(
    "outbox",
    metadata,
    _text("id", key=True),
    _whole("number"),
    _text("system"),
    _text("sender"),
    _text("source"),
    _text("cluster"),
    _text("agent"),
    _text("verb"),
    Column("key", Text, nullable=True),
    _text("request"),
    Column("lane", Text, nullable=True),
    _text("headers"),
    Column("body", Text, nullable=True),
    _whole("size"),
    _text("state"),
    _text("reason"),
    _whole("attempt"),
    _whole("deliveries"),
    _whole("seq"),
    _whole("epoch"),
    _time("created"),
    _time("sent", nullable=True),
    _time("ended", nullable=True),
    _row_sum(),
    Index("ix_outbox_number", "number", unique=True),
    Index("ix_outbox_key", "system", "sender", "cluster", "agent", "verb", "key", unique=True),
    Index("ix_outbox_state", "state", "number"),
    Index("ix_outbox_target", "system", "cluster", "agent", "state", "number", "size"),
    Index("ix_outbox_lane", "system", "cluster", "agent", "lane", "state", "number"),
    _only("ix_outbox_refs", IS_REF.format("body"), "body"),
    info={"sum": LISTED},
)
