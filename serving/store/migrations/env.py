"""What Alembic runs to apply revisions: on the connection, and within the transaction, that the store hands over."""

from alembic import context

from serving.store.tables import METADATA


def run() -> None:
    """Applies the revisions."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
    context.run_migrations()


run()
