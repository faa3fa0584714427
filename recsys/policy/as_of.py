"""The facts that the rules read, as they were at given instants, from a dataset directory.

The service reads facts from its own store; batch recommendation and evaluation read them here, each customer at his
own instant, so that nothing that became known later removes or admits an item.
"""

from collections.abc import Sequence

import polars as pl

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps
from recsys.policy.facts import CustomerFacts, ProductFacts, relations
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, PolicyName, Table

_INSTANT = "instant"
_CLOSED = "closed"
_PAIR = [CUSTOMER_ID, PRODUCT_ID]
_OPEN = pl.lit(None, pl.Datetime("us", "UTC")).alias("until")


def customer_facts_as_of(dataset: Dataset, asked: pl.DataFrame, products: ProductFacts) -> CustomerFacts:
    """Facts of B customers.

    Args:
        dataset: where the facts are.
        asked: B distinct customers: customer_id, and `event_timestamp`, the instant at which each is looked at.
        products: the catalogue.
    """
    rows = dataset.scan(Table.CUSTOMERS).join(_instants(asked), on=CUSTOMER_ID)
    latest = (
        rows.filter(pl.col(EVENT_TIMESTAMP) <= pl.col(_INSTANT))
        .sort(EVENT_TIMESTAMP)
        .unique(CUSTOMER_ID, keep="last")
        .collect(engine="streaming")
    )
    known = asked.select(CUSTOMER_ID).join(latest, on=CUSTOMER_ID, how="left", maintain_order="left")
    customers: Sequence[str] = asked[CUSTOMER_ID].to_list()
    held, declined = had_before(dataset, asked), declined_before(dataset, asked)
    return CustomerFacts.from_frame(known).with_relations(
        relations(held.with_columns(_OPEN), customers, products),
        relations(declined.with_columns(_OPEN), customers, products),
    )


def had_before(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """What each customer already had at his instant: customer_id, product_id, since.

    Under policy `none` every positive event means that he has it; under `bank` an open holding does, or a conversion
    whose holding was not closed since.
    """
    past, instants = _past_events(dataset, asked), _instants(asked)
    if dataset.config.policy is PolicyName.NONE:
        weights = {name for name, weight in dataset.config.event_weights.items() if weight > 0}
        mine = past.filter(pl.col(EVENT_TYPE).is_in(sorted(weights)))
    else:
        mine = past.filter(pl.col(EVENT_TYPE) == EventType.CONVERT.value)
    had = mine.drop_nulls(PRODUCT_ID).group_by(_PAIR).agg(since=pl.col(EVENT_TIMESTAMP).max())
    if dataset.has(Table.HOLDINGS):
        holdings = _known_holdings(dataset, instants)
        ended = holdings.drop_nulls(_CLOSED).group_by(_PAIR).agg(pl.col(_CLOSED).max())
        still = had.join(ended, on=_PAIR, how="left").filter((pl.col(_CLOSED) < pl.col("since")).fill_null(value=True))
        opened = holdings.filter(pl.col(_CLOSED).is_null())
        had = pl.concat([still.select(*_PAIR, "since"), opened.select(*_PAIR, "since")])
    return had.unique(_PAIR).collect(engine="streaming")


def declined_before(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """What each customer had dismissed at his instant: customer_id, product_id, since (the last time)."""
    dismissed = _past_events(dataset, asked).filter(pl.col(EVENT_TYPE) == EventType.DISMISS.value)
    last = dismissed.drop_nulls(PRODUCT_ID).group_by(CUSTOMER_ID, PRODUCT_ID).agg(since=pl.col(EVENT_TIMESTAMP).max())
    return last.collect(engine="streaming")


def _instants(asked: pl.DataFrame) -> pl.LazyFrame:
    return asked.select(CUSTOMER_ID, pl.col(EVENT_TIMESTAMP).alias(_INSTANT)).lazy()


def _past_events(dataset: Dataset, asked: pl.DataFrame) -> pl.LazyFrame:
    """The events of the customers up to their instants, in the strict order of `order_timestamps`."""
    events = order_timestamps(dataset.scan(Table.EVENTS).join(_instants(asked), on=CUSTOMER_ID))
    past = events.filter(pl.col(ORDER_TIMESTAMP) <= pl.col(_INSTANT))
    missing = PRODUCT_ID not in dataset.columns(Table.EVENTS)
    return past.with_columns(pl.lit(None, pl.String).alias(PRODUCT_ID)) if missing else past


def _known_holdings(dataset: Dataset, instants: pl.LazyFrame) -> pl.LazyFrame:
    """customer_id, product_id, since, closed (null: open at the instant) of the holdings opened by the instant."""
    holdings = dataset.scan(Table.HOLDINGS).join(instants, on=CUSTOMER_ID)
    opened = holdings.filter(pl.col("opened_at") <= pl.col(_INSTANT))
    closed = pl.lit(None, pl.Datetime("us", "UTC"))
    if "closed_at" in dataset.columns(Table.HOLDINGS):
        closed = pl.when(pl.col("closed_at") <= pl.col(_INSTANT)).then(pl.col("closed_at"))
    return opened.select(*_PAIR, closed.alias(_CLOSED), since=pl.col("opened_at"))
