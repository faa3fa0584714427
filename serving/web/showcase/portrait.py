"""What a bank knows of one customer, for the page: facts from the SQL store, modalities from the dataset.

What he does not let be looked at is not looked at here either.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from recsys.policy.facts import CustomerFacts, as_instant
from recsys.schema import CONSENT_PURPOSES, EventType
from serving.loading import ServedModel
from serving.store.database import Store
from serving.store.facts import CustomerRecord, FactStore, Relation
from serving.store.tables import events
from serving.web.showcase.records import Did, Looked, Message, Records, Spending, looked_at

SHOWN_EVENTS: Final = 14
SHOWN_PICTURES: Final = 8
PROFILING: Final = "profiling"
TEXT: Final = "text_analysis"
IMAGES: Final = "image_analysis"
_PROFILE: Final = (
    "segment",
    "country",
    "language",
    "income_band",
    "liquid_amount",
    "horizon_months",
    "knowledge_level",
    "kyc_status",
)


class Risk(NamedTuple):
    """The customer's risk assessment."""

    level: str | None
    assessed_at: datetime | None
    age_days: int | None
    suitability: str
    """`valid`, `expired` or `missing`."""


class Product(NamedTuple):
    """A product that the customer has, declined or applied for."""

    product_id: str
    title: str
    since: datetime


class Portrait(NamedTuple):
    """One customer. A list that is None may not be read: he does not agree."""

    customer_id: str
    profile: dict[str, Any]
    risk: Risk
    consents: dict[str, bool]
    held: list[Product]
    declined: list[Product]
    pending: list[Product]
    messages: list[Message] | None
    events: list[Did] | None
    looked: list[Looked] | None
    spending: Spending | None
    currency: str
    titles: dict[str, str]
    """Of the products that the above names."""
    dataset: bool
    """Whether the dataset is still where it was; else only what the service itself knows can be shown."""


class PortraitPainter:
    """Reads what there is of a customer.

    Args:
        store: of facts and of what the app reported.
        records: the dataset.
    """

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._facts = FactStore(store)
        self._records = records

    def knows(self, customer_id: str, now: datetime) -> bool:
        """Whether the bank knows the customer."""
        return self._facts.read(customer_id, now).facts is not None

    def may_look(self, customer_id: str, model: ServedModel, now: datetime) -> bool:
        """Whether pictures that he sent may be looked at."""
        facts = self._facts.read(customer_id, now).as_facts(model.pipeline.catalogue.products)
        return not model.pipeline.policy.profiling_refused(facts, now)[0] and _agrees(facts, IMAGES, now)

    def paint(self, customer_id: str, model: ServedModel, now: datetime) -> Portrait | None:
        """The customer as he is known now; None where the bank does not know him.

        Raises:
            StoreError: the facts cannot be read.
        """
        record = self._facts.read(customer_id, now)
        if record.facts is None:
            return None
        catalogue = model.pipeline.catalogue
        facts = record.as_facts(catalogue.products)
        profiled = not model.pipeline.policy.profiling_refused(facts, now)[0]
        consents = {purpose: _agrees(facts, purpose, now) for purpose in CONSENT_PURPOSES}
        titles = dict(zip(catalogue.products.ids, catalogue.product_titles, strict=True))
        done = self._events(customer_id) if profiled else None
        looks = done if consents[IMAGES] else None
        country = record.facts.get("country")
        return Portrait(
            customer_id=customer_id,
            profile={name: record.facts[name] for name in _PROFILE if record.facts.get(name) is not None},
            risk=_risk(record, model.pipeline.policy.suitability(facts, now)[0], now),
            consents=consents,
            held=_products([one for one in record.held if one.until is None], titles),
            declined=_products(record.declined, titles),
            pending=_products(record.pending, titles),
            messages=self._records.messages(customer_id, country) if profiled and consents[TEXT] else None,
            events=None if done is None else done[:SHOWN_EVENTS],
            looked=None if looks is None else looked_at(looks, SHOWN_PICTURES),
            spending=self._records.spending(customer_id) if profiled else None,
            currency=self._records.currency,
            titles=titles,
            dataset=self._records.dataset is not None,
        )

    def _events(self, customer_id: str) -> list[Did]:
        """What the service heard of and what the dataset has; an event that was exported is in both and counts once."""
        columns = (events.c.event_id, events.c.event_timestamp, events.c.event_type, events.c.product_id)
        mine = select(*columns, events.c.content_id).where(
            events.c.customer_id == customer_id, events.c.event_type != EventType.IMPRESSION
        )
        with self._store.reading() as connection:
            rows = connection.execute(mine.order_by(events.c.event_timestamp.desc()).limit(SHOWN_EVENTS)).all()
        heard = {row[0]: Did(*row, True) for row in rows}
        known = {event.event_id: event for event in self._records.events(customer_id)}
        return sorted((known | heard).values(), key=lambda event: (event.at, event.event_id), reverse=True)


def _agrees(facts: CustomerFacts, purpose: str, now: datetime) -> bool:
    return facts.consents is None or bool(facts.consents.agrees(purpose, as_instant(now))[0])


def _risk(record: CustomerRecord, suitability: str, now: datetime) -> Risk:
    facts = record.facts or {}
    assessed: datetime | None = facts.get("risk_assessed_at")
    age = None if assessed is None else (now - assessed) // timedelta(days=1)
    return Risk(facts.get("risk_level"), assessed, age, suitability)


def _products(relations: Sequence[Relation], titles: dict[str, str]) -> list[Product]:
    """The newest first, each once."""
    latest = sorted(relations, key=lambda one: one.since, reverse=True)
    found = {one.product_id: Product(one.product_id, titles.get(one.product_id, one.product_id), one.since)
             for one in reversed(latest)}  # fmt: skip
    return sorted(found.values(), key=lambda one: one.since, reverse=True)
