"""The facts that the rules read, as they were at given instants, from a dataset directory.

The service reads facts from its own store; batch recommendation and evaluation read them here, each customer at his
own instant, so that nothing that became known later removes or admits an item.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import polars as pl

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps
from recsys.policy.facts import Consents, Contacts, CustomerFacts, ProductFacts, relations
from recsys.policy.sources import kept_columns, latest_answers, name_products, taken_rows
from recsys.schema import (
    CUSTOMER_ID,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    PRODUCT_ID,
    EventType,
    PolicyName,
    Table,
)

_INSTANT = "instant"
_CLOSED = "closed"
_SINCE = "since"
_PAIR = [CUSTOMER_ID, PRODUCT_ID]
_OPEN = pl.lit(None, pl.Datetime("us", "UTC")).alias("until")


def customer_facts_as_of(
    dataset: Dataset, asked: pl.DataFrame, products: ProductFacts, contact_channels: Collection[str] = ()
) -> CustomerFacts:
    """Facts of B customers.

    Args:
        dataset: where the facts are.
        asked: B distinct customers: customer_id, and `event_timestamp`, the instant at which each is looked at.
        products: the catalogue.
        contact_channels: channels (`PolicyPack.pushed_channels`) whose impressions are contacts; none where nothing is
            about to be sent, because then nothing counts them.
    """
    rows = dataset.scan(Table.CUSTOMERS).select(CUSTOMER_ID, EVENT_TIMESTAMP, *kept_columns(dataset))
    latest = (
        rows.join(_instants(asked), on=CUSTOMER_ID)
        .filter(pl.col(EVENT_TIMESTAMP) <= pl.col(_INSTANT))
        .sort(EVENT_TIMESTAMP)
        .unique(CUSTOMER_ID, keep="last")
        .collect(engine="streaming")
    )
    known = asked.select(CUSTOMER_ID).join(latest, on=CUSTOMER_ID, how="left", maintain_order="left")
    customers: Sequence[str] = asked[CUSTOMER_ID].to_list()
    last = _last_times(dataset, asked, (EventType.DISMISS, EventType.APPLY, EventType.CONVERT))
    related = (had_before(dataset, asked), _of(last, EventType.DISMISS), _without_conversion(last))
    held, declined, pending = (relations(rows.with_columns(_OPEN), customers, products) for rows in related)
    facts = CustomerFacts.from_frame(known).with_relations(held, declined, pending)
    if contact_channels:
        facts = facts.with_contacts(_contacts(dataset, asked, products, contact_channels))
    return facts.with_consents(_consents(dataset, asked))


def taken_before(dataset: Dataset, instant: datetime) -> dict[str, int]:
    """How many units of each product of limited capacity were sold by an instant (`RequestContext.taken`)."""
    return dict(taken_rows(dataset, instant).collect(engine="streaming").iter_rows())


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
    return _of(_last_times(dataset, asked, (EventType.DISMISS,)), EventType.DISMISS)


def pending_before(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """What each customer had applied for, and had not got since: customer_id, product_id, since (the last time)."""
    return _without_conversion(_last_times(dataset, asked, (EventType.APPLY, EventType.CONVERT)))


def _last_times(dataset: Dataset, asked: pl.DataFrame, types: Sequence[EventType]) -> pl.DataFrame:
    """customer_id, product_id, event_type, since: the last time of each by the customer's instant, one pass for all."""
    mine = _past_events(dataset, asked).filter(pl.col(EVENT_TYPE).is_in([str(name) for name in types]))
    last = mine.drop_nulls(PRODUCT_ID).group_by(*_PAIR, EVENT_TYPE).agg(pl.col(EVENT_TIMESTAMP).max().alias(_SINCE))
    return last.collect(engine="streaming")


def _of(last: pl.DataFrame, event_type: EventType) -> pl.DataFrame:
    return last.filter(pl.col(EVENT_TYPE) == event_type.value).select(*_PAIR, _SINCE)


def _without_conversion(last: pl.DataFrame) -> pl.DataFrame:
    """The applications that no conversion followed."""
    converted = _of(last, EventType.CONVERT).rename({_SINCE: "converted"})
    applied = _of(last, EventType.APPLY).join(converted, on=_PAIR, how="left")
    return applied.filter((pl.col("converted") < pl.col(_SINCE)).fill_null(value=True)).select(*_PAIR, _SINCE)


def _consents(dataset: Dataset, asked: pl.DataFrame) -> Consents | None:
    """The answers that each customer had given by his instant; None where the dataset keeps none."""
    if not dataset.has(Table.CONSENTS):
        return None
    rows = dataset.scan(Table.CONSENTS).join(_instants(asked), on=CUSTOMER_ID)
    known = latest_answers(rows.filter(pl.col(EVENT_TIMESTAMP) <= pl.col(_INSTANT)))
    return Consents.from_frame(known.collect(engine="streaming"), asked[CUSTOMER_ID].to_list())


def _contacts(dataset: Dataset, asked: pl.DataFrame, products: ProductFacts, channels: Collection[str]) -> Contacts:
    """The impressions in pushed channels by each customer's instant."""
    past = _past_events(dataset, asked).filter(pl.col(EVENT_TYPE) == EventType.IMPRESSION.value)
    if "channel" not in dataset.columns(Table.EVENTS):
        return Contacts.empty(len(asked))
    categories = pl.LazyFrame(
        {PRODUCT_ID: list(products.ids), "category": [str(name) or None for name in products.category]},
        schema={PRODUCT_ID: pl.String, "category": pl.String},
    )
    sent = past.filter(pl.col("channel").is_in(sorted(channels))).join(categories, on=PRODUCT_ID, how="left")
    rows = sent.select(CUSTOMER_ID, "channel", "category", EVENT_TIMESTAMP).collect(engine="streaming")
    return Contacts.from_frame(rows, asked[CUSTOMER_ID].to_list())


def _instants(asked: pl.DataFrame) -> pl.LazyFrame:
    return asked.select(CUSTOMER_ID, pl.col(EVENT_TIMESTAMP).alias(_INSTANT)).lazy()


def _past_events(dataset: Dataset, asked: pl.DataFrame) -> pl.LazyFrame:
    """The events of the customers up to their instants, in the strict order of `order_timestamps`."""
    events = order_timestamps(dataset.scan(Table.EVENTS).join(_instants(asked), on=CUSTOMER_ID))
    past = events.filter(pl.col(ORDER_TIMESTAMP) <= pl.col(_INSTANT))
    return name_products(dataset, past)


def _known_holdings(dataset: Dataset, instants: pl.LazyFrame) -> pl.LazyFrame:
    """customer_id, product_id, since, closed (null: open at the instant) of the holdings opened by the instant."""
    holdings = dataset.scan(Table.HOLDINGS).join(instants, on=CUSTOMER_ID)
    opened = holdings.filter(pl.col("opened_at") <= pl.col(_INSTANT))
    closed = pl.lit(None, pl.Datetime("us", "UTC"))
    if "closed_at" in dataset.columns(Table.HOLDINGS):
        closed = pl.when(pl.col("closed_at") <= pl.col(_INSTANT)).then(pl.col("closed_at"))
    return opened.select(*_PAIR, closed.alias(_CLOSED), since=pl.col("opened_at"))
