"""What Alembic runs for every migration: on the connection, and in the transaction, that `schema.upgrade` gives."""

from __future__ import annotations

from alembic import context

from fedflow.server.database import base, people, tables, tryouts  # noqa: F401 - tables are known by being imported

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=base.Table.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
