"""customer_history: the last events themselves, one row per event that is no impression, the state after it.

Beside them, without order or time, the products of all positive events so far: what is far back in a long history still
says what the customer likes.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

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
PRODUCTS_EVER = "products_ever"
EVER_LENGTH: Final = 500
"""Products kept of all that a customer ever took up: the latest, by the first time."""
POSITIVE: Final = "positive"
NOT_IN_HISTORY: Final = (EventType.IMPRESSION,)
_CHUNK_ROWS = 20_000
_LISTS = {PRODUCT_IDS: PRODUCT_ID, CONTENT_IDS: CONTENT_ID, EVENT_TYPES: EVENT_TYPE, EVENT_IDS: EVENT_ID}


def plan_history(sources: Sources) -> ViewPlan:
    """The view; every dataset has events."""
    columns = (
        *(FeatureColumn(name=name, kind=FeatureKind.CATEGORICAL_LIST, type=ColumnType.STRING_LIST) for name in _LISTS),
        FeatureColumn(name=TIMESTAMPS, kind=FeatureKind.TIMESTAMP, type=ColumnType.INT_LIST),
        FeatureColumn(name=PRODUCTS_EVER, kind=FeatureKind.CATEGORICAL_LIST, type=ColumnType.STRING_LIST),
    )
    positive = [name for name, weight in sources.dataset.config.event_weights.items() if weight > 0]
    view = FeatureView(name=ViewName.CUSTOMER_HISTORY, entity=Entity.CUSTOMER, columns=columns)

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        events = ordered_events(sources, customers).filter(~pl.col(EVENT_TYPE).is_in(list(NOT_IN_HISTORY)))
        marked = events.with_columns(pl.col(EVENT_TYPE).is_in(positive).alias(POSITIVE))
        yield from history_rows(marked, sources.config.history_length)

    return ViewPlan(view, "events.parquet", frames)


def history_rows(events: pl.DataFrame, length: int) -> Iterator[pl.DataFrame]:
    """The last `length` entries after each event, oldest first, in chunks of bounded size.

    Row i of a customer holds the rows from `max(first row of the customer, i - length + 1)` to i: all are gathered at
    once from the flat columns, with no loop over rows.

    Args:
        events: sorted by customer_id and event_timestamp, with event_id, event_type, product_id, content_id, and
            whether each is positive.
        length: L.

    Returns:
        Frames with customer_id, event_timestamp and the lists; "" stands for no product or no content.
    """
    starts = np.maximum(group_starts(events[CUSTOMER_ID].rle_id().to_numpy()), np.arange(events.height) - length + 1)
    flat = {name: events[source].fill_null("").to_arrow() for name, source in _LISTS.items()}
    flat[TIMESTAMPS] = events[EVENT_TIMESTAMP].dt.epoch("us").to_arrow()
    ever = _taken_up(events)
    for first in range(0, events.height, _CHUNK_ROWS):
        rows = np.arange(first, min(first + _CHUNK_ROWS, events.height))
        offsets, entries = _spans(starts[rows], rows + 1)
        lists = {name: _lists(name, offsets, values.take(pa.array(entries))) for name, values in flat.items()}
        offsets, entries = _spans(ever.starts[rows], ever.ends[rows])
        lists[PRODUCTS_EVER] = _lists(PRODUCTS_EVER, offsets, ever.products.take(pa.array(entries)))
        yield events[rows].select(CUSTOMER_ID, EVENT_TIMESTAMP).with_columns(**lists)


class _TakenUp(NamedTuple):
    """What customers took up for the first time, end to end, and each event's span of it: from the start to the end."""

    products: pa.Array
    starts: np.ndarray
    ends: np.ndarray


def _taken_up(events: pl.DataFrame) -> _TakenUp:
    counts = pl.col(POSITIVE) & (pl.col(PRODUCT_ID).fill_null("") != "")
    marked = events.select(CUSTOMER_ID, PRODUCT_ID, new=counts & (counts.cum_sum().over(CUSTOMER_ID, PRODUCT_ID) == 1))
    new = marked["new"].fill_null(value=False).to_numpy()
    ends = np.cumsum(new)
    before = ends - new
    starts = np.maximum(before[group_starts(events[CUSTOMER_ID].rle_id().to_numpy())], ends - EVER_LENGTH)
    return _TakenUp(marked.filter(pl.Series(new))[PRODUCT_ID].to_arrow(), starts, ends)


def _spans(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the lists, and the places of their entries in the flat column."""
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], np.diff(offsets))


def _lists(name: str, offsets: np.ndarray, values: pa.Array) -> pl.Series:
    return pl.Series(name, pa.LargeListArray.from_arrays(offsets, values))
