"""All views of one entity in one read, decoded by hand: what a request waits for.

The values are Feast's own, in its own tables and hashes; only the way there is shorter. `OnlineView.read` asks view by
view and parses every value as a message: of one customer with 150 columns that takes five times as long.
"""

import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from types import MappingProxyType
from typing import Any, Final, Protocol

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.online import Row, from_micros, from_value
from recsys.features.spec import AS_OF, ColumnType, FeatureView
from recsys.schema import EVENT_TIMESTAMP

_LENGTH, _FOUR_BYTES = 2, 5
"""How the bytes of a field are to be read (protobuf's wire types)."""
_PACKED: Final = 1 << 3 | _LENGTH
"""The tag of a list's only field: all numbers behind one another."""
_FLOAT: Final = Struct("<xf")
Raw = tuple[int, str, bytes | None]
"""The position of a view, a column and its value as Feast stores it."""


class RawReader(Protocol):
    """Reads the stored values of an entity."""

    def __call__(self, key: EntityKey) -> Iterator[Raw] | Sequence[Raw]:
        """Of all views; a column that is not stored may be left out."""


class OneEntityReader:
    """Reads the rows of an entity. An object is for one thread at a time.

    Args:
        store: whose registry knows the views.
        views: of one kind of entity.
    """

    def __init__(self, store: FeatureStore, views: Sequence[FeatureView]) -> None:
        self._key = views[0].entity.value
        is_sqlite = store.config.online_store.type == "sqlite"
        self._raw: RawReader = SqliteReader(store, views) if is_sqlite else RedisReader(store, views)
        self._decoders = [{AS_OF: _whole, **{one.name: decoder(one.type) for one in view.columns}} for view in views]
        self._nothing = [dict.fromkeys(column.name for column in view.columns) for view in views]

    def read(self, id_: str) -> list[Row | None]:
        """As `OnlineView.read` of each view; None where it does not have the entity."""
        key = EntityKey(join_keys=[self._key], entity_values=[Value(string_val=id_)])
        rows: list[Row] = [{self._key: id_, EVENT_TIMESTAMP: None, **nothing} for nothing in self._nothing]
        for position, name, value in self._raw(key):
            decode = self._decoders[position].get(name)
            if value and decode is not None:
                rows[position][name] = decode(value)
        return [_dated(row) for row in rows]


class SqliteReader:
    """Feast's tables in SQLite: a row for each value."""

    def __init__(self, store: FeatureStore, views: Sequence[FeatureView]) -> None:
        from feast.infra.key_encoding_utils import serialize_entity_key

        self._serialize = serialize_entity_key
        self._version = store.config.entity_key_serialization_version
        tables = [f"{store.config.project}_{view.name}" for view in views]
        part = 'SELECT {}, feature_name, value FROM "{}" WHERE entity_key = ?1'
        self._query = " UNION ALL ".join(part.format(position, table) for position, table in enumerate(tables))
        self._connection = sqlite3.connect(store.config.online_store.path, check_same_thread=False)

    def __call__(self, key: EntityKey) -> Sequence[Raw]:
        """In one statement: all of it was true at one time."""
        serialized = self._serialize(key, entity_key_serialization_version=self._version)
        return self._connection.execute(self._query, (serialized,)).fetchall()


class RedisReader:
    """Feast's hash of an entity in Redis: a field for each value of any view."""

    def __init__(self, store: FeatureStore, views: Sequence[FeatureView]) -> None:
        self._config = store.config
        self._online: Any = store.provider.online_store
        self._columns: list[tuple[int, str]] = []
        self._fields: list[bytes] = []
        for position, view in enumerate(views):
            feast_view = store.get_feature_view(view.name)
            names, fields = self._online._generate_hset_keys_for_features(feast_view)
            self._columns += [(position, name) for name in names]
            self._fields += fields

    def __call__(self, key: EntityKey) -> Iterator[Raw]:
        """In one round trip."""
        (redis_key,) = self._online._generate_redis_keys_for_entities(self._config, [key])
        (values,) = self._online._read_hash_fields(self._config, [(redis_key, self._fields)])
        return ((position, name, value) for (position, name), value in zip(self._columns, values, strict=True))


def _dated(row: Row) -> Row | None:
    """With its time; an entity that a view does not have, or that was erased, has none."""
    if (micros := row.pop(AS_OF, None)) is None:
        return None
    row[EVENT_TIMESTAMP] = from_micros(micros)
    return row


def _length(value: bytes, at: int) -> tuple[int, int]:
    """A length (a varint) and where it ends."""
    number, shift = 0, 0
    while value[at] >= 0x80:
        number |= (value[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | value[at] << shift, at + 1


def _tag(field: str, wire: int) -> bytes:
    """What stands before a field of `Value`."""
    number = Value.DESCRIPTOR.fields_by_name[field].number << 3 | wire
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


_FLOAT_TAG: Final = _tag("float_val", _FOUR_BYTES)
_VECTOR_TAG: Final = _tag("float_list_val", _LENGTH)


def decoder(type_: ColumnType) -> Callable[[bytes], Any]:
    """Decodes the values of a type: those that there are many of, or that are long, without parsing a message."""
    return _BY_HAND.get(type_) or (lambda value: from_value(type_, Value.FromString(value)))


def _number(value: bytes) -> float | None:
    if len(value) == _FLOAT.size and value[0] == _FLOAT_TAG[0]:
        number: float = _FLOAT.unpack(value)[0]
        return number
    found: float | None = from_value(ColumnType.FLOAT, Value.FromString(value))
    return found


def _whole(value: bytes) -> int | None:
    found: int | None = from_value(ColumnType.INT, Value.FromString(value))
    return found


def _vector(value: bytes) -> list[float] | None:
    """The numbers stand at the end, one behind the other."""
    begins = len(_VECTOR_TAG)
    if value.startswith(_VECTOR_TAG):
        outer, begins = _length(value, begins)
        if outer and value[begins] == _PACKED:
            inner, begins = _length(value, begins + 1)
            if begins + inner == len(value):
                numbers = array("f")
                numbers.frombytes(value[begins:])
                return numbers.tolist()
    found: list[float] | None = from_value(ColumnType.VECTOR, Value.FromString(value))
    return found


_BY_HAND: Final[Mapping[ColumnType, Callable[[bytes], Any]]] = MappingProxyType(
    {ColumnType.FLOAT: _number, ColumnType.INT: _whole, ColumnType.VECTOR: _vector}
)
