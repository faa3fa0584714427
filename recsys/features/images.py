"""customer_images: pictures that the customer engaged with or sent, one row per picture, pooled up to it.

What he sent is pooled once more by itself: it says what he needs, and is few beside all that he was shown and opened,
which says what he likes to look at. A positive event shows interest in the picture of its content, or of its product
where the content has none; both as they were at that time. No profile photos: domain.md, Consent and privacy.
"""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl

from recsys.data.contract import with_weights
from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps
from recsys.features.attributes import image_files, vector_column
from recsys.features.consent import Purpose
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.pooling import orthogonal_projection, pooled_rows
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, MESSAGE_ID, PRODUCT_ID, FeatureKind, Table

IMAGE_VECTOR = "image_vector"
PICTURE = "picture"
_ITEMS = ((Table.CONTENTS, CONTENT_ID), (Table.PRODUCTS, PRODUCT_ID))
_NAMES = (IMAGE_VECTOR, "n_images", "last_image_at")
_SENT_NAMES = ("sent_vector", "n_sent", "last_sent_at")
_SENT = "sent"


def item_pictures(sources: Sources, table: Table) -> pl.LazyFrame | None:
    """The item key, event_timestamp and `picture`, the relative path or null; None where the table has no pictures.

    The canonical `image_path` comes first, then the columns declared as images.
    """
    if not sources.dataset.has(table):
        return None
    columns = sources.dataset.image_columns(table)
    if not columns:
        return None
    key = dict(_ITEMS)[table]
    return sources.dataset.scan(table).select(key, EVENT_TIMESTAMP, pl.coalesce(columns).alias(PICTURE))


def plan_images(sources: Sources) -> ViewPlan | None:
    """The view; None where neither items nor messages have pictures."""
    dataset, encodings = sources.dataset, sources.encodings
    sent = dataset.has(Table.MESSAGES) and bool(dataset.image_columns(Table.MESSAGES))
    if not sent and all(item_pictures(sources, table) is None for table, _ in _ITEMS):
        return None
    projection = orthogonal_projection(encodings.image_encoder.dim, sources.config.customer_image_dim)
    columns = [
        column for names in (_NAMES, *((_SENT_NAMES,) if sent else ())) for column in _columns(names, projection)
    ]
    view = FeatureView(name=ViewName.CUSTOMER_IMAGES, entity=Entity.CUSTOMER, columns=tuple(columns))
    half_life = timedelta(days=sources.config.image_half_life_days)

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        pictures = _pictures(sources, customers, sent=sent)
        encoded = encodings.images(view.name, image_files(dataset, pictures[PICTURE]))
        present = encoded.index >= 0
        rows = pictures.filter(pl.Series(present, dtype=pl.Boolean)).drop(PICTURE)
        # In double precision, so that the last bit does not depend on which pictures are multiplied together.
        projected = (encoded.vectors.astype(np.float64) @ projection).astype(np.float32)
        vectors = projected[encoded.index[present]]
        pooled = pooled_rows(rows, vectors, half_life, _NAMES)
        if not sent:
            yield from pooled
            return
        apart = pooled_rows(rows, vectors, half_life, _SENT_NAMES, rows[_SENT].to_numpy())
        for whole, part in zip(pooled, apart, strict=True):
            yield pl.concat([whole, part.select(_SENT_NAMES)], how="horizontal")

    return ViewPlan(view, "events.parquet", frames)


def _columns(names: tuple[str, str, str], projection: np.ndarray) -> tuple[FeatureColumn, ...]:
    """The vector, the count and the time of the last."""
    return (
        vector_column(names[0], projection.shape[1]),
        FeatureColumn(name=names[1], kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT),
        FeatureColumn(name=names[2], kind=FeatureKind.TIMESTAMP, type=ColumnType.INT),
    )


def _pictures(sources: Sources, customers: CustomerRange, *, sent: bool) -> pl.DataFrame:
    """customer_id, event_timestamp, picture of all that was engaged with or sent, and whether it was sent; in order."""
    parts = [_engaged(sources, customers)]
    if sent:
        messages = customers.of(sources.dataset.scan(Table.MESSAGES))
        path = pl.coalesce(sources.dataset.image_columns(Table.MESSAGES)).alias(PICTURE)
        parts.append(
            messages.select(
                CUSTOMER_ID, EVENT_TIMESTAMP, path, pl.col(MESSAGE_ID).alias("tie"), pl.lit(True).alias(_SENT)
            )
        )
    pictures = pl.concat(parts).filter(pl.col(PICTURE).is_not_null())
    profiled = sources.consent.keep_now(pictures, Purpose.PROFILING)
    allowed = sources.consent.keep_at_the_time(profiled, Purpose.IMAGE_ANALYSIS)
    return allowed.sort(CUSTOMER_ID, EVENT_TIMESTAMP, "tie").drop("tie").collect()


def _engaged(sources: Sources, customers: CustomerRange) -> pl.LazyFrame:
    """The pictures of positive events, null where the items had none at that time."""
    ordered = order_timestamps(customers.of(sources.dataset.scan(Table.EVENTS)))
    events = with_weights(ordered, sources.dataset.config.event_weights).with_columns(
        pl.col(ORDER_TIMESTAMP).alias(EVENT_TIMESTAMP), pl.col(ORDER_TIMESTAMP).dt.to_string("iso").alias("tie")
    )
    found = []
    present = sources.dataset.columns(Table.EVENTS)
    for table, key in _ITEMS:
        pictures = item_pictures(sources, table)
        if pictures is not None and key in present:
            name = f"{PICTURE}_{key}"
            events = events.sort(EVENT_TIMESTAMP).join_asof(
                pictures.rename({PICTURE: name}).sort(EVENT_TIMESTAMP),
                on=EVENT_TIMESTAMP,
                by=key,
                strategy="backward",
                check_sortedness=False,
            )
            found.append(name)
    picture = pl.coalesce(found) if found else pl.lit(None, pl.String)
    return events.select(CUSTOMER_ID, EVENT_TIMESTAMP, picture.alias(PICTURE), "tie", pl.lit(False).alias(_SENT))
