"""Brings a store to the present revision of its tables. Alembic is imported only where there is something to do."""

from typing import Final

from sqlalchemy import Connection, inspect, text

from recsys.errors import HomeError
from serving.store.tables import HEAD

VERSION_TABLE: Final = "alembic_version"
_FIRST: Final = "0001"
_BEFORE_ALEMBIC: Final = "schema_version"
"""The table by which the first release, which knew no Alembic, told its version."""
_LOCK: Final = 0x7265635F73716C
"""Of PostgreSQL's advisory locks: one upgrade at a time."""


def upgrade(connection: Connection, name: str) -> None:
    """Applies the revisions that a store lacks, all or none, within the connection's transaction.

    Args:
        connection: in a transaction that holds off other writers (SQLite) or may take a lock (PostgreSQL).
        name: of the store, for the error.

    Raises:
        HomeError: the store was made by a later version of this program.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    present = revision_of(connection)
    if present == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "serving.store:migrations")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise HomeError(
            f"the store {name} has revision {present}, this program knows up to {HEAD}: "
            "use the version of the program that wrote it, or a later one"
        )
    if present == _FIRST and not inspect(connection).has_table(VERSION_TABLE):
        command.stamp(config, _FIRST)
    command.upgrade(config, "head")


def revision_of(connection: Connection) -> str | None:
    """The revision of a store; None where it is new."""
    inspector = inspect(connection)
    if inspector.has_table(VERSION_TABLE):
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
        return None if found is None else str(found)
    return _FIRST if inspector.has_table(_BEFORE_ALEMBIC) else None
