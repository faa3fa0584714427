"""The feature row of one item as it is now, made by the code that builds the tables: for items that change at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys.data.columns import DTYPES, SCHEMAS, ValueType
from recsys.features import contents, products
from recsys.features.attributes import attribute_expressions, joined_text
from recsys.features.plan import Encodings
from recsys.features.spec import FeatureColumn, FeatureManifest, FeatureView, ViewName, feature_name
from recsys.schema import FeatureKind, Table

_VIEWS: Final = {
    Table.PRODUCTS: (ViewName.PRODUCT_ATTRIBUTES, ViewName.PRODUCT_TEXT, ViewName.PRODUCT_IMAGES),
    Table.CONTENTS: (ViewName.CONTENT_ATTRIBUTES, ViewName.CONTENT_TEXT, ViewName.CONTENT_IMAGES),
}
_TEXTS: Final = {Table.PRODUCTS: products.TEXTS, Table.CONTENTS: contents.TEXTS}
_DECLARED: Final = {
    FeatureKind.NUMERIC: ValueType.NUMBER,
    FeatureKind.CATEGORICAL: ValueType.CATEGORY,
    FeatureKind.CATEGORICAL_LIST: ValueType.STRING_LIST,
    FeatureKind.TIMESTAMP: ValueType.TIME,
}


def item_features(
    table: Table, columns: Mapping[str, Any], picture: Path | None, manifest: FeatureManifest, encodings: Encodings
) -> dict[str, Any]:
    """`<view>__<column>` to value of one product or creative, None where missing.

    Args:
        table: PRODUCTS or CONTENTS.
        columns: canonical columns, and declared ones that are features as they are.
        picture: the file; None: it has none.
        manifest: which views and columns there are.
        encodings: the encoders that the manifest names.
    """
    attributes, text, images = _VIEWS[table]
    row: dict[str, Any] = {}
    if manifest.has_view(attributes):
        row |= _attributes(table, columns, manifest.view(attributes))
    if manifest.has_view(text):
        given = pl.DataFrame({name: [columns.get(name)] for name in _TEXTS[table]}, schema_overrides=_strings(table))
        encoded = encodings.texts(text, given.select(joined_text(_TEXTS[table])).to_series().to_list())
        row |= _vector(manifest.view(text), encoded.vectors[0].tolist() if encoded.index[0] >= 0 else None)
    if manifest.has_view(images):
        encoded = encodings.images(images, [picture])
        row |= _vector(manifest.view(images), encoded.vectors[0].tolist() if encoded.index[0] >= 0 else None)
    return row


def declared_names(table: Table, manifest: FeatureManifest) -> dict[str, FeatureKind]:
    """The features of an item that are no canonical columns: what dataset.yaml declared."""
    name = _VIEWS[table][0]
    found = manifest.view(name).columns if manifest.has_view(name) else ()
    return {column.name: column.kind for column in found if column.name not in SCHEMAS[table].columns}


def _attributes(table: Table, columns: Mapping[str, Any], view: FeatureView) -> dict[str, Any]:
    schema = {column.name: DTYPES[_type(table, column)] for column in view.columns}
    frame = pl.DataFrame({name: [columns.get(name)] for name in schema}, schema=schema)
    values = frame.select(attribute_expressions(view.columns)).row(0, named=True)
    return {feature_name(view.name, name): value for name, value in values.items()}


def _type(table: Table, column: FeatureColumn) -> ValueType:
    canonical = SCHEMAS[table].columns.get(column.name)
    return _DECLARED[column.kind] if canonical is None else canonical.type


def _strings(table: Table) -> dict[str, pl.DataType]:
    return {name: pl.String() for name in _TEXTS[table]}


def _vector(view: FeatureView, vector: list[float] | None) -> dict[str, Any]:
    """The one column of a view of embeddings."""
    return {feature_name(view.name, view.columns[0].name): vector}
