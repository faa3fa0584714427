"""Qini, AUUC and uplift at k against hand-made cases and scikit-uplift."""

import numpy as np
import pytest
from sklift.metrics import qini_curve, uplift_at_k, uplift_curve

from recsys.metrics.uplift import Trial, auuc, bootstrap_qini, qini, uplift_at, uplift_curves


def _trial(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores, treated = rng.random(n).round(2), rng.random(n) < 0.4
    return scores, treated, (rng.random(n) < 0.2 + 0.3 * treated * scores).astype(np.float64)


def test_qini_hand_computed_four_rows() -> None:
    """Q = 1/2, 1/2, 1/2, 1/2 at the quarters: area 1/16 + 3/8, less the line's 1/4."""
    value = qini(np.array([4, 3, 2, 1]), np.array([True, False, True, False]), np.array([1, 0, 0, 0]))
    assert value == pytest.approx(7 / 16 - 1 / 4)


def test_auuc_hand_computed_four_rows() -> None:
    """U = 0, 1/2, 3/8, 1/2 at the quarters: trapezoids 0, 1/16, 7/64, 7/64."""
    value = auuc(np.array([4, 3, 2, 1]), np.array([True, False, True, False]), np.array([1, 0, 0, 0]))
    assert value == pytest.approx(1 / 16 + 7 / 64 + 7 / 64)


@pytest.mark.parametrize("seed", range(5))
def test_curves_of_random_trials_equal_scikit_uplift(seed: int) -> None:
    scores, treated, outcome = _trial(seed=seed)
    ours = uplift_curves(scores, treated, outcome)
    x, gain = qini_curve(outcome, scores, treated.astype(int))
    assert np.interp(x / len(scores), ours.share, ours.qini)[3:] == pytest.approx((gain / treated.sum())[3:], abs=1e-9)
    x, lift = uplift_curve(outcome, scores, treated.astype(int))
    assert np.interp(x / len(scores), ours.share, ours.uplift)[3:] == pytest.approx((lift / len(scores))[3:], abs=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_uplift_at_share_equals_scikit_uplift(share: float) -> None:
    """Scores without ties: scikit-uplift takes tied rows from the last to the first."""
    scores, treated, outcome = _trial()
    scores = np.random.default_rng(1).permutation(len(scores)).astype(np.float64)
    theirs = uplift_at_k(outcome, scores, treated.astype(int), strategy="overall", k=share)
    assert uplift_at(share, scores, treated, outcome) == pytest.approx(theirs)


def test_uplift_at_all_is_the_plain_difference_of_means() -> None:
    scores, treated, outcome = _trial()
    assert uplift_at(1.0, scores, treated, outcome) == pytest.approx(outcome[treated].mean() - outcome[~treated].mean())


def test_qini_of_equal_scores_is_zero() -> None:
    _, treated, outcome = _trial()
    assert qini(np.ones(len(treated)), treated, outcome) == pytest.approx(0.0)


def test_weights_of_two_equal_the_row_twice() -> None:
    scores, treated, outcome = _trial()
    weights = np.where(np.arange(len(scores)) % 3 == 0, 2, 1)
    twice = [np.repeat(column, weights) for column in (scores, treated, outcome)]
    assert qini(scores, treated, outcome, weights) == pytest.approx(qini(*twice))


def test_bootstrap_interval_of_a_true_order_is_above_zero_and_repeats() -> None:
    scores, treated, outcome = _trial(6000)
    trial = Trial(treated, outcome, np.ones(6000), np.arange(6000) // 2)
    interval, drawn = bootstrap_qini(scores, trial)
    assert interval.low > 0
    assert interval.mean == pytest.approx(qini(scores, treated, outcome))
    assert interval.low < interval.mean < interval.high
    assert (bootstrap_qini(scores, trial)[1] == drawn).all()


def test_uplift_of_one_side_is_refused() -> None:
    with pytest.raises(ValueError, match="treated and others"):
        qini(np.arange(3), np.ones(3, bool), np.ones(3))
