"""The forest gives LightGBM's own numbers, bit by bit, however the features are handed over."""

import lightgbm
import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.forest import MOST_LEAVES, Forest, Parts
from recsys.ranking.forest_loop import FEW

CUSTOMERS, PRODUCTS = 30, 40
WIDTHS = 6, 4, 9


def draw(rng: np.random.Generator, *shape: int, missing: float = 0.1) -> np.ndarray:
    """Numbers, some of them whole, zero, tiny, endless or missing."""
    values = rng.standard_normal(shape).astype(np.float32)
    values[:, ::2] = np.round(values[:, ::2])
    special = rng.random(shape)
    values[special < 0.02] = np.inf
    values[special > 0.98] = -np.inf
    values[(special > 0.5) & (special < 0.52)] = 1e-38
    values[rng.random(shape) < missing] = np.nan
    return values


def draw_parts(seed: int, missing: float = 0.1) -> Parts:
    """Some of the pairs: customers with many, with one and with none."""
    rng = np.random.default_rng(seed)
    chosen = rng.random((CUSTOMERS, PRODUCTS)) < 0.5
    chosen[[0, 7, CUSTOMERS - 1]] = False
    chosen[3] = np.arange(PRODUCTS) == 5
    customer, product = np.nonzero(chosen)
    own, its, both = WIDTHS
    pairs = draw(rng, len(product), both, missing=missing).T
    return Parts(
        draw(rng, CUSTOMERS, own, missing=missing),
        draw(rng, PRODUCTS, its, missing=missing),
        np.ascontiguousarray(pairs),
        customer,
        product,
    )


def fit(parts: Parts, **settings: object) -> lightgbm.Booster:
    rows = parts.rows()
    known = np.nan_to_num(rows, nan=0.5, posinf=3, neginf=-3)
    target = known[:, 0] * known[:, 7] + known[:, 11] - (known[:, 8] > 0) * known[:, 12] + np.isnan(rows[:, 13])
    parameters = {"num_leaves": 15, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1, "seed": 1} | settings
    return lightgbm.train(parameters, lightgbm.Dataset(rows, target), 60)


def by_lightgbm(booster: lightgbm.Booster, rows: np.ndarray, rounds: int = -1) -> np.ndarray:
    return np.asarray(booster.predict(rows, raw_score=True, num_iteration=rounds, num_threads=1))


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_leaves": 2}, {"num_leaves": MOST_LEAVES}, {"use_missing": False}, {"max_bin": 4}],
    ids=["fifteen", "stumps", "largest", "missing-is-zero", "coarse"],
)
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_predict_is_lightgbms_bit_by_bit(settings: dict[str, object], missing: float) -> None:
    """`missing` is that of what it learns from; asked about are always pairs with missing values."""
    booster = fit(draw_parts(0, missing), **settings)
    forest = Forest.parse(booster.model_to_string())
    assert forest is not None
    asked = draw_parts(1)
    rows = asked.rows()
    for rounds in (None, 1, 37, 1000):
        want = by_lightgbm(booster, rows, rounds or -1)
        assert len(np.unique(want)) > 1
        assert np.array_equal(forest.predict(asked, rounds), want)
        assert np.array_equal(forest.predict(Parts.of_rows(rows), rounds), want)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_predict_of_a_few_pairs_of_each_customer_is_lightgbms_bit_by_bit(missing: float) -> None:
    """They are asked about one by one."""
    booster, asked = fit(draw_parts(0, missing)), draw_parts(1)
    forest = Forest.parse(booster.model_to_string())
    assert forest is not None
    first = np.unique(asked.customer, return_index=True)[1]
    few = np.unique(np.concatenate([first, np.minimum(first + 1, len(asked.customer) - 1)]))
    some = asked._replace(pairs=asked.pairs[:, few], customer=asked.customer[few], product=asked.product[few])
    assert np.bincount(some.customer).max() < FEW < np.bincount(asked.customer).max()
    assert np.array_equal(forest.predict(some), by_lightgbm(booster, asked.rows()[few]))


def test_predict_at_the_thresholds_themselves_is_lightgbms() -> None:
    """A float32 at, just above and just below each float64 threshold."""
    booster = fit(draw_parts(0))
    text = booster.model_to_string()
    lines = [line.partition("=")[2].split() for line in text.splitlines() if line.startswith("threshold=")]
    thresholds = np.array([value for line in lines for value in line], np.float64)
    edges = np.unique(thresholds.clip(-3e38, 3e38).astype(np.float32))
    near = np.concatenate([edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))])
    rows = np.random.default_rng(2).choice(near, (2000, sum(WIDTHS)))
    forest = Forest.parse(text)
    assert forest is not None
    assert np.array_equal(forest.predict(Parts.of_rows(rows)), by_lightgbm(booster, rows))


def test_predict_of_a_constant_and_of_nobody() -> None:
    parts = draw_parts(0)
    booster = fit(parts, min_data_in_leaf=10_000)
    forest = Forest.parse(booster.model_to_string())
    assert forest is not None
    assert np.array_equal(forest.predict(parts), by_lightgbm(booster, parts.rows()))
    assert forest.predict(Parts.of_rows(np.zeros((0, sum(WIDTHS)), np.float32))).shape == (0,)


def test_parse_leaves_what_it_cannot_answer_to_lightgbm() -> None:
    parts = draw_parts(0)
    category = parts._replace(products=np.abs(np.nan_to_num(parts.products, posinf=1, neginf=1)).round())
    rows = category.rows()
    data = lightgbm.Dataset(rows, rows[:, WIDTHS[0]] % 2, categorical_feature=[WIDTHS[0]])
    quiet = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_per_group": 1, "max_cat_to_onehot": 1}
    others = {
        "large": fit(parts, num_leaves=MOST_LEAVES + 8),
        "zero": fit(parts, zero_as_missing=True),
        "average": fit(parts, boosting="rf", bagging_freq=1, bagging_fraction=0.5),
        "categorical": lightgbm.train(quiet, data, 5),
    }
    for booster in others.values():
        text = booster.model_to_string()
        assert Forest.parse(text) is None
        ranker = BoostedRanker(text)
        want = by_lightgbm(booster, rows).astype(np.float32)
        assert np.array_equal(ranker.predict(rows), want)
        assert np.array_equal(ranker.predict_parts(category), want)


def test_predict_with_too_few_features_is_refused() -> None:
    forest = Forest.parse(fit(draw_parts(0)).model_to_string())
    assert forest is not None
    with pytest.raises(ModelError, match=r"reads \d+ features and was given 3: train again"):
        forest.predict(Parts.of_rows(np.zeros((2, 3), np.float32)))


def test_values_that_no_tree_asks_for_are_never_looked_at() -> None:
    parts = draw_parts(0)
    label = (np.nan_to_num(parts.rows()[:, 2]) > 0).astype(np.float32)
    few = BoostedConfig(rounds=3, leaves=3, min_rows_in_leaf=20)
    ranker = BoostedRanker.fit(RankingRows(parts.rows(), label, parts.customer), few)
    used, rows = ranker.used(), parts.rows()
    assert 0 < len(used) < rows.shape[1]
    unused = np.setdiff1d(np.arange(rows.shape[1]), used)
    other = rows.copy()
    other[:, unused] = 99.0
    assert np.array_equal(ranker.predict(other), ranker.predict(rows))
    other[:, used] = 99.0
    assert not np.array_equal(ranker.predict(other), ranker.predict(rows))
