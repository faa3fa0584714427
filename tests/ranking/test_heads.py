"""Heads: each learns where it counts, the average stands in where there is too little, files give back the same."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.heads import BoostedHeads, HeadRows, NetworkConfig, TastefulClick
from recsys.ranking.network_heads import NetworkHeads

SMALL = BoostedConfig(leaves=4, rounds=40, min_rows_in_leaf=20, feature_share=1.0)


def _rows(n: int, seed: int = 0) -> HeadRows:
    """Clicks follow the first feature, applications after a click the second; the third is noise with gaps."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3)).astype(np.float32)
    clicked = rng.random(n) < 1 / (1 + np.exp(-2 * features[:, 0]))
    applied = clicked & (rng.random(n) < 1 / (1 + np.exp(-2 * features[:, 1])))
    converted = applied & (rng.random(n) < 0.3)
    features[rng.random(n) < 0.2, 2] = np.nan
    outcomes = np.stack([clicked, applied, converted], axis=1)
    counts = np.stack([np.ones(n, bool), clicked, applied], axis=1)
    return HeadRows(features, outcomes, counts, np.ones(n, np.float32))


def _aucs(logits: np.ndarray, rows: HeadRows) -> list[float]:
    return [
        roc_auc_score(rows.outcomes[rows.counts[:, head], head], logits[rows.counts[:, head], head])
        for head in range(2)
    ]


def test_boosted_heads_learn_each_outcome_given_the_one_before() -> None:
    heads = BoostedHeads.fit(_rows(4000), [SMALL, SMALL, None], 0, 1)
    fresh = _rows(4000, seed=1)
    logits = heads.predict(fresh.features)
    assert min(_aucs(logits, fresh)) > 0.8
    assert np.ptp(logits[:, 2]) == 0
    share = fresh.outcomes[fresh.counts[:, 2], 2].mean()
    assert 1 / (1 + np.exp(-logits[0, 2])) == pytest.approx(share, abs=0.05)


def test_network_heads_learn_the_same_and_survive_the_file() -> None:
    config = NetworkConfig(epochs=8, batch=128, learning_rate=5e-3)
    heads = NetworkHeads.fit(_rows(4000), config, 0)
    fresh = _rows(2000, seed=1)
    logits = heads.predict(fresh.features)
    assert min(_aucs(logits, fresh)) > 0.8
    again = NetworkHeads.from_arrays(heads.to_arrays(), config)
    np.testing.assert_array_equal(again.predict(fresh.features), logits)


def test_rows_that_do_not_count_teach_a_head_nothing() -> None:
    rows = _rows(3000)
    lies = rows.outcomes.copy()
    lies[~rows.counts] = True
    for fit in (
        lambda given: BoostedHeads.fit(given, [SMALL] * 3, 0, 1),
        lambda given: NetworkHeads.fit(given, NetworkConfig(epochs=1), 0),
    ):
        honest, lied = fit(rows), fit(rows._replace(outcomes=lies))
        np.testing.assert_array_equal(honest.predict(rows.features), lied.predict(rows.features))


def test_weight_moves_the_heads() -> None:
    rows = _rows(3000)
    heavy = rows._replace(weight=np.where(rows.outcomes[:, 0], 5.0, 1.0).astype(np.float32))
    plain, moved = (BoostedHeads.fit(one, [SMALL, None, None], 0, 1) for one in (rows, heavy))
    assert moved.predict(rows.features)[:, 0].mean() > plain.predict(rows.features)[:, 0].mean() + 1


def test_click_beside_a_linear_one_is_their_mean_and_its_trees_ask_for_nothing_hidden() -> None:
    """The first feature is linear and hidden from the trees; the second tells the rest of the click."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(6000, 3)).astype(np.float32)
    features[::5, 2] = np.nan  # without a weight: it may be missing
    truth = -2 + features[:, 0] + 2 * (features[:, 1] > 0)
    clicked = rng.random(6000) < 1 / (1 + np.exp(-truth))
    outcomes = np.stack([clicked, np.zeros(6000, bool), np.zeros(6000, bool)], axis=1)
    rows = HeadRows(features, outcomes, np.ones((6000, 3), bool), np.ones(6000, np.float32))
    weights, hidden = np.array([1, 0, 0], np.float32), np.array([True, False, False])
    taste = TastefulClick.fit(rows, weights, hidden, SMALL, 0, 1)
    assert 0 not in taste.trees.used()
    assert (1 / (1 + np.exp(-taste(features)))).mean() == pytest.approx(clicked.mean(), abs=0.01)
    assert np.abs(taste(features) - truth).mean() < 0.25
    heads = BoostedHeads.fit(rows, [SMALL, None, None], 0, 1)
    alone = heads.predict(features)
    both = BoostedHeads(heads.models, heads.averages, taste).predict(features)
    np.testing.assert_allclose(both[:, 0], (alone[:, 0] + taste(features)) / 2, rtol=1e-5)
    np.testing.assert_array_equal(both[:, 1:], alone[:, 1:])


def test_network_learns_beside_a_feature_that_nobody_has_and_says_nothing_of_it(
    recwarn: pytest.WarningsRecorder,
) -> None:
    rows = _rows(2000)
    bare = rows._replace(features=np.concatenate([rows.features, np.full((2000, 1), np.nan, np.float32)], axis=1))
    heads = NetworkHeads.fit(bare, NetworkConfig(epochs=8, batch=128, learning_rate=5e-3), 0)
    logits = heads.predict(bare.features)
    assert min(_aucs(logits, bare)) > 0.8
    assert not recwarn.list
