"""An item of the catalogue as it comes over the API, and the features that are made of it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from recsys.errors import RecsysError
from recsys.features.build import CONFIG_FILE
from recsys.features.config import FeatureConfig
from recsys.features.live import declared_names, item_features
from recsys.features.plan import Encodings
from recsys.features.spec import Entity, FeatureManifest, ViewName, feature_name
from recsys.home import Home
from recsys.schema import EVENT_TIMESTAMP, Kind, Table

TABLES: Final = MappingProxyType({Kind.PRODUCTS: Table.PRODUCTS, Kind.CONTENTS: Table.CONTENTS})
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
