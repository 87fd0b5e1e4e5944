"""Tokens that are traded for short ones, and the short ones, which name whom they came from.

A row's checksum covers every column, so each row gets a new one here; a row whose old one does not match stays as it is, and is refused
when it is read.
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OLD = ("id", "role", "hash", "note", "created", "expires", "once", "revoked", "cluster", "system", "used", "user")
NEW = {"refresh": False, "parent": None}


def upgrade() -> None:
    """Add the columns, then sum the rows anew."""
    op.add_column("tokens", sa.Column("refresh", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("tokens", sa.Column("parent", sa.Text(), nullable=True))
    table = sa.table(
        "tokens",
        *(sa.column(name, sa.Text()) for name in ("id", "role", "hash", "note", "cluster", "system", "user", "row_sum")),
        *(sa.column(name, sa.Float()) for name in ("created", "expires", "revoked", "used")),
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
