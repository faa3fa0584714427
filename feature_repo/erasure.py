"""Takes a customer out of Feast's online store, key and all: `OnlineView.erase` leaves the key behind.

Feast has no call that deletes one entity, so this speaks to the databases beneath it; keys are made by Feast's own
serialisation.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from feature_repo.operations import feast_folder, make_store
from feature_repo.settings import StoreSettings
from recsys.schema import CUSTOMER_ID

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from redis import Redis

_BUSY_SECONDS: Final = 30.0


def erase_online(home: Path, customer_id: str, settings: StoreSettings | None = None) -> int:
    """Removes every value of a customer and his key; safe to repeat.

    Args:
        home: the state directory.
        customer_id: who.
        settings: which online store; by default what the environment says.

    Returns:
        How many values (SQLite) or keys (Redis) went.
    """
    settings = settings or StoreSettings()
    if not (feast_folder(home) / "registry.db").exists():
        return 0
    if settings.online_store == "sqlite":
        return _erase_from_sqlite(feast_folder(home) / "online.db", customer_id, make_store(home, settings))
    with closing(_redis(home, settings)) as redis:
        return int(redis.execute_command("DEL", _redis_key(make_store(home, settings), customer_id)))


def is_online(home: Path, customer_id: str, settings: StoreSettings | None = None) -> bool:
    """Whether a Redis online store has his key; a SQLite one lies in the home and is searched as a file."""
    settings = settings or StoreSettings()
    if settings.online_store == "sqlite" or not (feast_folder(home) / "registry.db").exists():
        return False
    with closing(_redis(home, settings)) as redis:
        return bool(redis.execute_command("EXISTS", _redis_key(make_store(home, settings), customer_id)))


def _erase_from_sqlite(database: Path, customer_id: str, store: "FeatureStore") -> int:
    from feast.infra.key_encoding_utils import serialize_entity_key

    if not database.exists():
        return 0
    key = serialize_entity_key(_entity_key(customer_id), store.config.entity_key_serialization_version)
    removed = 0
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection:
        with connection:
            for table in _tables_by_entity(connection):
                removed += connection.execute(f'DELETE FROM "{table}" WHERE entity_key = ?', (key,)).rowcount  # noqa: S608
        connection.execute("VACUUM")  # until then the deleted bytes stay in the file
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return removed


def _tables_by_entity(connection: sqlite3.Connection) -> list[str]:
    """The tables of views, those that the registry has forgotten included."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [
        name
        for (name,) in tables
        if any(row[1] == "entity_key" for row in connection.execute(f'PRAGMA table_info("{name}")'))
    ]


def _entity_key(customer_id: str) -> "EntityKey":
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=[CUSTOMER_ID], entity_values=[Value(string_val=customer_id)])


def _redis_key(store: "FeatureStore", customer_id: str) -> bytes:
    """Feast's key of an entity: the serialised entity, then the project."""
    from feast.infra.key_encoding_utils import serialize_entity_key

    config = store.config
    return (
        serialize_entity_key(_entity_key(customer_id), config.entity_key_serialization_version)
        + config.project.encode()
    )


def _redis(home: Path, settings: StoreSettings) -> "Redis":
    from feast.infra.online_stores.redis import RedisOnlineStore

    online_store = RedisOnlineStore()
    return online_store._get_client(make_store(home, settings).config.online_store)
