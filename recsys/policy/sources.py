"""Where a dataset's facts come from: the latest customer rows, what customers have, and what they declined.

Lazy polars in, lazy polars out: the serving store copies them. What was known at some earlier instant is the business
of `recsys.policy.as_of`.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from recsys.data.contract import Dataset
from recsys.policy.pack import PolicyPack
from recsys.schema import (
    ALREADY_HAS_EVENTS,
    CONTENT_ID,
    CUSTOMER_ID,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    PRODUCT_ID,
    EventType,
    FeatureKind,
    Table,
)

SINCE: Final = "since"
UNTIL: Final = "until"
AGE: Final = "age"
FACT_COLUMNS: Final = ("segment", "country", "language", "risk_level", "risk_assessed_at", "is_minor", AGE)
_PAIR: Final = (CUSTOMER_ID, PRODUCT_ID)


def customer_rows(dataset: Dataset) -> pl.LazyFrame:
    """One row a customer: customer_id, event_timestamp and those of FACT_COLUMNS that are there, the latest."""
    columns = [name for name in FACT_COLUMNS if name in dataset.columns(Table.CUSTOMERS)]
    if dataset.declared(Table.CUSTOMERS).get(AGE, FeatureKind.NUMERIC) is not FeatureKind.NUMERIC:
        columns = [name for name in columns if name != AGE]
    rows = dataset.scan(Table.CUSTOMERS)
    latest = pl.col(EVENT_TIMESTAMP, *columns).sort_by(EVENT_TIMESTAMP).last()
    return rows.group_by(CUSTOMER_ID).agg(latest)


def held_rows(dataset: Dataset, pack: PolicyPack) -> pl.LazyFrame:
    """What customers have: customer_id, product_id, since, until (null: still open).

    The holdings table and the events that the pack counts as having. A conversion whose holding was closed later
    ended with it.
    """
    events = dataset.positives() if pack.held_by == "positives" else _of_type(dataset, ALREADY_HAS_EVENTS)
    last = pl.col(EVENT_TIMESTAMP).max().alias(SINCE)
    conversions = _with_product(dataset, events).group_by(_PAIR).agg(last)
    if not dataset.has(Table.HOLDINGS):
        return conversions.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(UNTIL))
    holdings = dataset.scan(Table.HOLDINGS).select(
        *_PAIR, pl.col("opened_at").alias(SINCE), _closed_at(dataset).alias(UNTIL)
    )
    closed = holdings.drop_nulls(UNTIL).group_by(_PAIR).agg(pl.col(UNTIL).max())
    ended = pl.when(pl.col(UNTIL) >= pl.col(SINCE)).then(pl.col(UNTIL)).alias(UNTIL)
    conversions = conversions.join(closed, on=list(_PAIR), how="left").with_columns(ended)
    return pl.concat([holdings, conversions.select(*_PAIR, SINCE, UNTIL)]).unique([*_PAIR, SINCE], keep="first")


def declined_rows(dataset: Dataset) -> pl.LazyFrame:
    """What customers dismissed: customer_id, product_id, since (the last time), until (always null)."""
    events = _of_type(dataset, (EventType.DISMISS,))
    rows = _with_product(dataset, events).group_by(_PAIR).agg(pl.col(EVENT_TIMESTAMP).max().alias(SINCE))
    return rows.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(UNTIL))


def _of_type(dataset: Dataset, types: Sequence[str]) -> pl.LazyFrame:
    return dataset.scan(Table.EVENTS).filter(pl.col(EVENT_TYPE).is_in([str(name) for name in types]))


def _with_product(dataset: Dataset, events: pl.LazyFrame) -> pl.LazyFrame:
    """customer_id, product_id, event_timestamp; an event that names a content only is about that content's product."""
    columns = dataset.columns(Table.EVENTS)
    product = pl.col(PRODUCT_ID) if PRODUCT_ID in columns else pl.lit(None, dtype=pl.String).alias(PRODUCT_ID)
    if CONTENT_ID not in columns or not dataset.has(Table.CONTENTS):
        rows = events.select(CUSTOMER_ID, product, EVENT_TIMESTAMP)
    else:
        about = dataset.scan(Table.CONTENTS).group_by(CONTENT_ID).agg(pl.col(PRODUCT_ID).last().alias("about"))
        named = events.select(CUSTOMER_ID, product, CONTENT_ID, EVENT_TIMESTAMP).join(about, on=CONTENT_ID, how="left")
        rows = named.select(CUSTOMER_ID, pl.coalesce(PRODUCT_ID, "about").alias(PRODUCT_ID), EVENT_TIMESTAMP)
    return rows.drop_nulls(PRODUCT_ID)


def _closed_at(dataset: Dataset) -> pl.Expr:
    present = "closed_at" in dataset.columns(Table.HOLDINGS)
    return pl.col("closed_at") if present else pl.lit(None, dtype=pl.Datetime("us", "UTC"))
