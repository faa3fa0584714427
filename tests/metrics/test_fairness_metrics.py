"""Groups compared: against closed forms, numpy and scikit-learn, and data whose answer is known."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recsys.metrics.bootstrap import bootstrap_mean
from recsys.metrics.fairness import (
    FOUR_FIFTHS,
    Resampled,
    calibration_residuals,
    chance_of_shortfall,
    exposure_by_family,
    mean_gap,
    mean_of,
    resample,
    share_gap,
    share_of,
    share_ratio,
)
from recsys.metrics.separation import auc

RNG = np.random.default_rng(0)


def group(rate: float, n: int, seed: int) -> Resampled:
    """Of n users, each shown one thing, a share `rate` is shown credit."""
    shown = np.zeros(n)
    shown[: round(rate * n)] = 1
    return resample(np.column_stack([shown, np.ones(n)]), 500, seed)


def test_resample_means_agree_with_the_bootstrap_of_means() -> None:
    values = RNG.normal(2, 1, 400)
    mine, theirs = mean_of(resample(values[:, None], 2000, 1), 0), bootstrap_mean(values, 2000, seed=2)
    assert mine.mean == pytest.approx(theirs.mean)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_resample_in_chunks_is_as_wide_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.normal(0, 1, (60, 1))
    once = mean_of(resample(values, 1000), 0)
    monkeypatch.setattr("recsys.metrics.fairness.DRAWS_AT_ONCE", 700)
    chunked = mean_of(resample(values, 1000), 0)
    assert chunked.high - chunked.low == pytest.approx(once.high - once.low, rel=0.15)


@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.array([1.0]), np.array([[np.nan]])])
def test_resample_of_nobody_or_nothing_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        resample(values)


def test_share_ratio_covers_the_truth_and_one_for_equal_groups() -> None:
    ratio = share_ratio(group(0.3, 900, 1), group(0.5, 900, 2), 0, 1)
    assert ratio is not None
    assert ratio.mean == pytest.approx(0.6)
    # delta method: se(log ratio) = sqrt((1-p)/(np) + (1-q)/(nq))
    error = np.sqrt(0.7 / (900 * 0.3) + 0.5 / (900 * 0.5))
    assert np.log([ratio.low, ratio.high]) == pytest.approx(np.log(0.6) + np.array([-1.96, 1.96]) * error, abs=0.02)
    equal = share_ratio(group(0.4, 500, 1), group(0.4, 500, 2), 0, 1)
    assert equal is not None
    assert equal.low < 1 < equal.high


def test_share_and_gap_weigh_users_by_what_they_were_shown() -> None:
    table = resample(np.array([[1.0, 1.0], [0.0, 3.0]]), 50)
    share = share_of(table, 0, 1)
    assert share is not None
    assert share.mean == 0.25
    gap = share_gap(table, resample(np.array([[1.0, 2.0], [1.0, 2.0]]), 50), 0, 1)
    assert gap is not None
    assert gap.mean == -0.25
    assert mean_gap(table, resample(np.array([[0.0, 0.0], [0.0, 0.0]]), 50), 0).mean == 0.5


def test_share_of_nothing_is_none() -> None:
    nothing, something = resample(np.zeros((12, 2)), 500), group(0.5, 12, 1)
    assert share_of(nothing, 0, 1) is None
    assert share_gap(nothing, something, 0, 1) is None
    assert share_ratio(something, group(0.0, 12, 2), 0, 1) is None
    assert chance_of_shortfall(nothing, something, 0, 1, FOUR_FIFTHS) == 1.0


def test_chance_of_shortfall_is_small_below_the_bound_and_large_above_it() -> None:
    reference = group(0.5, 1000, 1)
    assert chance_of_shortfall(group(0.2, 1000, 2), reference, 0, 1, FOUR_FIFTHS) < 1e-6
    assert chance_of_shortfall(group(0.4, 1000, 2), reference, 0, 1, FOUR_FIFTHS) == pytest.approx(0.5, abs=0.02)
    assert chance_of_shortfall(group(0.5, 1000, 2), reference, 0, 1, FOUR_FIFTHS) > 0.99


def test_chance_of_shortfall_of_a_small_group_that_sees_nothing_is_not_certain() -> None:
    """Ten people who all missed what one in twenty sees: that happens to 60 of 100 such groups."""
    assert chance_of_shortfall(group(0.0, 10, 2), group(0.05, 1000, 1), 0, 1, FOUR_FIFTHS) > 0.2


def test_chance_of_shortfall_raises_few_false_alarms() -> None:
    """Groups that are treated at the bound exactly fall below 5 % about one time in twenty."""
    rng = np.random.default_rng(3)
    reference = resample(np.column_stack([rng.random(2000) < 0.5, np.ones(2000)]), 300, 1)
    small = [
        chance_of_shortfall(
            resample(np.column_stack([rng.random(80) < 0.4, np.ones(80)]), 300, seed), reference, 0, 1, FOUR_FIFTHS
        )
        for seed in range(200)
    ]
    assert np.mean(np.array(small) < 0.05) < 0.1


def test_exposure_by_family_adds_up_to_the_discounts_of_the_list() -> None:
    ranked = np.array([[2, 0, 1, -1], [1, -1, -1, -1], [-1, -1, -1, -1]])
    families = np.array([[True, False, False], [False, True, True]])
    found = exposure_by_family(ranked, families)
    discount = 1 / np.log2([2, 3, 4])
    assert found[0] == pytest.approx([discount[1], discount[0] + discount[2], discount.sum()])
    assert found[1] == pytest.approx([0, 1, 1])
    assert found[2].tolist() == [0, 0, 0]
    assert found[:, :-1].sum(axis=1) == pytest.approx(found[:, -1])


def test_calibration_residuals_sum_to_zero_over_everybody() -> None:
    shown = np.arange(6)[None, :] < RNG.integers(0, 7, 300)[:, None]
    hits = RNG.random((300, 6)) < 0.3
    residual, length = calibration_residuals(hits, shown).T
    assert residual.sum() == pytest.approx(0, abs=1e-9)
    assert length.tolist() == shown.sum(axis=1).tolist()


def test_calibration_residuals_of_a_group_that_wants_less_are_negative_at_every_length() -> None:
    wants = np.repeat([0.4, 0.1], 500)
    hits = RNG.random((1000, 5)) < wants[:, None]
    shown = np.arange(5)[None, :] < RNG.integers(1, 6, 1000)[:, None]
    residual, length = calibration_residuals(hits, shown).T
    rates = [residual[part].sum() / length[part].sum() for part in (slice(0, 500), slice(500, None))]
    assert rates == pytest.approx([0.15, -0.15], abs=0.03)


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_auc_equals_scikit_learns_with_and_without_ties(decimals: int) -> None:
    positive = RNG.random(300) < 0.3
    scores = np.round(RNG.normal(0, 1, 300) + positive, decimals)
    found = auc(scores, positive)
    assert found.mean == pytest.approx(roc_auc_score(positive, scores))
    assert found.low < found.mean < found.high


def test_auc_interval_is_as_wide_as_resampling_makes_it() -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(250) < 0.4
    scores = rng.normal(0, 1, 250) + positive
    found = auc(scores, positive)
    inside, outside = np.flatnonzero(positive), np.flatnonzero(~positive)
    draws = []
    for _ in range(500):
        rows = np.concatenate([rng.choice(inside, len(inside)), rng.choice(outside, len(outside))])
        draws.append(roc_auc_score(positive[rows], scores[rows]))
    assert (found.low, found.high) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.02)


def test_auc_of_one_person_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        auc(np.array([1.0, 2.0, 3.0]), np.array([True, False, False]))
