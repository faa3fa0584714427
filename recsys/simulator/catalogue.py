"""The bank's products: their facts, how these changed in time, and how well each serves which need."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from recsys.simulator.archetypes import Variant, choose_variants
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon, capitalise, draw
from recsys.simulator.world import CHANNEL_NAMES, INVESTMENT_FAMILIES, NEEDS, SEGMENTS, Bools, Floats, Ints

UTC_TIME = pl.Datetime("us", "UTC")
PRODUCT_SCHEMA: dict[str, Any] = {
    "product_id": pl.String,
    "event_timestamp": UTC_TIME,
    "name": pl.String,
    "category": pl.String,
    "description": pl.String,
    "image_path": pl.String,
    "currency": pl.String,
    "rate": pl.Float64,
    "fee": pl.Float64,
    "min_amount": pl.Float64,
    "term_months": pl.Int64,
    "issuer_risk": pl.String,
    "bank_risk": pl.String,
    "is_credit": pl.Boolean,
    "repeatable": pl.Boolean,
    "status": pl.String,
    "available_from": UTC_TIME,
    "available_to": UTC_TIME,
    "capacity": pl.Int64,
    "min_age": pl.Int64,
    "countries": pl.List(pl.String),
    "segments": pl.List(pl.String),
    "channels": pl.List(pl.String),
    "prerequisites": pl.List(pl.String),
    "value": pl.Float64,
    "benefits": pl.List(pl.String),
}
_SAFETY = {
    "savings": 0.5,
    "term_deposit": 0.9,
    "card": -0.1,
    "personal_loan": -0.2,
    "mortgage": 0.0,
    "fund": 0.6,
    "insurance": 0.6,
    "pension": 0.6,
    "fx": -0.3,
    "wealth": 0.5,
}


@dataclass
class Product:
    """A product with its true properties; `row` holds the canonical columns as of its first day."""

    index: int
    variant: Variant
    row: dict[str, Any]
    risk: int
    """1..5, 0: not an investment, -1: an investment without a rating."""
    changes: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Day (counted from the start of the period) and the columns that changed at its midnight."""

    def facts_on(self, day: int) -> dict[str, Any]:
        """The canonical columns as they are on `day`."""
        facts = dict(self.row)
        for since, changed in self.changes:
            if since <= day:
                facts |= changed
        return facts

    @property
    def id(self) -> str:
        """The product_id."""
        return str(self.row["product_id"])

    @property
    def family(self) -> str:
        """The category."""
        return self.variant.archetype.family


@dataclass
class Catalogue:
    """All products and, row for row, the arrays that the simulation runs on. P products, K needs, D days."""

    products: list[Product]
    fits: Floats
    """[P, K]: how well each product serves each need."""
    attributes: Floats
    """[P, 4]: price, ease, safety and status, each about -1..1 (world.ANGLES)."""
    quality: Floats
    """[P]: what makes a product good beyond its facts."""
    risk: Ints
    """[P]: Product.risk."""
    live: Bools
    """[D, P]: on sale during the whole day."""
    segments: Bools
    """[P, 4]: open to the segment."""
    channels: Bools
    """[P, channel]: offered in the channel."""
    money_scale: float
    """Currency units per unit of `archetypes.yaml`: `Population` counts in the latter."""
    requires: list[list[int]]
    """For each product the products of which one must be held; empty: none."""

    def column(self, name: str, missing: float = 0.0) -> Floats:
        """A numeric canonical column as of the first day, [P]."""
        values = [missing if product.row[name] is None else float(product.row[name]) for product in self.products]
        return np.array(values, np.float32)

    def flags(self, name: str) -> Bools:
        """A boolean canonical column as of the first day, [P]."""
        return np.array([bool(product.row[name]) for product in self.products])

    def frame(self, config: SimulatorConfig) -> pl.DataFrame:
        """The products table: a row per product and change of its facts."""
        rows = []
        for product in self.products:
            rows.append(product.row)
            for day, _ in product.changes:
                stamp = config.start + timedelta(days=day)
                rows.append({**product.facts_on(day), "event_timestamp": stamp})
        return pl.DataFrame(rows, schema=PRODUCT_SCHEMA).sort("product_id", "event_timestamp")


