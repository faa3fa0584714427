"""Brings the items that were put over the API into the dataset, so that the next training knows them by their ids."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import polars as pl

from recsys.data.append import append_rows, move_end
from recsys.data.columns import DTYPES
from recsys.data.contract import Dataset, value_type
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP, PRODUCT_ID, Kind, Table
from serving.items import TABLES
from serving.live_catalogue import columns_of
from serving.store.catalogue import CatalogueStore, Change
from serving.store.database import Store

PICTURES: Final = "images/live"
_PATH: Final = "image_path"
_KEYS: Final = {Kind.PRODUCTS: PRODUCT_ID, Kind.CONTENTS: CONTENT_ID}


def export_catalogue(store: Store, dataset: Dataset) -> int:
    """Appends every item as it is now, unless the dataset has that state of it already.

    Columns that the dataset does not keep are left out: to the rules a column that appears means something for all.

    Args:
        store: has the changes.
        dataset: is appended to.

    Returns:
        How many rows were new.

    Raises:
        StoreError: the store cannot be read; nothing was written.
        DatasetError: the dataset cannot be appended to.
    """
    changes = [revision.change for revision in CatalogueStore(store).items()]
    if not changes:
        return 0
    move_end(dataset, max(change.changed_at for change in changes))
    added = 0
    for kind in (Kind.PRODUCTS, Kind.CONTENTS):  # a creative names its product
        mine = [change for change in changes if change.kind == kind]
        if mine and dataset.has(TABLES[kind]):
            added += append_rows(dataset, TABLES[kind], _rows(dataset, kind, mine))
    return added


def _rows(dataset: Dataset, kind: Kind, changes: Sequence[Change]) -> pl.DataFrame:
    table = TABLES[kind]
    declared = dataset.declared(table)
    types = {name: value_type(table, name, declared) for name in dataset.columns(table)}
    schema = {name: DTYPES[type_] for name, type_ in types.items() if type_ is not None}
    pictures = _pictures(dataset, table, _KEYS[kind]) if _PATH in schema else {}
    rows = []
    for change in changes:
        row: dict[str, Any] = columns_of(change) | {_KEYS[kind]: change.item_id}
        path = pictures.get(change.item_id) if change.picture is None else _write(dataset.path, change.picture)
        rows.append({name: path if name == _PATH else row.get(name) for name in schema})
    frame = pl.DataFrame(rows, schema=schema)
    if kind is Kind.CONTENTS:
        known = dataset.scan(Table.PRODUCTS).select(pl.col(PRODUCT_ID).unique()).collect()[PRODUCT_ID]
        frame = frame.filter(pl.col(PRODUCT_ID).is_in(known.to_list()))
    return frame


def _pictures(dataset: Dataset, table: Table, key: str) -> Mapping[str, str | None]:
    """The picture that the dataset has of each item now."""
    latest = pl.col(_PATH).sort_by(EVENT_TIMESTAMP).last()
    return dict(dataset.scan(table).group_by(key).agg(latest).collect().iter_rows())


def _write(dataset: Path, picture: bytes) -> str:
    """The path of a picture, relative to the dataset, where it lies under the digest of its bytes."""
    from PIL import Image

    with Image.open(BytesIO(picture)) as image:
        suffix = (image.format or "picture").lower()
    path = f"{PICTURES}/{hashlib.sha256(picture).hexdigest()[:32]}.{suffix}"
    file = dataset / path
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{uuid4().hex}.partial")
        with temporary.open("wb") as handle:
            handle.write(picture)
            os.fsync(handle.fileno())
        temporary.replace(file)
    return path
