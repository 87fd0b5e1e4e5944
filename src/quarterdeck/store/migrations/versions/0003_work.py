"""Work: tasks with their bodies, events, steps, effects and questions; budgets and their trips; the outbox of messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of work."""
    _tasks()
    _task_bodies()
    _task_events()
    _seals()
    _forgotten()
    _steps()
    _effects()
    _questions()
    _budgets()
    _trips()
    _outbox()


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("behind", sa.Text(), nullable=True),
        sa.Column("turn", sa.Float(precision=53), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("most", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("after", sa.Float(precision=53), nullable=False),
        sa.Column("deadline", sa.Float(precision=53), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("depth", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cancel", sa.Text(), nullable=True),
        sa.Column("budget", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.Column("started", sa.Float(precision=53), nullable=True),
        sa.Column("ended", sa.Float(precision=53), nullable=True),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tasks_key", "tasks", ["system", "key"], unique=True)
    _where_there("ix_tasks_deadline", "deadline", "state")
    _where_there("ix_tasks_lane", "lane", "system", "cluster", "agent", "number")
    op.create_index("ix_tasks_next", "tasks", ["system", "cluster", "agent", "state", "rank", "turn", "number"], unique=False)
    op.create_index("ix_tasks_number", "tasks", ["number"], unique=True)
    _where_there("ix_tasks_owner", "owner", "state")
    _where_there("ix_tasks_parent", "parent")
    op.create_index("ix_tasks_root", "tasks", ["root"], unique=False)
    op.create_index("ix_tasks_state", "tasks", ["state", "number"], unique=False)


def _where_there(name: str, *columns: str) -> None:
    there = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, "tasks", list(columns), unique=False, sqlite_where=there, postgresql_where=there)


def _of_refs(table: str, column: str) -> None:
    is_ref = sa.text(f"substr({column}, 1, 1) = '@' AND length({column}) < 100")
    op.create_index(f"ix_{table}_refs", table, [column], unique=False, sqlite_where=is_ref, postgresql_where=is_ref)


def _task_bodies() -> None:
    op.create_table(
        "task_bodies",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("task", "kind"),
    )
    _of_refs("task_bodies", "body")


def _task_events() -> None:
    op.create_table(
        "task_events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_task_events_task", "task_events", ["task", "seq"], unique=False)


def _seals() -> None:
    op.create_table(
        "seals",
        sa.Column("first", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("first"),
    )


def _forgotten() -> None:
    op.create_table(
        "forgotten",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.Column("ended", sa.Float(precision=53), nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("system", "key"),
    )
    op.create_index("ix_forgotten_task", "forgotten", ["task"], unique=False)


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("task", "name"),
    )
    _of_refs("steps", "value")


def _effects() -> None:
    op.create_table(
        "effects",
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("semantics", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("started", sa.Float(precision=53), nullable=False),
        sa.Column("ended", sa.Float(precision=53), nullable=True),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("root", "key"),
    )
    op.create_index("ix_effects_outcome", "effects", ["outcome"], unique=False)
    op.create_index("ix_effects_task", "effects", ["task"], unique=False)
    _of_refs("effects", "value")


def _questions() -> None:
    op.create_table(
        "questions",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("default", sa.Text(), nullable=True),
        sa.Column("until", sa.Float(precision=53), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("asked", sa.Float(precision=53), nullable=False),
        sa.Column("ended", sa.Float(precision=53), nullable=True),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("task", "name"),
    )
    op.create_index("ix_questions_state", "questions", ["state", "until"], unique=False)


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("reserved", sa.Text(), nullable=False),
        sa.Column("spent", sa.Text(), nullable=False),
        sa.Column("held", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )


def _trips() -> None:
    op.create_table(
        "trips",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("deliveries", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created", sa.Float(precision=53), nullable=False),
        sa.Column("sent", sa.Float(precision=53), nullable=True),
        sa.Column("ended", sa.Float(precision=53), nullable=True),
        sa.Column("row_sum", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_outbox_key", "outbox", ["system", "sender", "cluster", "agent", "verb", "key"], unique=True)
    op.create_index("ix_outbox_lane", "outbox", ["system", "cluster", "agent", "lane", "state", "number"], unique=False)
    op.create_index("ix_outbox_number", "outbox", ["number"], unique=True)
    op.create_index("ix_outbox_state", "outbox", ["state", "number"], unique=False)
    op.create_index("ix_outbox_target", "outbox", ["system", "cluster", "agent", "state", "number", "size"], unique=False)
    _of_refs("outbox", "body")
