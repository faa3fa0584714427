"""The blend of responses and ranking: it finds weights that are there, and stays away where they are not."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from recsys.ranking.blend import Blend, blend_inputs, log_shares
from training.response_blend import _cross_validate, fit_weights
from training.response_config import ResponseRecipe

RECIPE = ResponseRecipe()


def drawn(weights: tuple[float, float, float], constant: float, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = rng.normal([-5, 0, -4], [1, 1.5, 2], (n, 3))
    chance = 1 / (1 + np.exp(-(constant + inputs @ np.array(weights))))
    return inputs, (rng.random(n) < chance).astype(float)


def test_weights_are_those_of_another_library_where_there_is_no_prior() -> None:
    inputs, answer = drawn((0.6, 0.3, 0.5), 0.4)
    constant, weights = fit_weights(inputs, answer, 0.0)
    other = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(inputs, answer)
    np.testing.assert_allclose([constant, *weights], [other.intercept_[0], *other.coef_[0]], atol=0.01)


def test_no_weight_is_below_zero_and_a_strong_prior_holds_to_the_response_model() -> None:
    inputs, answer = drawn((0.6, -0.5, 0.5), 0.4)
    assert fit_weights(inputs, answer, 4.0)[1][1] == 0
    np.testing.assert_allclose(fit_weights(inputs, answer, 1e6)[1], [1, 0, 0], atol=0.01)
    constant, weights = fit_weights(inputs, answer, None)
    assert weights.tolist() == [1, 0, 0]
    assert (1 / (1 + np.exp(-(constant + inputs[:, 0])))).sum() == pytest.approx(answer.sum(), rel=1e-3)


def test_cross_validation_sees_the_rankings_part_where_there_is_one() -> None:
    request = np.arange(40_000) // 2
    alone, together = _cross_validate(*drawn((0.6, 0.4, 0.5), 0.4), request, RECIPE)
    assert together < alone - 1e-3
    alone, together = _cross_validate(*drawn((1.0, 0.0, 0.0), -0.2), request, RECIPE)
    assert together > alone - 1e-4


def test_blend_says_less_than_the_click_and_more_than_the_conversion() -> None:
    blend = Blend(constant=0.3, response=0.5, ranker=0.3, tower=0.5, converts=0.66)
    found = np.array([[0.4, 0.02, 0.012], [0.1, 0.0, 0.0], [0.01, 0.009, 0.001]])
    share = log_shares(np.array([[4.0, 0.0, 1.0]], np.float32))[0]
    mixed = blend(found, blend_inputs(found[:, 1], np.array([2.0, 1.0, 9.0]), share))
    assert (mixed[:, 0] == found[:, 0]).all()
    assert (np.diff(mixed, axis=1) <= 0).all()
    assert mixed[1, 2] > 0  # of what was never seen to convert, something may
    by_hand = 1 / (1 + np.exp(-(0.3 + 0.5 * np.log(0.02 / 0.98) + 0.3 * 2.0 + 0.5 * share[0])))
    assert mixed[0, 1] == pytest.approx(by_hand)
    np.testing.assert_allclose(np.exp(log_shares(np.zeros((2, 5)))).sum(axis=1), 1)
