"""The facts that the rules read, as they were at given instants, from a dataset directory.

The service reads facts from its own store; batch recommendation and evaluation read them here, each customer at his
own instant, so that nothing that became known later removes or admits an item.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Self

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
_WHEN = {EVENT_TIMESTAMP: pl.Datetime("us", "UTC")}
_MOST_SHIFT = timedelta(seconds=1)
"""Nobody has a million events of one time."""
_OPEN = pl.lit(None, pl.Datetime("us", "UTC")).alias("until")


class FactsOnFile(NamedTuple):
    """What is on file of customers at their instants: read once, and asked about some of them at a time.

    Every table is sorted by customer, so that neighbours are found together.
    """

    products: ProductFacts
    customers: pl.DataFrame
    held: pl.DataFrame
    declined: pl.DataFrame
    pending: pl.DataFrame
    consents: pl.DataFrame | None
    """None where the dataset keeps none."""
    contacts: pl.DataFrame | None
    """None where nobody asked for them."""

    @classmethod
    def read(
        cls,
        dataset: Dataset,
        asked: pl.DataFrame,
        products: ProductFacts,
        contact_channels: Collection[str] = (),
        contacts_since: datetime | None = None,
    ) -> Self:
        """Reads what was known of some customers.

        Args:
            dataset: where the facts are.
            asked: distinct customers: customer_id, and `event_timestamp`, the instant at which each is looked at.
            products: the catalogue.
            contact_channels: channels (`PolicyPack.pushed_channels`) whose impressions are contacts; none where nothing
                is about to be sent, because then nothing counts them.
            contacts_since: earlier contacts count for nothing any more; None: all are read.
        """
        past, last = _past_events(dataset, asked), _last_times(dataset, asked)
        contacts = None
        if contact_channels:
            contacts = _contacts(dataset, past, products, contact_channels, contacts_since)
        consents = _consents(dataset, asked)
        return cls(
            products=products,
            customers=_latest_rows(dataset, asked).sort(CUSTOMER_ID),
            held=had_before(dataset, asked).sort(CUSTOMER_ID),
            declined=_of(last, EventType.DISMISS).sort(CUSTOMER_ID),
            pending=_without_conversion(last).sort(CUSTOMER_ID),
            consents=None if consents is None else consents.sort(CUSTOMER_ID),
            contacts=None if contacts is None else contacts.sort(CUSTOMER_ID),
        )

    def of(self, customers: Sequence[str]) -> CustomerFacts:
        """The facts of B distinct customers of those asked about; the nearer their ids, the less is looked at."""
        ids = pl.DataFrame({CUSTOMER_ID: customers}, schema={CUSTOMER_ID: pl.String})
        known = ids.join(_near(self.customers, ids), on=CUSTOMER_ID, how="left", maintain_order="left")
        held, declined, pending = (
            relations(_near(rows, ids).with_columns(_OPEN), customers, self.products)
            for rows in (self.held, self.declined, self.pending)
        )
        facts = CustomerFacts.from_frame(known).with_relations(held, declined, pending)
        if self.contacts is not None:
            facts = facts.with_contacts(Contacts.from_frame(_near(self.contacts, ids), customers))
        if self.consents is None:
            return facts
        return facts.with_consents(Consents.from_frame(_near(self.consents, ids), customers))


def customer_facts_as_of(
    dataset: Dataset, asked: pl.DataFrame, products: ProductFacts, contact_channels: Collection[str] = ()
) -> CustomerFacts:
    """Facts of B customers, at once; see `FactsOnFile`."""
    return FactsOnFile.read(dataset, asked, products, contact_channels).of(asked[CUSTOMER_ID].to_list())


def _near(rows: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table sorted by customer between the first and the last of some ids."""
    if ids.is_empty():
        return rows.clear()
    keys, first, last = rows[CUSTOMER_ID], str(ids[CUSTOMER_ID].min()), str(ids[CUSTOMER_ID].max())
    start, stop = keys.search_sorted(first, "left"), keys.search_sorted(last, "right")
    return rows.slice(start, stop - start)