def build_catalogue(config: SimulatorConfig, lexicon: Lexicon, seed: np.random.SeedSequence) -> Catalogue:
    """Draws the catalogue of a bank."""
    rng = np.random.default_rng(seed)
    words = random.Random(int(rng.integers(2**62)))
    variants = choose_variants(config.products)
    shuffled = [variants[i] for i in rng.permutation(len(variants))]  # an id must not tell the family
    products = [
        Product(index, variant, _base_row(index, variant, config, lexicon, rng), _risk(variant))
        for index, variant in enumerate(shuffled)
    ]
    _link_prerequisites(products)
    _withhold_one_rating(products)
    for product in products:
        product.row["description"] = _describe(product, lexicon, words)
    _change_facts(products, config, rng)
    _change_statuses(products, config, rng)
    return _with_arrays(products, lexicon.scale, config, rng)


def term_label(months: int, lexicon: Lexicon, adjective: bool) -> str:
    """`12-month`/`2-year` as an adjective, `12 months`/`2 years` otherwise, in the lexicon's language."""
    if months % 12 == 0 and months >= 24:
        return (lexicon.years if adjective else lexicon.year_count).format(n=months // 12)
    return (lexicon.months if adjective else lexicon.month_count).format(n=months)


def fact_slots(facts: dict[str, Any], lexicon: Lexicon) -> dict[str, str]:
    """A product's facts as they are written in texts, with what the catalogue says, to the digit."""
    risk = max(facts["issuer_risk"] or "", facts["bank_risk"] or "") or "-"
    months = facts["term_months"]
    return {
        "name": facts["name"],
        "rate": "" if facts["rate"] is None else f"{facts['rate']:.2f}",
        "fee": f"{facts['fee'] or 0.0:.2f}".removesuffix(".00"),
        "minimum": f"{facts['min_amount'] or 0:,.0f}",
        "term": "" if months is None else term_label(months, lexicon, adjective=False),
        "risk": risk,
        "currency": lexicon.currency,
    }


def _base_row(
    index: int, variant: Variant, config: SimulatorConfig, lexicon: Lexicon, rng: np.random.Generator
) -> dict[str, Any]:
    kind, family = variant.archetype, variant.archetype.family
    opened = config.start - timedelta(days=int(rng.integers(400, 2500)))
    level = _tier_level(variant)
    percent_fee = family in INVESTMENT_FAMILIES
    fee = _within(kind.fee, rng, level * 0.35)
    rate = _within(kind.rate, rng, 0.12 * level if family in {"savings", "term_deposit"} else 0.0)
    months = kind.terms[variant.number] if kind.terms else None
    if months and rate is not None and family == "term_deposit":
        rate += 0.18 * float(np.log2(max(months, 3) / 12))  # longer money is paid better
    return {
        "product_id": f"p{index:04d}",
        "event_timestamp": opened,
        "name": _name(variant, months, lexicon),
        "category": family,
        "description": "",
        "image_path": f"images/products/p{index:04d}.jpg",
        "currency": lexicon.currency,
        "rate": None if rate is None else round(rate, 2),
        "fee": None if fee is None else round(fee if percent_fee else fee * lexicon.scale, 2 if percent_fee else 0),
        "min_amount": _money(kind.minimum * (1 + level), lexicon) if kind.minimum else None,
        "term_months": months,
        **_ratings(variant, rng),
        "is_credit": kind.credit,
        "repeatable": kind.repeatable,
        "status": "live",
        "available_from": opened,
        "available_to": None,
        "capacity": int(rng.integers(2, 20)) * 500 if kind.limited else None,
        "min_age": 18 if kind.credit or percent_fee or family == "insurance" else 14,
        "countries": None,
        "segments": None if kind.segments is None else list(kind.segments),
        "channels": _channels(kind.ease, rng),
        "prerequisites": None,
        "value": round(kind.value * lexicon.scale * float(rng.uniform(0.8, 1.25)), 2),
        "benefits": list(kind.benefits),
    }


def _tier_level(variant: Variant) -> int:
    tiers = variant.archetype.tiers
    return {"standard": 0, "plus": 1, "premier": 2}[tiers[variant.number]] if tiers else 0


def _within(bounds: tuple[float, float] | None, rng: np.random.Generator, shift: float) -> float | None:
    if bounds is None:
        return None
    low, high = bounds
    return float(rng.uniform(low, high)) + shift * (high - low)


def _money(amount: float, lexicon: Lexicon) -> float:
    return round(amount * lexicon.scale / lexicon.rounding) * float(lexicon.rounding)


def _name(variant: Variant, months: int | None, lexicon: Lexicon) -> str:
    name = lexicon.products[variant.key].name
    if len(variant.archetype.tiers) > 1:
        name += lexicon.tiers[variant.archetype.tiers[variant.number]]
    if months is not None:
        name = lexicon.term_name.format(term=term_label(months, lexicon, adjective=True), name=name)
    return name + (lexicon.series.format(letter="ABC"[variant.series]) if variant.series else "")


def _risk(variant: Variant) -> int:
    risks = variant.archetype.risk
    return risks[variant.number % len(risks)] if risks else 0


def _ratings(variant: Variant, rng: np.random.Generator) -> dict[str, str | None]:
    risk = _risk(variant)
    if not risk:
        return {"issuer_risk": None, "bank_risk": None}
    issuer, bank = risk, risk
    lower = max(1, risk - int(rng.random() < 0.3))  # the two sides may differ: the higher one counts
    if rng.random() < 0.5:
        issuer = lower
    else:
        bank = lower
    return {"issuer_risk": f"R{issuer}", "bank_risk": f"R{bank}"}


def _channels(ease: float, rng: np.random.Generator) -> list[str]:
    dropped = []
    if ease < -0.3:
        dropped.append("email")
    if ease > 0.6 and rng.random() < 0.5:
        dropped.append("branch")
    return [name for name in CHANNEL_NAMES if name not in dropped]


def _link_prerequisites(products: list[Product]) -> None:
    for product in products:
        wanted = product.variant.archetype.requires
        if wanted is not None:
            product.row["prerequisites"] = [p.id for p in products if p.variant.key == wanted] or None


def _withhold_one_rating(products: list[Product]) -> None:
    """An investment product whose rating was withdrawn: on sale, and never to be recommended."""
    rated = [product for product in products if product.risk > 0]
    if len(products) >= 40:
        rated[0].risk = -1
        rated[0].row |= {"issuer_risk": None, "bank_risk": None}


def _describe(product: Product, lexicon: Lexicon, words: random.Random) -> str:
    slots = fact_slots(product.row, lexicon)
    names = [lexicon.benefits[name] for name in product.row["benefits"]]
    words.shuffle(names)
    slots |= {"a": names[0], "b": names[-1]}
    grammar = lexicon.descriptions
    benefits = grammar.benefits if len(names) > 1 else grammar.benefits[-1:]
    sentences = [
        draw((lexicon.products[product.variant.key].about,), words, slots),
        draw(grammar.facts[product.family], words, slots),
        draw(benefits, words, slots),
    ]
    gap = " " if lexicon.currency == "EUR" else ""
    return gap.join(capitalise(sentence) for sentence in sentences)


def _change_facts(products: list[Product], config: SimulatorConfig, rng: np.random.Generator) -> None:
    """About one product in eight has its rate changed within the period; its description follows."""
    for product in products:
        rate = product.row["rate"]
        if rate is None or rate < 0.5 or rng.random() > 0.2:
            continue
        day = int(config.days * rng.uniform(0.15, 0.85))
        changed = round(rate + float(rng.choice([-0.25, -0.15, 0.15, 0.25])), 2)
        description = product.row["description"].replace(f"{rate:.2f}", f"{changed:.2f}")
        product.changes.append((day, {"rate": changed, "description": description}))


def _change_statuses(products: list[Product], config: SimulatorConfig, rng: np.random.Generator) -> None:
    """A few products are launched, paused, sold out or still a draft; a small bank has one launch only."""
    count = len(products)
    few = max(1, round(count * 0.04))
    plain = [product for product in products if not product.variant.archetype.limited and product.risk >= 0]
    order = [plain[i] for i in rng.permutation(len(plain))]
    for number, product in enumerate(order[:few]):
        _launch(product, config, round(config.days * (0.45 + 0.42 * number / few)))
    if count >= 20:
        for product in order[few : few + max(1, count // 40)]:
            pause = int(config.days * rng.uniform(0.3, 0.6))
            product.changes.append((pause, {"status": "paused"}))
            product.changes.append((min(pause + 28, config.days - 2), {"status": "live"}))
        order[few + 3].changes.append((int(config.days * 0.87), {"status": "paused"}))
        order[few + 4].row["status"] = "draft"
    for product in products:
        if product.variant.archetype.limited:
            _limit(product, config, rng)
        product.changes.sort(key=lambda change: change[0])


def _launch(product: Product, config: SimulatorConfig, day: int) -> None:
    announced = config.start + timedelta(days=day - 30)
    product.row |= {
        "status": "draft",
        "event_timestamp": announced,
        "available_from": config.start + timedelta(days=day),
    }
    product.changes = [(since, changed) for since, changed in product.changes if since > day]
    product.changes.append((day, {"status": "live"}))


def _limit(product: Product, config: SimulatorConfig, rng: np.random.Generator) -> None:
    day = int(config.days * rng.uniform(0.5, 0.86))
    product.row["available_to"] = _midnight(config.start + timedelta(days=day + 45))
    if rng.random() < 0.6:
        product.changes.append((day, {"status": "sold_out"}))


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _with_arrays(products: list[Product], scale: float, config: SimulatorConfig, rng: np.random.Generator) -> Catalogue:
    fits = np.array([[p.variant.archetype.needs.get(need, 0.0) for need in NEEDS] for p in products], np.float32)
    fits *= rng.uniform(0.88, 1.0, fits.shape).astype(np.float32)
    return Catalogue(
        products=products,
        fits=fits,
        attributes=_attributes(products, rng),
        quality=rng.normal(0, 0.5, len(products)).astype(np.float32),
        risk=np.array([product.risk for product in products]),
        live=_live_days(products, config),
        segments=np.array([[p.row["segments"] is None or s in p.row["segments"] for s in SEGMENTS] for p in products]),
        channels=np.array([[name in p.row["channels"] for name in CHANNEL_NAMES] for p in products]),
        money_scale=scale,
        requires=[
            [other.index for other in products if other.id in (product.row["prerequisites"] or ())]
            for product in products
        ],
    )


def _live_days(products: list[Product], config: SimulatorConfig) -> Bools:
    live = np.zeros((config.days, len(products)), bool)
    for product in products:
        for day in range(config.days):
            facts, midnight = product.facts_on(day), config.start + timedelta(days=day)
            open_ended = facts["available_to"] is None or facts["available_to"] >= midnight + timedelta(days=1)
            live[day, product.index] = facts["status"] == "live" and facts["available_from"] <= midnight and open_ended
    return live


def _attributes(products: list[Product], rng: np.random.Generator) -> Floats:
    """Price, ease, safety and status of each product, price relative to its own family, [P, 4]."""
    families = np.array([product.family for product in products])
    price = np.zeros(len(products))
    for name in np.unique(families):
        mask = families == name
        sign = 1.0 if name in {"savings", "term_deposit"} else -1.0
        rates = np.array([p.row["rate"] or 0.0 for p in products])[mask]
        fees = np.array([p.row["fee"] or 0.0 for p in products])[mask]
        score = sign * _standardised(rates) - _standardised(fees)
        price[mask] = np.clip(0.6 * score, -1.2, 1.2)
    ease = np.array([p.variant.archetype.ease for p in products])
    safety = np.array([_SAFETY[p.family] - 0.3 * max(p.risk, 0) * (p.risk > 0) for p in products])
    status = np.array([p.variant.archetype.status + 0.35 * _tier_level(p.variant) for p in products])
    attributes = np.stack([price, ease, safety, status], axis=1)
    return (attributes + rng.normal(0, 0.15, attributes.shape)).astype(np.float32)


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
