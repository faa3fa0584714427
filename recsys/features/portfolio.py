"""customer_portfolio: every product that a customer ever touched, one row per day on which one came new.

The history holds the last events only. What somebody did long ago still says what he is like, and a product that
nobody has touched yet is placed by nothing else.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from recsys.features.activity import ordered_events
from recsys.features.history import NOT_IN_HISTORY, PRODUCT_IDS, gather_lists
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.pooling import group_starts
from recsys.features.spec import MOST_PRODUCTS, ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, FeatureKind

_CHUNK_ROWS = 20_000


def plan_portfolio(sources: Sources) -> ViewPlan:
    """The view; every dataset has events."""
    column = FeatureColumn(name=PRODUCT_IDS, kind=FeatureKind.CATEGORICAL_LIST, type=ColumnType.STRING_LIST)
    view = FeatureView(name=ViewName.CUSTOMER_PORTFOLIO, entity=Entity.CUSTOMER, columns=(column,))

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        events = ordered_events(sources, customers).filter(~pl.col(EVENT_TYPE).is_in(list(NOT_IN_HISTORY)))
        yield from portfolio_rows(events, MOST_PRODUCTS)

    return ViewPlan(view, "events.parquet", frames)


def portfolio_rows(events: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """The products touched so far, in the order of their first touch, as of the last new one of each UTC day.

    Args:
        events: sorted by customer_id and event_timestamp, with product_id (null where an event has none).
        most: products kept of a customer, the latest.

    Returns:
        Frames with customer_id, event_timestamp and `product_ids`.
    """
    first = events.filter(pl.col(PRODUCT_ID).is_not_null()).unique(
        [CUSTOMER_ID, PRODUCT_ID], keep="first", maintain_order=True
    )
    days = first.select(pl.struct(CUSTOMER_ID, pl.col(EVENT_TIMESTAMP).dt.date()).rle_id()).to_series().to_numpy()
    ends = np.flatnonzero(np.diff(days, append=-1) != 0)
    begins = group_starts(first[CUSTOMER_ID].rle_id().to_numpy())
    products = {PRODUCT_IDS: first[PRODUCT_ID].to_arrow()}
    for start in range(0, len(ends), _CHUNK_ROWS):
        rows = ends[start : start + _CHUNK_ROWS]
        lists = gather_lists(products, np.maximum(begins[rows], rows - most + 1), rows)
        yield first[rows].select(CUSTOMER_ID, EVENT_TIMESTAMP).with_columns(**lists)