def _latest_rows(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """Of each customer who was on file at his instant, what is kept of him."""
    columns = (EVENT_TIMESTAMP, *kept_columns(dataset))
    rows = dataset.scan(Table.CUSTOMERS).select(CUSTOMER_ID, *columns).join(_instants(asked), on=CUSTOMER_ID)
    known = rows.filter(pl.col(EVENT_TIMESTAMP) <= pl.col(_INSTANT)).group_by(CUSTOMER_ID)
    return known.agg(pl.col(columns).sort_by(EVENT_TIMESTAMP).last()).collect(engine="streaming")


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
    mine = name_products(dataset, mine)
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
    return _of(_last_times(dataset, asked), EventType.DISMISS)


def pending_before(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """What each customer had applied for, and had not got since: customer_id, product_id, since (the last time)."""
    return _without_conversion(_last_times(dataset, asked))


def _last_times(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame:
    """customer_id, product_id, event_type, since: the last dismissals, applications and conversions."""
    types = [str(name) for name in (EventType.DISMISS, EventType.APPLY, EventType.CONVERT)]
    mine = name_products(dataset, _past_events(dataset, asked).filter(pl.col(EVENT_TYPE).is_in(types)))
    last = mine.drop_nulls(PRODUCT_ID).group_by(*_PAIR, EVENT_TYPE).agg(pl.col(EVENT_TIMESTAMP).max().alias(_SINCE))
    return last.collect(engine="streaming")


def _of(last: pl.DataFrame, event_type: EventType) -> pl.DataFrame:
    return last.filter(pl.col(EVENT_TYPE) == event_type.value).select(*_PAIR, _SINCE)


def _without_conversion(last: pl.DataFrame) -> pl.DataFrame:
    """The applications that no conversion followed."""
    converted = _of(last, EventType.CONVERT).rename({_SINCE: "converted"})
    applied = _of(last, EventType.APPLY).join(converted, on=_PAIR, how="left")
    return applied.filter((pl.col("converted") < pl.col(_SINCE)).fill_null(value=True)).select(*_PAIR, _SINCE)


def _consents(dataset: Dataset, asked: pl.DataFrame) -> pl.DataFrame | None:
    """The answers that each customer had given by his instant; None where the dataset keeps none."""
    if not dataset.has(Table.CONSENTS):
        return None
    rows = dataset.scan(Table.CONSENTS).join(_instants(asked), on=CUSTOMER_ID)
    known = latest_answers(rows.filter(pl.col(EVENT_TIMESTAMP) <= pl.col(_INSTANT)))
    return known.collect(engine="streaming")


def _contacts(
    dataset: Dataset, past: pl.LazyFrame, products: ProductFacts, channels: Collection[str], since: datetime | None
) -> pl.DataFrame:
    """customer_id, channel, category, event_timestamp of the impressions in pushed channels."""
    if "channel" not in dataset.columns(Table.EVENTS):
        return pl.DataFrame(schema={CUSTOMER_ID: pl.String, "channel": pl.String, "category": pl.String, **_WHEN})
    sent = past.filter(pl.col(EVENT_TYPE) == EventType.IMPRESSION.value, pl.col("channel").is_in(sorted(channels)))
    if since is not None:
        sent = sent.filter(pl.col(EVENT_TIMESTAMP) > since)
    categories = pl.LazyFrame(
        {PRODUCT_ID: list(products.ids), "category": [str(name) or None for name in products.category]},
        schema={PRODUCT_ID: pl.String, "category": pl.String},
    )
    named = name_products(dataset, sent).join(categories, on=PRODUCT_ID, how="left")
    return named.select(CUSTOMER_ID, "channel", "category", EVENT_TIMESTAMP).collect(engine="streaming")


def _instants(asked: pl.DataFrame) -> pl.LazyFrame:
    return asked.select(CUSTOMER_ID, pl.col(EVENT_TIMESTAMP).alias(_INSTANT)).lazy()


def _past_events(dataset: Dataset, asked: pl.DataFrame) -> pl.LazyFrame:
    """The events of the customers up to their instants, in the strict order of `order_timestamps`.

    That order moves tied events by microseconds. Where everybody is asked about later than that it moves nothing past
    an instant: the events are then not put in order, which takes most of the time.
    """
    events, instants = dataset.scan(Table.EVENTS), _instants(asked)
    newest = events.select(pl.col(EVENT_TIMESTAMP).max()).collect(engine="streaming").item()
    first = asked[EVENT_TIMESTAMP].min()
    if newest is None or first is None or newest + _MOST_SHIFT <= first:
        return events.join(instants, on=CUSTOMER_ID, how="semi")
    return order_timestamps(events.join(instants, on=CUSTOMER_ID)).filter(pl.col(ORDER_TIMESTAMP) <= pl.col(_INSTANT))


def _known_holdings(dataset: Dataset, instants: pl.LazyFrame) -> pl.LazyFrame:
    """customer_id, product_id, since, closed (null: open at the instant) of the holdings opened by the instant."""
    holdings = dataset.scan(Table.HOLDINGS).join(instants, on=CUSTOMER_ID)
    opened = holdings.filter(pl.col("opened_at") <= pl.col(_INSTANT))
    closed = pl.lit(None, pl.Datetime("us", "UTC"))
    if "closed_at" in dataset.columns(Table.HOLDINGS):
        closed = pl.when(pl.col("closed_at") <= pl.col(_INSTANT)).then(pl.col("closed_at"))
    return opened.select(*_PAIR, closed.alias(_CLOSED), since=pl.col("opened_at"))
