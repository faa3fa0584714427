"""The measurement of faithfulness: it says yes where reasons are true and no where they are not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from recsys.decisions.answer import Decision, DecisionRequest, Placement
from recsys.decisions.evidence import Evidence
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import Features
from recsys.policy.facts import CustomerFacts
from recsys.policy.rules import RequestContext
from recsys.schema import Kind
from recsys.testing.tiny_scorer import HISTORY, NOW, PRODUCTS, SEGMENT, TEXT, tiny_pipeline
from training.faithfulness import Asked, FaithfulnessConfig, FaithfulnessMeter, Fall, summarise

CONFIG = FaithfulnessConfig(draws=4, samples=500)
REQUEST = DecisionRequest(NOW, (Placement("home", Kind.PRODUCTS, 3),), RequestContext(locale="en"))


def customers(count: int = 60) -> Iterator[Asked]:
    """Random customers with a segment, some history and a text that asks for several products."""
    rng = np.random.default_rng(3)
    facts = CustomerFacts.single({"risk_level": "C5", "risk_assessed_at": NOW - timedelta(days=1)})
    for _ in range(count):
        row: dict[str, Any] = {
            SEGMENT: str(rng.choice(["young", "affluent"])),
            HISTORY: [f"p{number:02}" for number in rng.integers(0, PRODUCTS, 6)],
            TEXT: (rng.random(PRODUCTS) * 1.5).tolist(),
        }
        yield Asked(row, facts)


class Lying(DecisionPipeline):
    """Says of everything that it fits who the customer is."""

    def decide(self, features: Features | None, facts: CustomerFacts | None, request: DecisionRequest) -> Decision:
        decision = super().decide(features, facts, request)
        profile, places = Evidence("customer_profile"), []
        for place in decision.placements:
            said = [[reason._replace(evidence=profile) for reason in item.reasons] for item in place.items]
            items = [item._replace(reasons=reasons) for item, reasons in zip(place.items, said, strict=True)]
            places.append(place._replace(items=items))
        return decision._replace(placements=places)


def measure(pipeline: DecisionPipeline) -> list[Fall]:
    return list(FaithfulnessMeter(pipeline, None, CONFIG).falls(customers(), REQUEST))


def test_faithfulness_of_true_reasons_is_above_zero() -> None:
    falls = measure(tiny_pipeline())
    report = summarise(falls, CONFIG)
    assert report.customers == 60
    assert report.faithful
    assert all(fall.named > 0 for fall in falls)
    assert report.to_json()["named_minus_random"]["low"] > 0


def test_faithfulness_of_made_up_reasons_is_not() -> None:
    true = tiny_pipeline()
    report = summarise(measure(Lying(true.scorer, true.policy, true.catalogue)), CONFIG)
    assert report.reasons > 100
    assert not report.faithful


def test_faithfulness_same_seed_same_numbers() -> None:
    assert measure(tiny_pipeline()) == measure(tiny_pipeline())


def test_falls_are_those_of_the_score_by_hand() -> None:
    row = {SEGMENT: "young", TEXT: [1.0 if number == 3 else 0.0 for number in range(PRODUCTS)]}
    asked = Asked(row, CustomerFacts.single({"risk_level": "C1", "risk_assessed_at": NOW}))
    request = DecisionRequest(NOW, (Placement("home", Kind.PRODUCTS, 1),))
    meter = FaithfulnessMeter(tiny_pipeline(), None, FaithfulnessConfig(draws=400))
    (fall,) = meter.falls([asked], request)
    assert (fall.code, fall.rank, fall.named) == ("TEXT", 1, 1.0)
    assert fall.random == pytest.approx(0.5, abs=0.1)  # one of two columns: 1.0 or nothing


def test_summarise_counts_each_customer_once() -> None:
    falls = [Fall(0, "TEXT", 1, 1.0, 0.0), Fall(0, "HISTORY", 2, 0.0, 0.5), Fall(1, "TEXT", 1, 0.5, 0.0)]
    report = summarise(falls, CONFIG)
    assert report.overall.mean == pytest.approx((0.25 + 0.5) / 2)
    assert {code: interval.n for code, interval in report.by_code.items()} == {"HISTORY": 1, "TEXT": 2}
    assert report.by_rank[2].mean == -0.5
