"""The catalogue as it is now: what was put over the API, on top of what the champion was trained with."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from recsys.data.columns import SCHEMAS, ValueType
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.errors import RecsysError
from recsys.extension import ExtendedBundle, ExtendedRecommender, LiveItem
from recsys.features.build import CONFIG_FILE
from recsys.features.config import FeatureConfig
from recsys.features.live import declared_names, item_features
from recsys.features.plan import Encodings
from recsys.features.spec import Entity, FeatureManifest, ViewName, feature_name
from recsys.home import Home
from recsys.schema import CONTENT_ID, EVENT_TIMESTAMP, PRODUCT_ID, Kind, Table
from serving.loading import LoadedChampion, ServedModel, assemble, catalogue_version
from serving.store.catalogue import CatalogueStore, Change, Revision
from serving.store.database import Store

TABLES: Final = MappingProxyType({Kind.PRODUCTS: Table.PRODUCTS, Kind.CONTENTS: Table.CONTENTS})
_KEYS: Final = MappingProxyType({Kind.PRODUCTS: PRODUCT_ID, Kind.CONTENTS: CONTENT_ID})
_IMAGES: Final = MappingProxyType(
    {Kind.PRODUCTS: (ViewName.PRODUCT_IMAGES, Entity.PRODUCT), Kind.CONTENTS: (ViewName.CONTENT_IMAGES, Entity.CONTENT)}
)


class RefusedItemError(RecsysError):
    """An item that cannot be put; the message is what the caller gets."""


class NewItem(NamedTuple):
    """An item as it came over the API."""

    kind: Kind
    item_id: str
    columns: Mapping[str, Any]
    """Canonical columns, and declared ones; times are aware datetimes."""
    picture: bytes | None
    """None: the one that it has stays."""


class ItemReader(Protocol):
    """Makes the features of items; `ItemFeatures` is the real one."""

    schema_hash: str

    def refuse_unknown(self, kind: Kind, names: Sequence[str]) -> None:
        """Raises RefusedItemError where a name is no declared feature."""

    def read(self, item: NewItem) -> dict[str, Any]:
        """`<view>__<column>` to value."""


class ItemFeatures:
    """Encodes items with the encoders that the home's features were made with. They are loaded when first needed.

    Args:
        home: has feature tables.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._manifest = FeatureManifest.read(home.features)
        self._lock = Lock()
        self._encodings: Encodings | None = None
        self.schema_hash = self._manifest.schema_hash

    def refuse_unknown(self, kind: Kind, names: Sequence[str]) -> None:
        """Refuses features that dataset.yaml does not declare.

        Raises:
            RefusedItemError: there is one; the message names those that there are.
        """
        known = declared_names(TABLES[kind], self._manifest)
        if unknown := sorted(set(names) - set(known)):
            raise RefusedItemError(
                f"features: {', '.join(unknown)}: not declared; there are: {', '.join(known) or 'none'}"
            )

    def read(self, item: NewItem) -> dict[str, Any]:
        """The item's feature row. Without a picture of its own it has the vector of the one that it had.

        Raises:
            RefusedItemError: the picture cannot be read.
        """
        with self._lock, tempfile.TemporaryDirectory() as folder:  # an encoder is for one thread
            if self._encodings is None:
                config = FeatureConfig.from_yaml(self._home.features / CONFIG_FILE)  # JSON is YAML
                self._encodings = Encodings(self._home.encodings, config)
            picture = None
            if item.picture is not None:
                picture = Path(folder) / "picture"
                picture.write_bytes(item.picture)
            row = item_features(TABLES[item.kind], item.columns, picture, self._manifest, self._encodings)
        view = _IMAGES[item.kind][0]
        key = next((name for name in row if name.startswith(feature_name(view, ""))), None)
        if key is not None and item.picture is not None and row[key] is None:
            raise RefusedItemError("picture: is none that can be read: send a JPEG, PNG or WEBP")
        if key is not None and item.picture is None:
            row[key] = self._stored_picture(item.kind, item.item_id, key)
        return row

    def _stored_picture(self, kind: Kind, item_id: str, key: str) -> list[float] | None:
        """The vector of the picture that the dataset has of an item."""
        view, entity = _IMAGES[kind]
        table = self._home.features / f"{view}.parquet"
        mine = pl.scan_parquet(table).filter(pl.col(entity.value) == item_id).sort(EVENT_TIMESTAMP)
        found = mine.select(key.removeprefix(feature_name(view, ""))).tail(1).collect().to_series().to_list()
        return found[0] if found else None


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
