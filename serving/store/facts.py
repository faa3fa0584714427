"""The authoritative facts of one customer: read at every request, never cached."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    String,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from recsys.policy.facts import (
    ConsentAnswer,
    Consents,
    Contact,
    Contacts,
    CustomerFacts,
    ProductFacts,
    Relations,
)
from recsys.schema import CONSENT_PURPOSES, Kind
from serving.store.database import Store
from serving.store.in_app import running_offers
from serving.store.tables import (
    ALL_CHANNELS,
    UtcTime,
    applications,
    campaign_messages,
    campaign_variants,
    capacity_reservations,
    catalogue_changes,
    consents,
    contacts,
    customer_facts,
    dataset_facts,
    dismissals,
    holdings,
    product_capacity,
)

APPROVED: Final = ":"
"""Between the two hashes of an approval."""
_NO_REVISION: Final = 2**62
"""After which nothing changed."""
CONTACT_DAYS: Final = 366
"""How far back contacts are read: the longest window that a pack may count."""
_LONG_AGO: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_TIMES: Final = ("updated_at", "risk_assessed_at", "loaded_at")
_NAMES: Final = tuple(str(column.name) for column in customer_facts.columns)
_PARTS: Final = ("held", "declined", "pending", "consent", "contact", "offer", "taken", "changed")
_ONE: Final = select(literal(1).label("one")).subquery()
_FACTS: Final = select(  # one row always, of nulls where there is nothing
    dataset_facts.c.keeps_consents, dataset_facts.c.kept, dataset_facts.c.confirmed_at, customer_facts
).select_from(
    _ONE.outerjoin(dataset_facts, literal(value=True)).outerjoin(
        customer_facts, customer_facts.c.customer_id == bindparam("id")
    )
)
_EXPIRED: Final = (  # reservations that hold their unit no more: the next one who asks for it frees it
    select(func.count())
    .where(
        capacity_reservations.c.product_id == product_capacity.c.product_id,
        capacity_reservations.c.state == "reserved",
        capacity_reservations.c.expires_at <= bindparam("now"),
    )
    .scalar_subquery()
)


class Relation(NamedTuple):
    """A product that the customer has, declined or applied for."""

    product_id: str
    since: datetime
    until: datetime | None


class InAppOffer(NamedTuple):
    """What a running campaign wants shown to the customer where he comes by himself."""

    campaign_id: str
    content_id: str
    channel: str
    version: str
    """The product's, at approval."""
    words: str
    """Hash of the creative's words, at approval."""


class DatasetFacts(NamedTuple):
    """What holds for all customers of the dataset that was loaded."""

    keeps_consents: bool
    """Whether a consent that nobody gave is a refusal."""
    kept: tuple[str, ...]
    """Which columns of the facts the bank keeps at all."""
    confirmed_at: datetime
    """When the store was last made to agree with the dataset."""


