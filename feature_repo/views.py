"""Feast's feature views, made from the manifest."""

from datetime import timedelta

from feast import Entity, Field, FileSource
from feast import FeatureView as FeastView
from feast.types import Array, FeastType, Float32, Int64, String

from recsys.features.spec import AS_OF, ColumnType, FeatureView


def feast_type(column: ColumnType) -> FeastType:
    """The Feast type of a physical column type."""
    types = {
        ColumnType.FLOAT: Float32,
        ColumnType.INT: Int64,
        ColumnType.STRING: String,
        ColumnType.STRING_LIST: Array(String),
        ColumnType.INT_LIST: Array(Int64),
        ColumnType.VECTOR: Array(Float32),
    }
    return types[column]


def make_view(view: FeatureView, entity: Entity, source: FileSource) -> FeastView:
    """The Feast view of a table: its key, `as_of` and every column of the manifest."""
    key = Field(name=view.entity.value, dtype=String)
    columns = [Field(name=column.name, dtype=feast_type(column.type)) for column in view.columns]
    return FeastView(
        name=view.name,
        entities=[entity],
        ttl=timedelta(days=view.max_age_days),
        schema=[key, Field(name=AS_OF, dtype=Int64), *columns],
        online=True,
        source=source,
    )
