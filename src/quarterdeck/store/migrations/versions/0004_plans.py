"""What is asked often reads what it needs, however much else there is.

Claims look at tasks in line only: an index of these, one of those whose time has yet to come, and one of all by agent; lanes only at what
is open. And SQLite is told
what a full store looks like, since it guesses otherwise: it took all tasks that have not ended for fewer than the children of sixteen.
PostgreSQL counts for itself. The figures are rows in all, then how many of them have the same first column, the same first two, … as
ANALYZE writes them (https://sqlite.org/fileformat2.html#stat1tab).
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FULL = {
    "tasks": {
        "sqlite_autoindex_tasks_1": "1000000 1",
        "ix_tasks_number": "1000000 1",
        "ix_tasks_key": "1000000 1000000 1",
        "ix_tasks_agent": "1000000 1000000 500000 200000 50000 1",
        "ix_tasks_next": "10000 10000 5000 2000 2000 1 1",
        "ix_tasks_later": "10000 10000 5000 2000 1",
        "ix_tasks_state": "1000000 5000 1",
        "ix_tasks_owner": "1000 20 10",
        "ix_tasks_parent": "500000 10",
        "ix_tasks_root": "1000000 10",
        "ix_tasks_lane": "10000 10 10 10 10 1",
        "ix_tasks_deadline": "100000 1 1",
    },
    "effects": {
        "sqlite_autoindex_effects_1": "1000000 2 1",
        "ix_effects_task": "1000000 2",
        "ix_effects_outcome": "1000000 20000",
    },
    "questions": {"sqlite_autoindex_questions_1": "10000 2 1", "ix_questions_state": "10000 1000 1"},
    "outbox": {
        "sqlite_autoindex_outbox_1": "1000000 1",
        "ix_outbox_number": "1000000 1",
        "ix_outbox_key": "1000000 1000000 100000 100000 100000 100000 1",
        "ix_outbox_state": "1000000 50000 1",
        "ix_outbox_target": "1000000 1000000 500000 200000 50000 1 1",
        "ix_outbox_lane": "1000000 1000000 500000 200000 100 50 1",
    },
}


def upgrade() -> None:
    """Replace the index of claims. Tasks with a delay that are in line already stay there, and are looked past."""
    agent = "system", "cluster", "agent"
    op.drop_index("ix_tasks_next", "tasks")
    op.drop_index("ix_tasks_lane", "tasks")
    op.create_index("ix_tasks_agent", "tasks", [*agent, "state", "number"], unique=False)
    _only("ix_tasks_next", "state = 'queued' AND behind IS NULL AND turn > 0", *agent, "rank", "turn", "number")
    _only("ix_tasks_later", "state = 'queued' AND turn <= 0", *agent, "after")
    _only("ix_tasks_lane", "lane IS NOT NULL AND ended IS NULL", "lane", *agent, "number")
    _users()
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("ANALYZE sqlite_schema"))  # makes the table
        told = [{"table": table, "index": index, "stat": stat} for table, all_ in FULL.items() for index, stat in all_.items()]
        connection.execute(sa.text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :stat)"), told)
        connection.execute(sa.text("ANALYZE sqlite_schema"))  # reads it, in this connection too


def _users() -> None:
    """Nobody is named by the tokens there are. A row's checksum covers every column; one that does not match stays wrong."""
    op.add_column("tokens", sa.Column("user", sa.Text(), nullable=False, server_default=""))
    known = ("id", "role", "hash", "note", "created", "expires", "once", "revoked", "cluster", "system", "used")
    table = sa.table(
        "tokens",
        *(sa.column(name, sa.Text()) for name in ("id", "role", "hash", "note", "cluster", "system", "row_sum")),
        *(sa.column(name, sa.Float()) for name in ("created", "expires", "revoked", "used")),
        sa.column("once", sa.Boolean()),
    )
    connection = op.get_bind()
    for found in connection.execute(sa.select(table)).mappings().all():
        row = {name: found[name] for name in known}
        if _sum(row) == found["row_sum"]:
            connection.execute(sa.update(table).where(table.c.id == row["id"]).values(row_sum=_sum({**row, "user": ""})))


def _sum(row: dict[str, object]) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(f"tokens\n{text}".encode()).hexdigest()[:32]


def _only(name: str, where: str, *columns: str) -> None:
    there = sa.text(where)
    op.create_index(name, "tasks", list(columns), unique=False, sqlite_where=there, postgresql_where=there)
