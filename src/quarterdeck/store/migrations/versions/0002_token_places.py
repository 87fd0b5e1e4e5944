"""Tokens may be for one cluster, and tell when they were used last.

A row's checksum covers every column, so each row gets a new one here; a row whose old one does not match stays as it is, and is refused
when it is read.
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD = ("id", "role", "hash", "note", "created", "expires", "once", "revoked")
NEW = {"cluster": None, "system": None, "used": None}


def upgrade() -> None:
    """Add the columns, then sum the rows anew."""
    op.add_column("tokens", sa.Column("cluster", sa.Text(), nullable=True))
    op.add_column("tokens", sa.Column("system", sa.Text(), nullable=True))
    op.add_column("tokens", sa.Column("used", sa.Float(precision=53), nullable=True))
    table = sa.table(
        "tokens",
        *(sa.column(name, sa.Text()) for name in ("id", "role", "hash", "note", "row_sum")),
        *(sa.column(name, sa.Float()) for name in ("created", "expires", "revoked")),
        sa.column("once", sa.Boolean()),
    )
    connection = op.get_bind()
    for found in connection.execute(sa.select(table)).mappings().all():
        row = {name: found[name] for name in OLD}
        if _sum(row) == found["row_sum"]:
            connection.execute(sa.update(table).where(table.c.id == row["id"]).values(row_sum=_sum({**row, **NEW})))


def _sum(row: dict[str, object]) -> str:
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(f"tokens\n{text}".encode()).hexdigest()[:32]
