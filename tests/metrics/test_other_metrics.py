import doctest
import importlib
import itertools
import pkgutil

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

import recsys.data
import recsys.metrics
from recsys.metrics import bootstrap
from recsys.metrics.bootstrap import bootstrap_difference, bootstrap_mean
from recsys.metrics.calibration import brier_score, expected_calibration_error, reliability_table
from recsys.metrics.coverage import catalogue_coverage, gini_of_exposure, intra_list_diversity, novelty
from recsys.metrics.ranking import top_k

MODULES = [
    module.name
    for package in (recsys.metrics, recsys.data)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run_and_are_true(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_gini_random_exposure_equals_the_mean_absolute_difference():
    generator = np.random.default_rng(0)
    ranked = top_k(generator.random((50, 12)) * np.linspace(1, 3, 12), 4)
    shown = np.bincount(ranked.ravel(), minlength=12)
    differences = np.abs(shown[:, None] - shown[None, :]).mean()
    assert gini_of_exposure(ranked, 12) == pytest.approx(differences / (2 * shown.mean()))


def test_coverage_empty_lists_cover_nothing():
    empty = np.full((3, 2), -1)
    assert catalogue_coverage(empty, 5) == 0
    assert np.isnan(gini_of_exposure(empty, 5))
    assert np.isnan(novelty(empty, np.ones(5), 5)).all()
    assert np.isnan(intra_list_diversity(empty, np.eye(5))).all()


def test_coverage_item_beyond_the_catalogue_is_refused():
    with pytest.raises(ValueError, match="the catalogue has 3"):
        catalogue_coverage(np.array([[3]]), 3)


def test_novelty_rarer_items_carry_more_bits():
    bits = novelty(np.array([[0], [1], [2]]), np.array([99, 9, 0]), 99)
    assert bits.tolist() == pytest.approx([0.0, np.log2(10), np.log2(100)])
    with pytest.raises(ValueError, match="from 0 to 5"):
        novelty(np.array([[0]]), np.array([6]), 5)


def test_intra_list_diversity_random_lists_equal_all_pairs():
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(20, 5))
    vectors[7] = 0
    ranked = np.stack([generator.permutation(20)[:6] for _ in range(9)])
    ranked[0, 2:] = ranked[1, 1:] = -1
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    for got, row in zip(intra_list_diversity(ranked, vectors), ranked, strict=True):
        pairs = [1 - unit[a] @ unit[b] for a, b in itertools.combinations(row[row >= 0], 2)]
        np.testing.assert_allclose(got, np.mean(pairs) if pairs else np.nan, rtol=1e-10)


@pytest.mark.parametrize("scheme", ["mass", "width"])
def test_reliability_table_distinct_probabilities_equal_scikit_learn(scheme):
    generator = np.random.default_rng(2)
    probabilities = generator.random(1000)
    outcomes = (generator.random(1000) < probabilities).astype(int)
    table = reliability_table(probabilities, outcomes, 10, scheme)
    strategy = {"mass": "quantile", "width": "uniform"}[scheme]
    observed, predicted = calibration_curve(outcomes, probabilities, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(table.observed, observed)
    np.testing.assert_allclose(table.predicted, predicted)
    assert table.cases.sum() == 1000


def test_expected_calibration_error_known_gap_is_found():
    outcomes = np.array([1] * 30 + [0] * 70)
    for scheme in ("mass", "width"):
        assert expected_calibration_error(np.full(100, 0.3), outcomes, 10, scheme) == pytest.approx(0)
        assert expected_calibration_error(np.full(100, 0.5), outcomes, 10, scheme) == pytest.approx(0.2)


@pytest.mark.parametrize("scheme", ["mass", "width"])
def test_expected_calibration_error_ties_do_not_depend_on_the_order(scheme):
    generator = np.random.default_rng(3)
    probabilities = generator.choice([0.1, 0.2, 0.9], 200)
    outcomes = generator.integers(0, 2, 200)
    order = generator.permutation(200)
    one = expected_calibration_error(probabilities, outcomes, 7, scheme)
    other = expected_calibration_error(probabilities[order], outcomes[order], 7, scheme)
    assert one == pytest.approx(other, abs=1e-12)


def test_brier_score_equals_scikit_learn():
    generator = np.random.default_rng(4)
    probabilities, outcomes = generator.random(300), generator.integers(0, 2, 300)
    assert brier_score(probabilities, outcomes) == pytest.approx(brier_score_loss(outcomes, probabilities))


@pytest.mark.parametrize(
    ("probabilities", "outcomes", "words"),
    [
        ([0.5], [0.5], "outcomes must be 0 or 1"),
        ([1.5], [1], "from 0 to 1"),
        ([np.nan], [1], "from 0 to 1"),
        ([], [], "n above 0"),
        ([0.5], [1, 0], "must be"),
    ],
)
def test_calibration_malformed_input_is_refused(probabilities, outcomes, words):
    with pytest.raises(ValueError, match=words):
        brier_score(np.array(probabilities), np.array(outcomes))


def test_bootstrap_mean_normal_values_agree_with_the_normal_interval():
    values = np.random.default_rng(5).normal(3.0, 2.0, 4000)
    interval = bootstrap_mean(values)
    half = norm.ppf(0.975) * values.std(ddof=1) / np.sqrt(4000)
    assert interval.n == 4000
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_mean_same_seed_same_interval_in_any_chunks(monkeypatch):
    values = np.random.default_rng(6).random(101)
    whole = bootstrap_mean(values, samples=333)
    assert bootstrap_mean(values, samples=333, seed=1) != whole
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 1000)
    assert bootstrap_mean(values, samples=333) == whole


def test_bootstrap_difference_pairs_users():
    """Two noisy series that differ by a constant: the pairing takes all the noise away."""
    values = np.random.default_rng(7).random(500)
    interval = bootstrap_difference(values + 0.25, values)
    assert interval == pytest.approx((0.25, 0.25, 0.25, 500))
    with pytest.raises(ValueError, match="the same users"):
        bootstrap_difference(values, values[1:])


@pytest.mark.parametrize(
    ("values", "options"), [([], {}), ([np.nan], {}), ([1.0], {"level": 1.0}), ([1.0], {"samples": 0})]
)
def test_bootstrap_mean_malformed_input_is_refused(values, options):
    with pytest.raises(ValueError, match="must be"):
        bootstrap_mean(np.array(values), **options)


@pytest.mark.slow
def test_bootstrap_mean_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(8)
    intervals = [bootstrap_mean(generator.random(80), samples=400, seed=seed) for seed in range(300)]
    covered = np.mean([interval.low <= 0.5 <= interval.high for interval in intervals])
    assert 0.90 <= covered <= 0.98
