"""What the feature tables hold: the typed manifest that Feast's definitions, training and serving all read."""

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import FeatureError
from recsys.schema import FeatureKind

MANIFEST_FILE = "manifest.json"
CUSTOMER_SERVICE = "recommender_v1"
PRODUCT_SERVICE = "products_v1"
CONTENT_SERVICE = "contents_v1"
AS_OF = "as_of"
"""A column of every table beside the manifest's: event_timestamp once more, as int64 epoch microseconds.

Feast returns no event timestamp from a historical join, and its SQLite store keeps whole seconds only; as a feature
it comes back exactly from both, so that age and order can be checked. It is never a model input.
"""


class ViewName(StrEnum):
    """The feature views; one whose source table or columns a dataset lacks does not exist."""

    CUSTOMER_PROFILE = "customer_profile"
    CUSTOMER_BEHAVIOUR = "customer_behaviour"
    CUSTOMER_TRANSACTIONS = "customer_transactions"
    CUSTOMER_HISTORY = "customer_history"
    CUSTOMER_TEXT = "customer_text"
    CUSTOMER_IMAGES = "customer_images"
    PRODUCT_ATTRIBUTES = "product_attributes"
    PRODUCT_TEXT = "product_text"
    PRODUCT_IMAGES = "product_images"
    CONTENT_ATTRIBUTES = "content_attributes"
    CONTENT_TEXT = "content_text"
    CONTENT_IMAGES = "content_images"


class Entity(StrEnum):
    """What a feature view is keyed by; the value is the join key."""

    CUSTOMER = "customer_id"
    PRODUCT = "product_id"
    CONTENT = "content_id"


class ColumnType(StrEnum):
    """The physical type of a column in parquet, polars and Feast alike."""

    FLOAT = "float32"
    INT = "int64"
    STRING = "string"
    STRING_LIST = "list<string>"
    INT_LIST = "list<int64>"
    VECTOR = "list<float32>"


def feature_name(view: str, column: str) -> str:
    """The name of a column in joined and online rows: `<view>__<column>`."""
    return f"{view}__{column}"


class FeatureColumn(BaseConfig):
    """One column of a feature view."""

    name: str
    """Unique within the view."""
    kind: FeatureKind
    """How the model reads it."""
    type: ColumnType
    """How it is stored."""
    dim: int = Field(default=0, ge=0)
    """Length of a VECTOR column; 0 for all others."""


class FeatureView(BaseConfig):
    """One feature table: `<name>.parquet` with the entity key, event_timestamp, created_timestamp and the columns."""

    name: str
    entity: Entity
    columns: tuple[FeatureColumn, ...]
    max_age_days: float = Field(default=0.0, ge=0)
    """A row older than this counts as missing, in training and online alike; 0: no row is too old."""

    def column(self, name: str) -> FeatureColumn:
        """The column called `name`."""
        for column in self.columns:
            if column.name == name:
                return column
        raise FeatureError(f"feature view {self.name} has no column {name}")


class FeatureManifest(BaseConfig):
    """All views of one home, and what they were built from."""

    dataset: str
    """The dataset's name."""
    fingerprint: str
    """Hash of the dataset's files and of the feature config: equal means that there is nothing to build."""
    history_length: int
    text_encoder: str
    """Identity of the text encoder, empty where the dataset has no text."""
    image_encoder: str
    views: tuple[FeatureView, ...]

    def view(self, name: str) -> FeatureView:
        """The view called `name`."""
        for view in self.views:
            if view.name == name:
                return view
        raise FeatureError(f"the feature manifest has no view {name}; it has {[view.name for view in self.views]}")

    def has_view(self, name: str) -> bool:
        """Whether there is a view called `name`: a missing optional table is a missing view."""
        return any(view.name == name for view in self.views)

    def views_of(self, entity: Entity) -> tuple[FeatureView, ...]:
        """The views keyed by `entity`."""
        return tuple(view for view in self.views if view.entity == entity)

    @property
    def schema_hash(self) -> str:
        """16 hex digits over views, columns, types, dimensions and encoders: what a bundle must match."""
        content = self.model_dump(mode="json", include={"history_length", "text_encoder", "image_encoder", "views"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the manifest of a folder of feature tables.

        Raises:
            FeatureError: there is none yet.
        """
        path = folder / MANIFEST_FILE
        if not path.exists():
            raise FeatureError(f"no features in {folder}: run `recsys features DATASET` first")
        return cls.parse(json.loads(path.read_text()), source=str(path))
