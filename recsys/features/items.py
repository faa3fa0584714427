"""What product and content views share: attributes as they are, one text vector, one image vector, per row of a table.

A row whose text or picture is missing has a null vector, so that it also ends an older one.
"""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from recsys.features.attributes import (
    attribute_columns,
    attribute_expressions,
    declared_columns,
    image_files,
    joined_text,
    vector_column,
    vector_series,
)
from recsys.features.images import IMAGE_VECTOR, PICTURE, item_pictures
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.spec import Entity, FeatureView, ViewName
from recsys.features.text import TEXT_VECTOR
from recsys.schema import EVENT_TIMESTAMP, FeatureKind, Table


def plan_attributes(
    sources: Sources, table: Table, name: ViewName, entity: Entity, canonical: Mapping[str, FeatureKind]
) -> ViewPlan | None:
    """The view of a table's columns; None where it has none of them."""
    if not sources.dataset.has(table):
        return None
    columns = attribute_columns(sources.dataset, table, canonical)
    if not columns:
        return None

    def frames(_: CustomerRange) -> Iterator[pl.DataFrame]:
        rows = sources.dataset.scan(table).select(entity.value, EVENT_TIMESTAMP, *attribute_expressions(columns))
        yield rows.sort(entity.value, EVENT_TIMESTAMP).collect()

    return ViewPlan(FeatureView(name=name, entity=entity, columns=columns), f"{table}.parquet", frames)


def plan_text(
    sources: Sources, table: Table, name: ViewName, entity: Entity, canonical: Sequence[str]
) -> ViewPlan | None:
    """The view of the embedding of all texts of an item, joined; None where it has none."""
    if not sources.dataset.has(table):
        return None
    present = sources.dataset.columns(table)
    wanted = [*canonical, *declared_columns(sources.dataset, table, FeatureKind.TEXT)]
    columns = list(dict.fromkeys(column for column in wanted if column in present))
    if not columns:
        return None
    vector = vector_column(TEXT_VECTOR, sources.encodings.text_encoder.dim)

    def frames(_: CustomerRange) -> Iterator[pl.DataFrame]:
        texts = sources.dataset.scan(table).select(entity.value, EVENT_TIMESTAMP, joined_text(columns).alias("text"))
        rows = texts.sort(entity.value, EVENT_TIMESTAMP).collect()
        encoded = sources.encodings.texts(name, rows["text"].to_list())
        yield rows.select(entity.value, EVENT_TIMESTAMP, vector_series(TEXT_VECTOR, encoded))

    return ViewPlan(FeatureView(name=name, entity=entity, columns=(vector,)), f"{table}.parquet", frames)


def plan_images(sources: Sources, table: Table, name: ViewName, entity: Entity) -> ViewPlan | None:
    """The view of the embedding of an item's picture; None where it has none."""
    pictures = item_pictures(sources, table)
    if pictures is None:
        return None
    vector = vector_column(IMAGE_VECTOR, sources.encodings.image_encoder.dim)

    def frames(_: CustomerRange) -> Iterator[pl.DataFrame]:
        rows = pictures.sort(entity.value, EVENT_TIMESTAMP).collect()
        encoded = sources.encodings.images(name, image_files(sources.dataset, rows[PICTURE]))
        yield rows.select(entity.value, EVENT_TIMESTAMP, vector_series(IMAGE_VECTOR, encoded))

    return ViewPlan(FeatureView(name=name, entity=entity, columns=(vector,)), f"{table}.parquet", frames)
