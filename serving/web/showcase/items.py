"""Products and creatives as people see them: words, terms and pictures, as they are now."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys.data.contract import Dataset
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP, PRODUCT_ID, Kind, Table
from serving.items import TABLES
from serving.store.catalogue import CatalogueStore

_KEYS: Final = {Kind.PRODUCTS: PRODUCT_ID, Kind.CONTENTS: CONTENT_ID}
_SHOWN: Final = {
    Kind.PRODUCTS: (
        "name", "category", "description", "currency", "rate", "fee", "min_amount", "term_months", "issuer_risk",
        "bank_risk", "is_credit", "status",
    ),
    Kind.CONTENTS: (
        "product_id", "headline", "body", "call_to_action", "disclaimer", "tone", "language", "channel",
        "ai_generated", "status",
    ),
}  # fmt: skip
_PICTURE: Final = "image_path"


class ItemCards:
    """Reads items from the dataset, and what was put over the API since on top.

    Args:
        dataset: of the home; None: only what was put is known.
        changes: of the catalogue.
    """

    def __init__(self, dataset: Dataset | None, changes: CatalogueStore) -> None:
        self._dataset = dataset
        self._changes = changes

    def read(self, kind: Kind, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The columns that people see, of those items that are known.

        Raises:
            StoreError: the changes cannot be read.
        """
        wanted = list(dict.fromkeys(ids))
        rows = self._rows(kind, wanted)
        for item_id in wanted:
            if (revision := self._changes.latest(kind, item_id)) is not None:
                columns = dict(revision.change.columns)
                picture = revision.change.picture is not None or bool(rows.get(item_id, {}).get(_PICTURE))
                rows[item_id] = {**columns, _PICTURE: "put" if picture else None}
        return {item_id: _card(kind, row) for item_id, row in rows.items()}

    def picture(self, kind: Kind, item_id: str) -> Path | bytes | None:
        """The picture of an item as it is now: what was put, or the dataset's file.

        Raises:
            StoreError: the changes cannot be read.
        """
        revision = self._changes.latest(kind, item_id)
        if revision is not None and revision.change.picture is not None:
            return revision.change.picture
        path = self._rows(kind, [item_id]).get(item_id, {}).get(_PICTURE)
        return self._dataset.image_file(path) if self._dataset is not None and path else None

    def _rows(self, kind: Kind, ids: list[str]) -> dict[str, dict[str, Any]]:
        """The latest row of each item in the dataset."""
        table, key = TABLES[kind], _KEYS[kind]
        if self._dataset is None or not self._dataset.has(table):
            return {}
        columns = [key, EVENT_TIMESTAMP, *(name for name in self._columns(kind, table) if name != key)]
        mine = self._dataset.scan(table).filter(pl.col(key).is_in(ids)).select(columns).sort(EVENT_TIMESTAMP)
        return {row[key]: row for row in mine.collect().iter_rows(named=True)}

    def _columns(self, kind: Kind, table: Table) -> list[str]:
        present = set() if self._dataset is None else set(self._dataset.columns(table))
        return [name for name in (*_SHOWN[kind], _PICTURE) if name in present]


def _card(kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: row.get(name) for name in _SHOWN[kind]}
    return {**shown, "picture": bool(row.get(_PICTURE)), "changed_at": _iso(row.get(EVENT_TIMESTAMP))}


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
