"""Rows of a feature view in Feast's online store, through the interface that all of its online stores share.

`FeatureStore.get_online_features` and `write_to_online_store` do the same by way of pandas and column protos; these
functions call the provider beneath them, which is several times faster for one customer and for many.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value

from recsys.errors import FeatureError
from recsys.features.spec import AS_OF, ColumnType, FeatureView
from recsys.schema import EVENT_TIMESTAMP

_IDS_A_READ: Final = 5_000
"""SQLite takes at most 32,766 values in a query."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: Final = MappingProxyType(
    {
        ColumnType.FLOAT: "float_val",
        ColumnType.INT: "int64_val",
        ColumnType.STRING: "string_val",
        ColumnType.STRING_LIST: "string_list_val",
        ColumnType.INT_LIST: "int64_list_val",
        ColumnType.VECTOR: "float_list_val",
    }
)
_LISTS: Final = MappingProxyType(
    {ColumnType.STRING_LIST: StringList, ColumnType.INT_LIST: Int64List, ColumnType.VECTOR: FloatList}
)
Row = dict[str, Any]
"""One row of a view: its entity key, `event_timestamp` (an aware datetime) and its columns; None where null."""


def from_micros(micros: int) -> datetime:
    """Epoch microseconds as an aware datetime, exactly."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(time: datetime) -> int:
    """The inverse of `from_micros`."""
    return (time - _EPOCH) // timedelta(microseconds=1)


class OnlineView:
    """One feature view in the online store. An object is for one thread, or behind `locked`.

    Args:
        store: whose registry knows the view.
        view: the manifest's description of it.
    """

    def __init__(self, store: FeatureStore, view: FeatureView) -> None:
        self.view = view
        self._config = store.config
        self._provider = store.provider
        self._feast_view = store.get_feature_view(view.name)
        self._types = {AS_OF: ColumnType.INT, **{column.name: column.type for column in view.columns}}

    def read(self, ids: Sequence[str]) -> list[Row | None]:
        """The rows of N entities, None where there is none, in one read (for very many: in several)."""
        rows: list[Row | None] = []
        for first in range(0, len(ids), _IDS_A_READ):
            part = ids[first : first + _IDS_A_READ]
            found = self._provider.online_read(self._config, self._feast_view, [self._key(id_) for id_ in part])
            rows += [self._decode(id_, values) for id_, (_, values) in zip(part, found, strict=True)]
        return rows

    def write(self, rows: Sequence[Row], *, overwrite: bool = False) -> int:
        """Writes rows, and leaves alone those for which the store has a newer one.

        Args:
            rows: at most one an entity; a missing column becomes null.
            overwrite: write them even so.

        Returns:
            How many were written.

        Raises:
            FeatureError: a row lacks its key or an aware event_timestamp, or a value has the wrong type.
        """
        if not rows:
            return 0
        key = self.view.entity.value
        for row in rows:
            time = row.get(EVENT_TIMESTAMP)
            if not isinstance(row.get(key), str) or not isinstance(time, datetime) or time.tzinfo is None:
                raise FeatureError(f"{self.view.name}: a row needs {key} and an event_timestamp with a zone, got {row}")
        if not overwrite:
            present = self.read([row[key] for row in rows])
            rows = [new for new, old in zip(rows, present, strict=True) if not _is_newer(old, new)]
        self._write([(row[key], self._encode(row), row[EVENT_TIMESTAMP]) for row in rows])
        return len(rows)

    def erase(self, ids: Sequence[str]) -> None:
        """Overwrites every value of these entities with null, so that they read as having no row.

        Feast's SQLite store has no deletion of an entity; its key stays, without a value.
        """
        nothing = {name: Value() for name in self._types}
        self._write([(id_, nothing, _EPOCH) for id_ in ids])

    def _write(self, rows: Sequence[tuple[str, dict[str, Value], datetime]]) -> None:
        data = [(self._key(id_), values, time, time) for id_, values, time in rows]
        if data:
            self._provider.online_write_batch(self._config, self._feast_view, data, progress=None)

    def _key(self, id_: str) -> EntityKey:
        return EntityKey(join_keys=[self.view.entity.value], entity_values=[Value(string_val=id_)])

    def _encode(self, row: Row) -> dict[str, Value]:
        values = {**row, AS_OF: to_micros(row[EVENT_TIMESTAMP])}
        try:
            return {name: _to_value(type_, values.get(name)) for name, type_ in self._types.items()}
        except (TypeError, ValueError) as error:
            raise FeatureError(f"{self.view.name}: the row {row} does not fit the view: {error}") from error

    def _decode(self, id_: str, values: dict[str, Value] | None) -> Row | None:
        as_of = values.get(AS_OF) if values else None
        if values is None or as_of is None or as_of.WhichOneof("val") is None:
            return None
        row: Row = {self.view.entity.value: id_, EVENT_TIMESTAMP: from_micros(as_of.int64_val)}
        for column in self.view.columns:
            value = values.get(column.name)
            row[column.name] = None if value is None else from_value(column.type, value)
        return row


@contextmanager
def locked(path: Path, lock: Lock) -> Iterator[None]:
    """Keeps other threads (by `lock`) and other processes of this machine (by the file `path`) out.

    Between reading a row and writing it back nobody else may write, or his event is lost.
    """
    with lock, path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _to_value(type_: ColumnType, value: Any) -> Value:
    if value is None:
        return Value()
    if type_ in _LISTS:
        return Value(**{_FIELDS[type_]: _LISTS[type_](val=value)})
    return Value(**{_FIELDS[type_]: value})


def from_value(type_: ColumnType, value: Value) -> Any:
    """What a message of Feast's holds; None where that is nothing."""
    if value.WhichOneof("val") in (None, "null_val"):
        return None
    content = getattr(value, _FIELDS[type_])
    return list(content.val) if type_ in _LISTS else content


def _is_newer(old: Row | None, new: Row) -> bool:
    return old is not None and old[EVENT_TIMESTAMP] > new[EVENT_TIMESTAMP]