class CustomerRecord(NamedTuple):
    """What the store says of one customer."""

    facts: dict[str, Any] | None
    """None: the bank does not know him."""
    dataset: DatasetFacts | None
    """None: no dataset was loaded."""
    held: list[Relation]
    declined: list[Relation]
    pending: list[Relation]
    consents: list[ConsentAnswer]
    contacts: list[Contact]
    taken: dict[str, int]
    """Units sold or reserved of the products of limited capacity."""
    offers: tuple[InAppOffer, ...] = ()
    """Of campaigns, the one that began first first."""

    def as_facts(self, products: ProductFacts) -> CustomerFacts:
        """As the rules read them, B = 1."""
        kept = self.dataset.kept if self.dataset is not None else None
        known = CustomerFacts.unknown(1) if self.facts is None else CustomerFacts.single(self.facts, kept, self.as_of)
        held, declined, pending = (_relations(rows, products) for rows in (self.held, self.declined, self.pending))
        consents, contacts = self._answers(), Contacts.single(self.contacts)
        return replace(known, held=held, declined=declined, pending=pending, consents=consents, contacts=contacts)

    @property
    def as_of(self) -> datetime | None:
        """When the customer's facts were last confirmed by who is their source; None: he is not known."""
        if self.facts is None:
            return None
        own: datetime = self.facts["loaded_at"] or self.facts["updated_at"]
        if self.facts["loaded_at"] is None or self.dataset is None:
            return own
        return max(own, self.dataset.confirmed_at)

    def to_json(self) -> dict[str, Any]:
        """For the decision log."""
        return self._asdict() | {"dataset": None if self.dataset is None else self.dataset._asdict()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, once it has been through JSON."""
        facts, dataset = values["facts"], values["dataset"]
        relations = {
            name: [Relation(product, _time(since), _time_or_none(until)) for product, since, until in values[name]]
            for name in ("held", "declined", "pending")
        }
        if facts is not None:
            facts = facts | {name: _time_or_none(facts[name]) for name in _TIMES}
        if dataset is not None:
            dataset = DatasetFacts(dataset["keeps_consents"], tuple(dataset["kept"]), _time(dataset["confirmed_at"]))
        return cls(
            facts=facts,
            dataset=dataset,
            consents=[
                ConsentAnswer(purpose, channel, granted, _time(since))
                for purpose, channel, granted, since in values["consents"]
            ],
            contacts=[Contact(channel, category, _time(at)) for channel, category, at in values["contacts"]],
            taken=dict(values["taken"]),
            offers=tuple(InAppOffer(*offer) for offer in values.get("offers", ())),
            **relations,
        )

    def _answers(self) -> Consents | None:
        """None where everything is allowed. What a customer refused counts in every dataset."""
        if self.dataset is None or self.dataset.keeps_consents:
            return Consents.single(self.consents)
        if not self.consents:
            return None
        given = [ConsentAnswer(purpose, None, True, _LONG_AGO) for purpose in CONSENT_PURPOSES]
        return Consents.single([*given, *self.consents])


class FactStore:
    """Reads facts from the SQL store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def warm(self) -> None:
        """Reads a customer who does not exist: the first read of a process makes its statements, for 30 ms and more.

        Raises:
            StoreError: the database cannot be read.
        """
        self.read("", datetime.now(UTC))

    def read(self, customer_id: str, now: datetime) -> CustomerRecord:
        """The facts of a customer at an instant.

        Raises:
            StoreError: the database cannot be read; the caller answers as for the most restricted customer.
        """
        return self.read_with_changes(customer_id, now, _NO_REVISION).record

    def read_with_changes(self, customer_id: str, now: datetime, revision: int) -> "FactsAndChanges":
        """The same, with what changed in the catalogue after a revision: what a request asks.

        Raises:
            StoreError: as `read`.
        """
        key = {"id": customer_id, "now": now, "since": now - timedelta(days=CONTACT_DAYS), "revision": revision}
        with self._store.reading() as connection:
            keeps_consents, kept, confirmed_at, *facts = connection.execute(_FACTS, {"id": customer_id}).one()
            rows = connection.execute(_RELATED, key).all()
        found: dict[str, list[Any]] = {name: [] for name in _PARTS}
        for kind, name, channel, granted, since, until, about, approved in rows:
            if kind == "consent":
                found[kind].append(ConsentAnswer(name, channel or None, bool(granted), since))
            elif kind == "contact":
                found[kind].append(Contact(channel, name or None, since))
            elif kind == "offer":
                found[kind].append((since, name, InAppOffer(name, about, channel, *approved.split(APPROVED))))
            elif kind in ("taken", "changed"):
                found[kind].append((name, about))
            else:
                found[kind].append(Relation(name, since, until))
        record = CustomerRecord(
            facts=None if facts[0] is None else dict(zip(_NAMES, facts, strict=True)),
            dataset=None if kept is None else DatasetFacts(keeps_consents, tuple(orjson.loads(kept)), confirmed_at),
            held=found["held"],
            declined=found["declined"],
            pending=found["pending"],
            consents=found["consent"],
            contacts=found["contact"],
            taken={product_id: int(units) for product_id, units in found["taken"]},
            offers=tuple(offer for *_, offer in sorted(found["offer"])),
        )
        changed: dict[Kind, list[str]] = {}
        for item_id, kind in found["changed"]:
            changed.setdefault(Kind(kind), []).append(item_id)
        return FactsAndChanges(record, changed)


class FactsAndChanges(NamedTuple):
    """What a request reads from the SQL store."""

    record: CustomerRecord
    changed: dict[Kind, list[str]]
    """The ids of what changed in the catalogue; empty for most requests."""


def _of_all(kind: str, name: Column[Any], **others: ColumnElement[Any]) -> Any:
    """One table's rows in the columns that all of them share."""
    columns: dict[str, ColumnElement[Any]] = {
        "kind": literal(kind),
        "name": name,
        "channel": cast(null(), String),
        "granted": cast(null(), Boolean),
        "since": cast(null(), UtcTime),
        "until": cast(null(), UtcTime),
        "about": cast(null(), String),
        "approved": cast(null(), String),
        **others,
    }
    return select(*(column.label(label) for label, column in columns.items()))


def _part(kind: str, name: Column[Any], since: Column[Any], **others: ColumnElement[Any]) -> Any:
    """Those of one customer."""
    return _of_all(kind, name, since=since, **others).where(name.table.c.customer_id == bindparam("id"))


_RELATED: Final = union_all(  # one statement: each costs a round trip
    _part("held", holdings.c.product_id, holdings.c.opened_at, until=holdings.c.closed_at),
    _part("declined", dismissals.c.product_id, dismissals.c.dismissed_at),
    _part("pending", applications.c.product_id, applications.c.applied_at),
    _part("consent", consents.c.purpose, consents.c.given_at, channel=consents.c.channel, granted=consents.c.granted),
    _part("contact", contacts.c.category, contacts.c.contacted_at, channel=contacts.c.channel).where(
        contacts.c.contacted_at > bindparam("since"),
        contacts.c.expires_at.is_(None) | (contacts.c.expires_at > bindparam("now")),
    ),
    _part(
        "offer",
        campaign_messages.c.campaign_id,
        campaign_messages.c.send_at,
        channel=campaign_messages.c.channel,
        about=campaign_messages.c.content_id,
        approved=campaign_variants.c.product_version + APPROVED + campaign_variants.c.words_hash,
    ).where(*running_offers(bindparam("now", type_=UtcTime()))),
    _of_all(
        "taken",
        product_capacity.c.product_id,
        about=cast(product_capacity.c.sold + product_capacity.c.reserved - _EXPIRED, String),
    ),
    _of_all("changed", catalogue_changes.c.item_id, about=catalogue_changes.c.kind).where(
        catalogue_changes.c.revision > bindparam("revision", type_=BigInteger())
    ),
)


def channel_key(channel: str | None) -> str:
    """How the table of consents writes a channel."""
    return channel or ALL_CHANNELS


def _relations(rows: list[Relation], products: ProductFacts) -> Relations:
    places = [products.index.get(row.product_id) for row in rows]
    return Relations.single(places, [row.since for row in rows], [row.until for row in rows])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
