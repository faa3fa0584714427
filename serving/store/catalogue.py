"""The changes of the catalogue: one row each, numbered without gaps, so that every state it had can be had again."""

from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import func, insert, select, text

from recsys.schema import Kind
from serving.store.database import Store
from serving.store.tables import catalogue_changes

_C = catalogue_changes.c
_LOCK: Final = 0x7265635F636174
"""Of PostgreSQL's advisory locks: one change at a time, so that no reader sees revision 6 before 5."""


class Change(NamedTuple):
    """An item as it was put; its names are the columns of the table, but for `revision`."""

    kind: str
    item_id: str
    changed_at: datetime
    changed_by: str
    columns: dict[str, Any]
    """Of the data contract, as JSON has them: times in ISO 8601."""
    picture: bytes | None
    features: dict[str, Any]
    schema_hash: str


class Revision(NamedTuple):
    """A change with its number."""

    number: int
    change: Change


class CatalogueStore:
    """Reads and writes the changes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, change: Change) -> Revision:
        """Appends a change; one that says what the item's last one says is that one.

        Raises:
            StoreError: nothing was stored.
        """
        with self._store.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            last = connection.execute(_latest(change.kind, change.item_id)).first()
            if last is not None and _same(present := _revision(last), change):
                return present
            number = (connection.scalar(select(func.max(_C.revision))) or 0) + 1
            values = change._replace(columns=_json(change.columns), features=_json(change.features))._asdict()
            connection.execute(insert(catalogue_changes).values(revision=number, **values))
        return Revision(number, change)

    def latest(self, kind: Kind, item_id: str) -> Revision | None:
        """The last change of an item; None where it was never put."""
        with self._store.reading() as connection:
            row = connection.execute(_latest(kind, item_id)).first()
        return None if row is None else _revision(row)

    def head(self) -> int:
        """The number of the last change; 0: none yet."""
        with self._store.reading() as connection:
            return connection.scalar(select(func.max(_C.revision))) or 0

    def items(self, until: int | None = None) -> list[Revision]:
        """The last change of each item, in the order of their numbers.

        Args:
            until: as it was after this revision; None: as it is.
        """
        numbers = select(func.max(_C.revision)).group_by(_C.kind, _C.item_id)
        if until is not None:
            numbers = numbers.where(_C.revision <= until)
        statement = select(catalogue_changes).where(_C.revision.in_(numbers)).order_by(_C.revision)
        with self._store.reading() as connection:
            return [_revision(row) for row in connection.execute(statement)]


def _latest(kind: str, item_id: str) -> Any:
    mine = (_C.kind == str(kind), _C.item_id == item_id)
    return select(catalogue_changes).where(*mine).order_by(_C.revision.desc()).limit(1)


def _revision(row: Any) -> Revision:
    number, *values = row
    change = Change(*values)
    return Revision(number, change._replace(columns=orjson.loads(values[4]), features=orjson.loads(values[6])))


def _same(present: Revision, change: Change) -> bool:
    """Whether a change changes nothing; who made it and when does not count."""
    old = present.change
    kept = (orjson.loads(_json(change.columns)), change.picture, change.schema_hash)
    return (old.columns, old.picture, old.schema_hash) == kept


def _json(value: dict[str, Any]) -> Any:
    return orjson.dumps(value).decode()
