"""The gate, on differences whose sign is known."""

import numpy as np

from training.config import EvaluationConfig
from training.promote import decide_promotion

CONFIG = EvaluationConfig(bootstrap_samples=200)
NOISE = np.random.default_rng(0).uniform(0, 0.1, 200)


def test_challenger_above_popularity_without_a_champion_is_promoted() -> None:
    decision = decide_promotion(NOISE + 0.2, {"popularity": NOISE}, None, CONFIG)
    assert decision.passed
    assert decision.differences["popularity"]["low"] > 0


def test_challenger_below_popularity_is_refused_and_the_reason_names_it() -> None:
    decision = decide_promotion(NOISE, {"popularity": NOISE + 0.2}, None, CONFIG)
    assert not decision.passed
    assert "does not beat popularity" in decision.reasons[0]


def test_challenger_that_is_worse_than_the_champion_is_refused() -> None:
    decision = decide_promotion(NOISE + 0.2, {"popularity": NOISE}, NOISE + 0.4, CONFIG)
    assert not decision.passed
    assert "worse than the champion" in decision.reasons[-1]


def test_challenger_that_equals_the_champion_is_promoted() -> None:
    assert decide_promotion(NOISE + 0.2, {"popularity": NOISE}, NOISE + 0.2, CONFIG).passed


def test_challenger_that_is_never_wrong_passes_beside_a_baseline_that_is_not_either() -> None:
    right = np.ones(200)
    decision = decide_promotion(right, {"popularity": right}, None, CONFIG)
    assert decision.passed
    assert "right about every question, as is popularity" in decision.reasons[0]
    assert not decide_promotion(right - 0.1, {"popularity": right - 0.1}, None, CONFIG).passed
