"""The events of a range of customers in their one strict order, as behaviour and history read them."""

import polars as pl

from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps
from recsys.features.consent import Purpose
from recsys.features.plan import CustomerRange, Sources
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, Table


def ordered_events(sources: Sources, customers: CustomerRange) -> pl.DataFrame:
    """The events of these customers who agreed to profiling, sorted by customer and time.

    Returns:
        customer_id, event_id, event_type, product_id and content_id (null where the dataset has no such column),
        and event_timestamp, which is the order timestamp: strictly increasing per customer.
    """
    events = customers.of(sources.dataset.scan(Table.EVENTS))
    present = sources.dataset.columns(Table.EVENTS)
    items = [
        pl.col(name) if name in present else pl.lit(None, pl.String).alias(name) for name in (PRODUCT_ID, CONTENT_ID)
    ]
    ordered = order_timestamps(sources.consent.keep_now(events, Purpose.PROFILING))
    return ordered.select(
        CUSTOMER_ID, EVENT_ID, EVENT_TYPE, *items, pl.col(ORDER_TIMESTAMP).alias(EVENT_TIMESTAMP)
    ).collect()
