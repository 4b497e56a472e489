"""What Alembic runs for every migration, on the connection that `schema.prepare` gives."""

from __future__ import annotations

from alembic import context

from fedflow.client.database.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
