"""One product: its name, facts and description in the canonical columns."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.simulator.archetypes import Variant
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon, capitalise, draw
from recsys.simulator.world import CHANNEL_NAMES, INVESTMENT_FAMILIES

UTC_TIME = pl.Datetime("us", "UTC")
PRODUCT_SCHEMA: Final = pl.Schema(
    {
        "product_id": pl.String(),
        "event_timestamp": UTC_TIME,
        "name": pl.String(),
        "category": pl.String(),
        "description": pl.String(),
        "image_path": pl.String(),
        "currency": pl.String(),
        "rate": pl.Float64(),
        "fee": pl.Float64(),
        "min_amount": pl.Float64(),
        "term_months": pl.Int64(),
        "issuer_risk": pl.String(),
        "bank_risk": pl.String(),
        "is_credit": pl.Boolean(),
        "repeatable": pl.Boolean(),
        "status": pl.String(),
        "available_from": UTC_TIME,
        "available_to": UTC_TIME,
        "capacity": pl.Int64(),
        "min_age": pl.Int64(),
        "countries": pl.List(pl.String()),
        "segments": pl.List(pl.String()),
        "channels": pl.List(pl.String()),
        "prerequisites": pl.List(pl.String()),
        "value": pl.Float64(),
        "benefits": pl.List(pl.String()),
    }
)


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


def draw_product(
    index: int, variant: Variant, config: SimulatorConfig, lexicon: Lexicon, rng: np.random.Generator
) -> Product:
    """Draws the facts of a product; its description follows when the facts are final (`describe`)."""
    return Product(index, variant, _base_row(index, variant, config, lexicon, rng), _risk(variant))


def describe(product: Product, lexicon: Lexicon, words: random.Random) -> str:
    """A description of three sentences: what it is, its facts, its benefits."""
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
    return lexicon.gap.join(capitalise(sentence) for sentence in sentences)


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


def tier_level(variant: Variant) -> int:
    """0 standard, 1 plus, 2 premier."""
    tiers = variant.archetype.tiers
    return {"standard": 0, "plus": 1, "premier": 2}[tiers[variant.number]] if tiers else 0


def _base_row(
    index: int, variant: Variant, config: SimulatorConfig, lexicon: Lexicon, rng: np.random.Generator
) -> dict[str, Any]:
    kind, family = variant.archetype, variant.archetype.family
    opened = config.start - timedelta(days=int(rng.integers(400, 2500)))
    level = tier_level(variant)
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
