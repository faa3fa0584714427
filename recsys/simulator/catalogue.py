"""The bank's products: their facts, how these changed in time, and how well each serves which need."""

import random
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from recsys.simulator.archetypes import choose_variants
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.lifecycle import plan_changes
from recsys.simulator.products import PRODUCT_SCHEMA, Product, describe, draw_product, tier_level
from recsys.simulator.world import CHANNEL_NAMES, NEEDS, SEGMENTS, Bools, Floats, Ints

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
    products = [draw_product(index, variant, config, lexicon, rng) for index, variant in enumerate(shuffled)]
    _link_prerequisites(products)
    _withhold_one_rating(products)
    for product in products:
        product.row["description"] = describe(product, lexicon, words)
    plan_changes(products, config, rng)
    return _with_arrays(products, lexicon.scale, config, rng)


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
    status = np.array([p.variant.archetype.status + 0.35 * tier_level(p.variant) for p in products])
    attributes = np.stack([price, ease, safety, status], axis=1)
    return (attributes + rng.normal(0, 0.15, attributes.shape)).astype(np.float32)


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
