"""The connection to the SQL store: SQLite in a file by default, PostgreSQL by its URL."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from recsys.errors import HomeError
from serving.store.upgrade import upgrade

StoreError = SQLAlchemyError
"""What every method of the store raises where the database cannot be reached or used."""
STORE_FILE = "store.db"
POOL_SECONDS = 2.0
"""How long one waits for a connection that others hold."""
POSTGRES_PATIENCE = MappingProxyType(
    {
        "connect_timeout": 2,
        "tcp_user_timeout": 2_000,
        "keepalives_idle": 1,
        "keepalives_interval": 1,
        "keepalives_count": 2,
    }
)
"""A server that vanished without a word is noticed after some seconds, not after the minutes that TCP would wait."""
BUSY_TIMEOUT_MS = 5_000
"""How long a SQLite writer waits for another one."""
Synchronous = Literal["NORMAL", "FULL"]
Upsert = sqlite.Insert | postgresql.Insert


def sqlite_url(home: Path) -> str:
    """The URL of a home's own store."""
    return f"sqlite:///{(home / STORE_FILE).resolve()}"


class Store:
    """The SQL store of one home."""

    def __init__(self, url: str, synchronous: Synchronous = "NORMAL") -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise HomeError(
                f"the database URL cannot be read ({error}): use sqlite:///FILE or postgresql+..."
            ) from error
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise HomeError(f"a {parsed.get_backend_name()} database is not supported: use SQLite or PostgreSQL")
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        sqlite_file = parsed.get_backend_name() == "sqlite"
        self.engine: Engine = create_engine(
            parsed,
            pool_pre_ping=not sqlite_file,
            pool_timeout=POOL_SECONDS,
            connect_args={} if sqlite_file else dict(POSTGRES_PATIENCE),
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _sqlite_settings(synchronous))
            if parsed.database:
                _leave_replaced_files(self.engine, Path(parsed.database))

    def create(self) -> None:
        """Makes the tables, or brings those of an earlier release to the present ones; their rows stay.

        Raises:
            HomeError: the store is of a later version of this program, or is no database.
        """
        try:
            with self.writing() as connection:
                upgrade(connection, self.name)
        except DBAPIError as error:
            raise HomeError(f"the store {self.name} cannot be used: {error.orig}") from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    def upsert(self, table: Table) -> Any:
        """An `INSERT` of the dialect at hand, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return postgresql.insert(table) if self.engine.dialect.name == "postgresql" else sqlite.insert(table)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reading."""
        with self.engine.connect() as connection:
            try:
                yield connection
            except DBAPIError:
                connection.invalidate()  # it may keep pages of a file that was damaged and has been restored since
                raise

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on an error.

        In SQLite it has the one right to write from its start on: what it reads stays true until it ends, and it
        waits for its turn now and not, in vain, when it first writes.
        """
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def lock_customer(self, connection: Connection, customer_id: str) -> None:
        """Holds off other writers of this customer until the transaction ends."""
        self.lock(connection, customer_id)

    def lock(self, connection: Connection, name: str) -> None:
        """Holds off others who ask for the same name until the transaction ends.

        SQLite has one writer at a time anyway.
        """
        if self.engine.dialect.name == "postgresql":
            key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def ping(self) -> None:
        """Raises StoreError where the database does not answer."""
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()


@contextmanager
def open_store(url: str) -> Iterator[Store]:
    """A store with its tables made, closed at the end.

    Raises:
        HomeError: it cannot be used.
    """
    store = Store(url)
    try:
        store.create()
        yield store
    finally:
        store.close()


def _leave_replaced_files(engine: Engine, path: Path) -> None:
    """Closes connections to a file that is not at its path any more: they would read what it held, for ever."""

    def remember(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["file"] = _identity(path)

    def check(connection: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
        if record.info.get("file") != _identity(path):
            raise DisconnectionError("the file of the store was replaced")

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_settings(synchronous: Synchronous) -> Any:
    def configure(connection: Any, record: Any) -> None:
        """Readers beside one writer; how much a commit outlives is the operator's choice."""
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.close()

    return configure
