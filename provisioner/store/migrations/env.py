"""Alembic runs this file: migrate over the connection that ``upgrade`` has opened, inside its transaction."""

from alembic import context

from provisioner.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
