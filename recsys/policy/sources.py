"""Where a dataset's facts come from: the latest customer rows, what customers have, applied for, declined, agreed to.

Lazy polars in, lazy polars out: the serving store copies them. What was known at some earlier instant is the business
of `recsys.policy.as_of`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from recsys.data.contract import Dataset
from recsys.policy.facts import FACT_COLUMNS
from recsys.policy.facts.customers import AGE
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
ANSWER: Final = (CUSTOMER_ID, "purpose", "channel")
"""What a consent is about: the latest answer to it counts."""
TAKEN: Final = "taken"
_PAIR: Final = (CUSTOMER_ID, PRODUCT_ID)


def customer_rows(dataset: Dataset) -> pl.LazyFrame:
    """One row a customer: customer_id, event_timestamp and those of FACT_COLUMNS that are there, the latest."""
    columns = kept_columns(dataset)
    rows = dataset.scan(Table.CUSTOMERS)
    latest = pl.col(EVENT_TIMESTAMP, *columns).sort_by(EVENT_TIMESTAMP).last()
    return rows.group_by(CUSTOMER_ID).agg(latest)


def kept_columns(dataset: Dataset) -> list[str]:
    """Which of FACT_COLUMNS the dataset has; an age that is declared as something else than a number is none."""
    columns: list[str] = [name for name in FACT_COLUMNS if name in dataset.columns(Table.CUSTOMERS)]
    if dataset.declared(Table.CUSTOMERS).get(AGE, FeatureKind.NUMERIC) is not FeatureKind.NUMERIC:
        columns = [name for name in columns if name != AGE]
    return columns


def held_rows(dataset: Dataset, pack: PolicyPack) -> pl.LazyFrame:
    """What customers have: customer_id, product_id, since, until (null: still open).

    The holdings table and the events that the pack counts as having. A conversion whose holding was closed later
    ended with it.
    """
    events = dataset.positives() if pack.held_by == "positives" else _of_type(dataset, ALREADY_HAS_EVENTS)
    last = pl.col(EVENT_TIMESTAMP).max().alias(SINCE)
    conversions = about_products(dataset, events).group_by(_PAIR).agg(last)
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
    rows = about_products(dataset, events).group_by(_PAIR).agg(pl.col(EVENT_TIMESTAMP).max().alias(SINCE))
    return rows.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(UNTIL))


def pending_rows(dataset: Dataset) -> pl.LazyFrame:
    """What customers applied for and did not get since: customer_id, product_id, since (last time), until (null)."""
    applied = _last(dataset, EventType.APPLY, SINCE)
    converted = _last(dataset, EventType.CONVERT, UNTIL)
    rows = applied.join(converted, on=list(_PAIR), how="left")
    still = rows.filter((pl.col(UNTIL) < pl.col(SINCE)).fill_null(value=True))
    return still.with_columns(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(UNTIL))


def consent_rows(dataset: Dataset) -> pl.LazyFrame:
    """The latest answers: customer_id, purpose, channel (null: all), event_timestamp, granted.

    Of contradicting answers of one time the refusal stands. Only of a dataset that has a consents table.
    """
    return latest_answers(dataset.scan(Table.CONSENTS))


def latest_answers(consents: pl.LazyFrame) -> pl.LazyFrame:
    """The latest of the rows of a consents table for each customer, purpose and channel."""
    if "channel" not in consents.collect_schema().names():
        consents = consents.with_columns(pl.lit(None, pl.String).alias("channel"))
    answers = consents.group_by(*ANSWER, EVENT_TIMESTAMP).agg(pl.col("granted").all()).group_by(ANSWER)
    return answers.agg(pl.col(EVENT_TIMESTAMP).max(), pl.col("granted").max_by(EVENT_TIMESTAMP))


def taken_rows(dataset: Dataset, until: datetime | None = None) -> pl.LazyFrame:
    """How many units of each product of limited capacity are sold: product_id, taken.

    Every conversion counts, whichever row of the catalogue was true at its time: a capacity that is said again beside
    a new price is the same capacity.

    Args:
        dataset: where conversions are.
        until: conversions after this instant are not known; None: all are.
    """
    if "capacity" not in dataset.columns(Table.PRODUCTS):
        return pl.LazyFrame(schema={PRODUCT_ID: pl.String, TAKEN: pl.Int64})
    limited = dataset.scan(Table.PRODUCTS).filter(pl.col("capacity").is_not_null()).select(pl.col(PRODUCT_ID).unique())
    sold = about_products(dataset, _of_type(dataset, ALREADY_HAS_EVENTS))
    known = sold if until is None else sold.filter(pl.col(EVENT_TIMESTAMP) <= until)
    counts = known.group_by(PRODUCT_ID).agg(pl.len().alias(TAKEN))
    return limited.join(counts, on=PRODUCT_ID, how="left").with_columns(pl.col(TAKEN).fill_null(0).cast(pl.Int64))


def _last(dataset: Dataset, event_type: EventType, name: str) -> pl.LazyFrame:
    """customer_id, product_id and, as `name`, when the customer last did something with the product."""
    events = about_products(dataset, _of_type(dataset, (event_type,)))
    return events.group_by(_PAIR).agg(pl.col(EVENT_TIMESTAMP).max().alias(name))


def _of_type(dataset: Dataset, types: Sequence[str]) -> pl.LazyFrame:
    return dataset.scan(Table.EVENTS).filter(pl.col(EVENT_TYPE).is_in([str(name) for name in types]))


def about_products(dataset: Dataset, events: pl.LazyFrame) -> pl.LazyFrame:
    """customer_id, product_id, event_timestamp of the events that are about a product."""
    return name_products(dataset, events).select(CUSTOMER_ID, PRODUCT_ID, EVENT_TIMESTAMP).drop_nulls(PRODUCT_ID)


def name_products(dataset: Dataset, events: pl.LazyFrame) -> pl.LazyFrame:
    """Events with a product_id each: one that names a content only is about that content's product."""
    columns = dataset.columns(Table.EVENTS)
    if PRODUCT_ID not in columns:
        events = events.with_columns(pl.lit(None, dtype=pl.String).alias(PRODUCT_ID))
    if CONTENT_ID not in columns or not dataset.has(Table.CONTENTS):
        return events
    about = dataset.scan(Table.CONTENTS).group_by(CONTENT_ID).agg(pl.col(PRODUCT_ID).last().alias("about"))
    named = events.join(about, on=CONTENT_ID, how="left")
    return named.with_columns(pl.coalesce(PRODUCT_ID, "about").alias(PRODUCT_ID)).drop("about")


def _closed_at(dataset: Dataset) -> pl.Expr:
    present = "closed_at" in dataset.columns(Table.HOLDINGS)
    return pl.col("closed_at") if present else pl.lit(None, dtype=pl.Datetime("us", "UTC"))
