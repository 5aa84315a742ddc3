"""Alembic runs this; `fishs2.store.database` gives it a connection with a transaction begun."""

from alembic import context

from fishs2.store.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
