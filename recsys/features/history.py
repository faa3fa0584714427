"""customer_history: the last events themselves, one row per event that is no impression, the state after it."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from recsys.features.activity import ordered_events
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.pooling import group_starts
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.schema import (
    CONTENT_ID,
    CUSTOMER_ID,
    EVENT_ID,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    PRODUCT_ID,
    EventType,
    FeatureKind,
)

PRODUCT_IDS = "product_ids"
CONTENT_IDS = "content_ids"
EVENT_TYPES = "event_types"
EVENT_IDS = "event_ids"
TIMESTAMPS = "timestamps"
NOT_IN_HISTORY: Final = (EventType.IMPRESSION,)
_CHUNK_ROWS = 50_000
_LISTS = {PRODUCT_IDS: PRODUCT_ID, CONTENT_IDS: CONTENT_ID, EVENT_TYPES: EVENT_TYPE, EVENT_IDS: EVENT_ID}


def plan_history(sources: Sources) -> ViewPlan:
    """The view; every dataset has events."""
    columns = (
        *(FeatureColumn(name=name, kind=FeatureKind.CATEGORICAL_LIST, type=ColumnType.STRING_LIST) for name in _LISTS),
        FeatureColumn(name=TIMESTAMPS, kind=FeatureKind.TIMESTAMP, type=ColumnType.INT_LIST),
    )
    view = FeatureView(name=ViewName.CUSTOMER_HISTORY, entity=Entity.CUSTOMER, columns=columns)

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        events = ordered_events(sources, customers).filter(~pl.col(EVENT_TYPE).is_in(list(NOT_IN_HISTORY)))
        yield from history_rows(events, sources.config.history_length)

    return ViewPlan(view, "events.parquet", frames)


def history_rows(events: pl.DataFrame, length: int) -> Iterator[pl.DataFrame]:
    """The last `length` entries after each event, oldest first, in chunks of bounded size.

    Row i of a customer holds the rows from `max(first row of the customer, i - length + 1)` to i: all are gathered at
    once from the flat columns, with no loop over rows.

    Args:
        events: sorted by customer_id and event_timestamp, with event_id, event_type, product_id and content_id.
        length: L.

    Returns:
        Frames with customer_id, event_timestamp and the lists; "" stands for no product or no content.
    """
    starts = np.maximum(group_starts(events[CUSTOMER_ID].rle_id().to_numpy()), np.arange(events.height) - length + 1)
    flat = {name: events[source].fill_null("").to_arrow() for name, source in _LISTS.items()}
    flat[TIMESTAMPS] = events[EVENT_TIMESTAMP].dt.epoch("us").to_arrow()
    for first in range(0, events.height, _CHUNK_ROWS):
        rows = np.arange(first, min(first + _CHUNK_ROWS, events.height))
        offsets = np.concatenate([[0], np.cumsum(rows - starts[rows] + 1)])
        entries = np.arange(offsets[-1]) + np.repeat(starts[rows] - offsets[:-1], np.diff(offsets))
        lists = {
            name: pl.Series(name, pa.LargeListArray.from_arrays(offsets, values.take(pa.array(entries))))
            for name, values in flat.items()
        }
        yield events[rows].select(CUSTOMER_ID, EVENT_TIMESTAMP).with_columns(**lists)
