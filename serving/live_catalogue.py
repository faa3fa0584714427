"""The catalogue as it is now: what was put over the API, on top of what the champion was trained with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from recsys.data.columns import SCHEMAS, ValueType
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.extension import ExtendedBundle, ExtendedRecommender
from recsys.home import Home
from recsys.live_item import LiveItem
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP, PRODUCT_ID, Kind
from serving.items import TABLES, ItemFeatures, ItemReader, NewItem
from serving.loading import LoadedChampion, ServedModel, assemble, catalogue_version
from serving.store.catalogue import CatalogueStore, Change, Revision
from serving.store.database import Store

_KEYS: Final = MappingProxyType({Kind.PRODUCTS: PRODUCT_ID, Kind.CONTENTS: CONTENT_ID})


class LiveCatalogue:
    """Takes items in, and assembles models with them.

    Args:
        store: of the changes.
        reader: makes the features.
    """

    def __init__(self, store: CatalogueStore, reader: ItemReader) -> None:
        self.store = store
        self._reader = reader

    def put(self, item: NewItem, subject: str, now: datetime) -> Revision:
        """Stores an item, durably; putting the same again changes nothing.

        Raises:
            RefusedItemError: a feature is unknown, or the picture cannot be read; nothing was stored.
            StoreError: nothing was stored.
        """
        canonical = SCHEMAS[TABLES[item.kind]].columns
        self._reader.refuse_unknown(item.kind, [name for name in item.columns if name not in canonical])
        before = self.store.latest(item.kind, item.item_id)
        if item.picture is None and before is not None:
            item = item._replace(picture=before.change.picture)
        change = Change(
            kind=str(item.kind),
            item_id=item.item_id,
            changed_at=now,
            changed_by=subject,
            columns=dict(item.columns),
            picture=item.picture,
            features=self._reader.read(item),
            schema_hash=self._reader.schema_hash,
        )
        return self.store.put(change)

    def assemble(self, champion: LoadedChampion, until: int | None = None) -> ServedModel:
        """A bundle as it decides, with the catalogue of now or of a revision.

        Raises:
            ModelError: an item does not fit the model.
            StoreError: the changes cannot be read.
        """
        revisions = self.store.items(until)
        if not revisions:
            return assemble(champion)
        bundle = champion.bundle
        extended = ExtendedBundle.build(
            bundle,
            self._items(bundle.products, Kind.PRODUCTS, revisions),
            [] if bundle.contents is None else self._items(bundle.contents, Kind.CONTENTS, revisions),
        )
        catalogue = Catalogue.from_frames(extended.products, extended.contents)
        served = assemble(champion._replace(bundle=extended.known))
        number = revisions[-1].number
        return served._replace(
            pipeline=DecisionPipeline(ExtendedRecommender(extended), served.pipeline.policy, catalogue),
            catalogue_version=f"{catalogue_version(bundle)}+{number}",
            catalogue_revision=number,
        )

    def _items(self, frame: pl.DataFrame, kind: Kind, revisions: Sequence[Revision]) -> list[LiveItem]:
        changes = [revision.change for revision in revisions if revision.change.kind == kind]
        changes = _newer_than(frame, _KEYS[kind], changes)
        read = [(change, current(change, self._reader)) for change in changes]
        return [LiveItem(old.item_id, columns_of(old), new.features) for old, new in read]


def open_live_catalogue(store: Store, home: Home) -> LiveCatalogue:
    """The catalogue of a home.

    Raises:
        FeatureError: the home has no features.
    """
    return LiveCatalogue(CatalogueStore(store), ItemFeatures(home))


def current(change: Change, reader: ItemReader) -> Change:
    """The change with features of the present schema: made anew where the encoders or views are others since."""
    if change.schema_hash == reader.schema_hash:
        return change
    item = NewItem(Kind(change.kind), change.item_id, columns_of(change), change.picture)
    return change._replace(features=reader.read(item), schema_hash=reader.schema_hash)


def columns_of(change: Change) -> dict[str, Any]:
    """The item's row with its times as times, and the change's own as `event_timestamp`."""
    schema = SCHEMAS[TABLES[Kind(change.kind)]].columns
    times = {name for name, column in schema.items() if column.type is ValueType.TIME}
    row = {
        name: datetime.fromisoformat(value).astimezone(UTC) if name in times and value is not None else value
        for name, value in change.columns.items()
    }
    return row | {EVENT_TIMESTAMP: change.changed_at}


def _newer_than(frame: pl.DataFrame, key: str, changes: Sequence[Change]) -> list[Change]:
    """The changes that the dataset has no later row of: a retrained bundle may know of what was put before."""
    if EVENT_TIMESTAMP not in frame.columns:
        return list(changes)
    known = dict(zip(frame[key].to_list(), frame[EVENT_TIMESTAMP].to_list(), strict=True))
    return [
        change for change in changes if known.get(change.item_id) is None or known[change.item_id] < change.changed_at
    ]
