"""Random worlds for the policy's tests: many customers and products at once, drawn from the values that matter.

Rows are plain dictionaries, so that an oracle in plain Python reads the very same world as the rules do.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from recsys.policy.facts import (
    NOT_A_TIME,
    Consents,
    Contacts,
    ContentFacts,
    CustomerFacts,
    ProductFacts,
    Relations,
    as_instant,
)
from recsys.policy.rules import RequestContext

Row = dict[str, Any]
TIME = pl.Datetime("us", "UTC")
CATEGORIES = (None, "savings", "term_deposit", "card", "personal_loan", "mortgage", "fund", "wealth", "insurance", "fx")
COUNTRIES = (None, "IE", "DE", "US", "KP", "GB", "CN")
SEGMENTS = (None, "youth", "mass", "affluent")
LEVELS = (None, "C1", "C2", "C3", "C4", "C5")
RATINGS = (None, "R1", "R2", "R3", "R4", "R5")
BANDS = (None, "up_to_15k", "15k_30k", "over_80k", "odd")
KNOWLEDGE = (None, "basic", "informed", "advanced", "odd")
ZONES = (None, "Europe/Dublin", "America/New_York", "Asia/Shanghai", "Asia/Kathmandu", "Pacific/Chatham", "No/Where")
CHANNELS = (None, "app", "email", "sms", "branch")
FLAGS = ("is_minor", "in_arrears", "bereaved", "fraud_victim", "open_complaint")
CUSTOMER_SCHEMA = {
    "segment": pl.String,
    "country": pl.String,
    "language": pl.String,
    "time_zone": pl.String,
    "income_band": pl.String,
    "kyc_status": pl.String,
    "risk_level": pl.String,
    "risk_assessed_at": TIME,
    "liquid_amount": pl.Float64,
    "horizon_months": pl.Float64,
    "knowledge_level": pl.String,
    **dict.fromkeys(FLAGS, pl.Boolean),
    "age": pl.Float64,
}
PRODUCT_SCHEMA = {
    "product_id": pl.String,
    "category": pl.String,
    "status": pl.String,
    "available_from": TIME,
    "available_to": TIME,
    "issuer_risk": pl.String,
    "bank_risk": pl.String,
    "is_credit": pl.Boolean,
    "repeatable": pl.Boolean,
    "min_age": pl.Float64,
    "min_amount": pl.Float64,
    "term_months": pl.Float64,
    "rate": pl.Float64,
    "fee": pl.Float64,
    "capacity": pl.Float64,
    "countries": pl.List(pl.String),
    "segments": pl.List(pl.String),
    "channels": pl.List(pl.String),
    "prerequisites": pl.List(pl.String),
}
CONTENT_SCHEMA = {
    "content_id": pl.String,
    "product_id": pl.String,
    "status": pl.String,
    "content_hash": pl.String,
    "approved_hash": pl.String,
    "valid_from": TIME,
    "valid_to": TIME,
    "language": pl.String,
    "channel": pl.String,
    "headline": pl.String,
}


@dataclass
class World:
    """Customers, products and contents as rows, and what joins them."""

    now: datetime
    customers: list[Row]
    products: list[Row]
    contents: list[Row]
    kept: set[str] = field(default_factory=lambda: set(CUSTOMER_SCHEMA))
    consents_kept: bool = True
    held: list[Row] = field(default_factory=list)
    declined: list[Row] = field(default_factory=list)
    pending: list[Row] = field(default_factory=list)
    consents: list[Row] = field(default_factory=list)
    contacts: list[Row] = field(default_factory=list)
    channel: str | None = None
    locale: str | None = None
    taken: dict[str, int] = field(default_factory=dict)
    repeatable: bool = False

    @property
    def request(self) -> RequestContext:
        """The request, the same for everybody."""
        return RequestContext(self.channel, self.locale, self.taken)

    def product_facts(self) -> ProductFacts:
        """As the engine reads them."""
        return ProductFacts.from_frame(pl.DataFrame(self.products, schema=PRODUCT_SCHEMA))

    def content_facts(self, products: ProductFacts) -> ContentFacts:
        """As the engine reads them."""
        return ContentFacts.from_frame(pl.DataFrame(self.contents, schema=CONTENT_SCHEMA), products)

    def customer_facts(self) -> CustomerFacts:
        """As the engine reads them."""
        schema = {name: dtype for name, dtype in CUSTOMER_SCHEMA.items() if name in self.kept}
        rows = [{name: row[name] for name in schema} for row in self.customers]
        frame = pl.DataFrame(rows, schema=schema) if schema else pl.DataFrame({"n": [0] * len(rows)})
        stamps = [row["as_of"] for row in self.customers]
        frame = frame.with_columns(pl.Series("as_of", stamps, dtype=TIME))
        names = [str(number) for number in range(len(self.customers))]
        consents = pl.DataFrame(
            [{**row, "customer_id": str(row["customer"]), "event_timestamp": row["since"]} for row in self.consents],
            schema={
                "customer_id": pl.String,
                "purpose": pl.String,
                "channel": pl.String,
                "event_timestamp": TIME,
                "granted": pl.Boolean,
            },
        )
        contacts = pl.DataFrame(
            [{**row, "customer_id": str(row["customer"]), "event_timestamp": row["at"]} for row in self.contacts],
            schema={
                "customer_id": pl.String,
                "channel": pl.String,
                "category": pl.String,
                "event_timestamp": TIME,
            },
        )
        facts = CustomerFacts.from_frame(frame).with_relations(
            self._relations(self.held), self._relations(self.declined), self._relations(self.pending)
        )
        facts = facts.with_consents(Consents.from_frame(consents, names) if self.consents_kept else None)
        return facts.with_contacts(Contacts.from_frame(contacts, names))

    def _relations(self, rows: list[Row]) -> Relations:
        stamp = [_utc(row["since"]) for row in rows]
        until = [_utc(row["until"]) for row in rows]
        return Relations.build(
            len(self.customers),
            np.array([row["customer"] for row in rows], dtype=np.int64),
            np.array([row["product"] for row in rows], dtype=np.int64),
            np.array(stamp, dtype="datetime64[us]"),
            np.array(until, dtype="datetime64[us]"),
        )


def draw_world(rng: np.random.Generator, customers: int, products: int, now: datetime, contents: int = 0) -> World:
    """A world in which every rule has somebody to remove something for."""
    pick = _Picker(rng, now)
    categories = ("card", "personal_loan") if pick.chance(0.3) else CATEGORIES  # a bank of loans: steering matters
    items = [_draw_product(pick, number, products, categories) for number in range(products)]
    people = [_draw_customer(pick) for _ in range(customers)]
    world = World(now, people, items, [_draw_content(pick, number, items) for number in range(contents)])
    _draw_relations(world, pick)
    world.channel = pick.one((*CHANNELS, "mobile", "mail"))
    world.locale = pick.one((None, "en", "zh-CN"))
    world.taken = {item["product_id"]: pick.below(5) for item in items if pick.chance(0.5)}
    world.repeatable = pick.chance(0.1)
    world.consents_kept = pick.chance(0.8)
    if pick.chance(0.3):
        world.kept = {name for name in CUSTOMER_SCHEMA if pick.chance(0.7)}
    return world


class _Picker:
    """Draws single values."""

    def __init__(self, rng: np.random.Generator, now: datetime) -> None:
        self._random = random.Random(int(rng.integers(2**62)))  # ten times as fast as numpy for one value
        self.now = now

    def below(self, limit: int) -> int:
        """A number from 0."""
        return int(self._random.random() * limit)

    def one(self, values: Any) -> Any:
        """One of some values."""
        return values[self.below(len(values))]

    def some(self, values: Any) -> list[Any]:
        """A few of some values."""
        return [value for value in values if value is not None and self.chance(0.5)]

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return self._random.random() < share

    def near(self, *days: float) -> datetime:
        """Exactly, just before or just after so many days from now."""
        return self.now + timedelta(days=self.one(days), microseconds=self.below(3) - 1)


def _draw_product(pick: _Picker, number: int, count: int, categories: Sequence[str | None]) -> Row:
    return {
        "product_id": f"p{number}",
        "category": pick.one(categories),
        "status": pick.one(("live",) * 12 + ("paused", "sold_out", "draft", None)),
        "available_from": pick.near(-9, -1, 0) if pick.chance(0.3) else None,
        "available_to": pick.near(0, 1, 30) if pick.chance(0.3) else None,
        "issuer_risk": pick.one(RATINGS) if pick.chance(0.4) else None,
        "bank_risk": pick.one(RATINGS) if pick.chance(0.4) else None,
        "is_credit": pick.one((None, False, True)) if categories is CATEGORIES else True,
        "repeatable": pick.one((None, False, False, True)),
        "min_age": pick.one((None, None, 14.0, 18.0, 21.0)),
        "min_amount": pick.one((None, 0.0, 1000.0, 50000.0)),
        "term_months": pick.one((None, None, 12.0, 60.0)) if categories is CATEGORIES else None,
        "rate": pick.one((None, 2.0, 2.5, 3.0)),
        "fee": pick.one((None, 0.0, 1.25, 10.0)),
        "capacity": pick.one((None, None, None, 0.0, 3.0)),
        "countries": pick.some(COUNTRIES) if pick.chance(0.2) else None,
        "segments": pick.some(SEGMENTS) if pick.chance(0.2) else None,
        "channels": pick.some(CHANNELS) if pick.chance(0.2) else None,
        "prerequisites": [f"p{pick.below(count + 1)}"] if pick.chance(0.1) else None,
    }


def _draw_customer(pick: _Picker) -> Row:
    flags = {name: pick.one((False,) * 12 + (True, None)) for name in FLAGS}
    return {
        "segment": pick.one(SEGMENTS),
        "country": pick.one(COUNTRIES),
        "language": pick.one((None, "en", "en-GB", "zh")),
        "time_zone": pick.one(ZONES),
        "income_band": pick.one(BANDS),
        "kyc_status": pick.one(("verified",) * 6 + ("pending", None)),
        "risk_level": pick.one(LEVELS),
        "risk_assessed_at": pick.near(-400, -365, -10, 0) if pick.chance(0.9) else None,
        "liquid_amount": pick.one((None, 0.0, 1000.0, 1e6)),
        "horizon_months": pick.one((None, 6.0, 12.0, 120.0)),
        "knowledge_level": pick.one(KNOWLEDGE),
        **flags,
        "age": pick.one((None, 13.0, 17.0, 18.0, 20.0, 40.0)),
        "as_of": None if pick.chance(0.02) else pick.near(*(-1,) * 12, -7, -8),
    }


def _draw_content(pick: _Picker, number: int, products: list[Row]) -> Row:
    about = pick.one(products)
    rate = pick.one((about["rate"], about["rate"], 9.99))
    return {
        "content_id": f"k{number}",
        "product_id": about["product_id"],
        "status": pick.one(("approved",) * 6 + ("sending", "draft", "withdrawn", None)),
        "content_hash": "a",
        "approved_hash": pick.one(("a",) * 8 + ("b", None)),
        "valid_from": pick.near(-9, 0) if pick.chance(0.2) else None,
        "valid_to": pick.near(0, 9) if pick.chance(0.2) else None,
        "language": pick.one((None, "en", "zh-Hans")),
        "channel": pick.one((None, None, "app", "email")),
        "headline": "100 % online" if rate is None else f"{rate:.2f} % a year",
    }


def _draw_relations(world: World, pick: _Picker) -> None:
    people, items = len(world.customers), len(world.products)

    def pair() -> Row:
        return {"customer": pick.below(people), "product": pick.below(items)}

    for _ in range(people * 2):
        world.held.append(
            {**pair(), "since": pick.near(-90, 0), "until": pick.near(-1, 0, 9) if pick.chance(0.3) else None}
        )
    for _ in range(people):
        world.declined.append({**pair(), "since": pick.near(-31, -30, -1, 0), "until": None})
        world.pending.append({**pair(), "since": pick.near(-46, -45, -1, 0), "until": None})
        world.contacts.append(
            {
                "customer": pick.below(people),
                "channel": pick.one(("email", "sms")),
                "category": pick.one(CATEGORIES),
                "at": pick.near(-8, -7, -1, 0),
            }
        )
    for customer in range(people):
        for purpose in ("marketing", "profiling"):
            for channel in (None, None, "email"):
                if pick.chance(0.7):
                    answer = {"purpose": purpose, "channel": channel, "granted": pick.chance(0.75)}
                    world.consents.append({"customer": customer, "since": pick.near(-9, -5, -5, 0), **answer})


def _utc(time: datetime | None) -> np.datetime64:
    return NOT_A_TIME if time is None else as_instant(time)
