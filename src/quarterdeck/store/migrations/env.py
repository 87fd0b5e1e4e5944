"""Run by Alembic: the connection comes from schema.py, already inside the one transaction of the whole upgrade."""

from __future__ import annotations

from alembic import context

from quarterdeck.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
