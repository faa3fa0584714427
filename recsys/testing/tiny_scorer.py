"""A tiny bank's catalogue and a scorer whose every score can be worked out by hand.

Twelve products, two creatives each. A customer's vector has one dimension a product: what his text asks for, 0.5 on
every product of a category in his history, 0.1 on what his segment likes. A product's score is its dimension.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import ScoreArray
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import BoolArray, IntArray
from recsys.policy.pack import load_pack
from recsys.schema import Kind, Modality, PolicyName

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
CATEGORIES: Final = ("savings", "card", "fund")
PRODUCTS: Final = 12
SEGMENT: Final = "customer_profile__segment"
HISTORY: Final = "customer_history__product_ids"
TEXT: Final = "customer_text__text_vector"
_FAVOURITE: Final = {"young": 1, "affluent": 2}


def tiny_products() -> pl.DataFrame:
    """p00 to p11: savings, card, fund in turn; the funds are rated R1 to R4; p09 is paused; p04 is repeatable."""
    rows = [
        {
            "product_id": f"p{number:02}",
            "name": f"Product {number}",
            "category": CATEGORIES[number % 3],
            "bank_risk": f"R{number // 3 + 1}" if number % 3 == 2 else None,
            "status": "paused" if number == 9 else "live",
            "repeatable": number == 4,
        }
        for number in range(PRODUCTS)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def tiny_contents() -> pl.DataFrame:
    """p00-a, p00-b, ...: two approved English creatives a product; those of p00 are drafts."""
    rows = [
        {
            "content_id": f"p{number:02}-{letter}",
            "product_id": f"p{number:02}",
            "headline": f"Headline {number}{letter}",
            "language": "en",
            "status": "draft" if number == 0 else "approved",
        }
        for number in range(PRODUCTS)
        for letter in "ab"
    ]
    return pl.DataFrame(rows)


class TinyScorer:
    """A `recsys.decisions.scoring.Scorer`."""

    def __init__(self, products: pl.DataFrame, contents: pl.DataFrame) -> None:
        self.product_ids: list[str] = products["product_id"].to_list()
        self.content_ids: list[str] = contents["content_id"].to_list()
        self._category: list[str] = products["category"].to_list()
        self._index = {product_id: position for position, product_id in enumerate(self.product_ids)}
        self._about = [self._index[product_id] for product_id in contents["product_id"].to_list()]

    @property
    def modalities(self) -> list[Modality]:
        """Three of the five."""
        return [Modality.PROFILE, Modality.HISTORY, Modality.TEXT]

    def encode(
        self, customers: Sequence[Mapping[str, Any]], now: Sequence[datetime], channel: str | None = None
    ) -> ScoreArray:
        """[B, P] float32."""
        return np.array([self._vector(customer) for customer in customers], dtype=np.float32)

    def score(self, vectors: ScoreArray, kind: Kind, allowed: BoolArray | None = None) -> ScoreArray:
        """[B, N], of all: the product's own dimension; the second creative of a product scores a little higher."""
        if kind is Kind.PRODUCTS:
            return vectors
        return vectors[:, self._about] + np.tile(np.array([0, 0.01], dtype=np.float32), len(self.product_ids))

    def score_items(self, vectors: ScoreArray, kind: Kind, items: IntArray) -> ScoreArray:
        """[B, K]."""
        return self.score(vectors, kind)[:, items]

    def popularity(self, segment: str | None, kind: Kind) -> ScoreArray:
        """[N]: the later a product is listed, the more popular; the segment's favourite category comes first."""
        scores = np.arange(len(self.product_ids), dtype=np.float32) + 100 * self._liked(segment)
        return scores if kind is Kind.PRODUCTS else scores[self._about]

    def companions(self, product: int) -> BoolArray:
        """[P]: many who chose p10 chose p01 after it."""
        return np.array([(product, other) == (10, 1) for other in range(len(self.product_ids))], dtype=bool)

    def ranker_contributions(self, states: ScoreArray, product: int) -> dict[str, float]:
        """There is no ranker."""
        return {}

    def missing_modalities(self, customer: Mapping[str, Any]) -> list[Modality]:
        """What the row lacks."""
        present = {Modality.PROFILE: SEGMENT, Modality.HISTORY: HISTORY, Modality.TEXT: TEXT}
        return [modality for modality, key in present.items() if not customer.get(key)]

    def _liked(self, segment: str | None) -> ScoreArray:
        favourite = _FAVOURITE.get(segment or "", 0)
        return np.array([category == CATEGORIES[favourite] for category in self._category], dtype=np.float32)

    def _vector(self, customer: Mapping[str, Any]) -> ScoreArray:
        vector = np.zeros(len(self.product_ids), dtype=np.float32)
        touched = {self._category[self._index[item]] for item in customer.get(HISTORY) or () if item in self._index}
        vector += 0.5 * np.array([category in touched for category in self._category], dtype=np.float32)
        vector += np.asarray(customer.get(TEXT) or np.zeros(len(vector)), dtype=np.float32)
        return vector + (0.1 * self._liked(customer[SEGMENT]) if customer.get(SEGMENT) else 0)


def tiny_pipeline(
    policy: PolicyName = PolicyName.BANK, repeatable: bool = False, exploration: float = 0.0
) -> DecisionPipeline:
    """The pipeline over the tiny catalogue; it tries nothing out unless a rate of `exploration` says so."""
    products, contents = tiny_products(), tiny_contents()
    pack = load_pack(policy)
    chosen = pack.exploration.model_copy(update={"rate": exploration})
    engine = PolicyEngine(pack.model_copy(update={"exploration": chosen}), repeatable)
    return DecisionPipeline(TinyScorer(products, contents), engine, Catalogue.from_frames(products, contents))


def asks_for(product: int) -> list[float]:
    """The text vector of a customer who asked about one product."""
    return [1.0 if number == product else 0.0 for number in range(PRODUCTS)]
