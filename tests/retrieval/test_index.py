"""Both indexes against a slow sort in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.retrieval.index import (
    NO_CANDIDATE,
    ApproximateIndex,
    ExactIndex,
    Found,
    Index,
    IndexConfig,
    IndexKind,
    build_index,
    top_k,
)

CONFIGS = [IndexConfig(), IndexConfig(kind=IndexKind.APPROXIMATE)]


def slow_top_k(scores: np.ndarray, k: int) -> Found:
    """Row by row, by (score descending, id ascending), without what scores -inf."""
    ids = np.full((len(scores), k), NO_CANDIDATE)
    best = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for row, values in enumerate(scores.tolist()):
        ranked = sorted((-value, column) for column, value in enumerate(values) if value > -np.inf)[:k]
        for place, (negative, column) in enumerate(ranked):
            ids[row, place], best[row, place] = column, -negative
    return Found(ids, best)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, expected, strict=True)]))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 5),
    st.integers(0, 40),
    st.integers(1, 12),
    st.integers(1, 6),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_top_k_any_scores_with_ties_and_masks_equals_slow_sort(rows, size, k, levels, masked, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels + 1, (rows, size)).astype(np.float32)
    scores[rng.random(scores.shape) < masked] = -np.inf
    found, expected = top_k(scores, k), slow_top_k(scores, k)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("share", [None, 0.9, 0.02])
def test_exact_search_chunked_queries_equals_slow_sort(rng, share, monkeypatch):
    monkeypatch.setattr("recsys.retrieval.index._CHUNK_SCORES", 1000)
    candidates, queries = rng.normal(size=(300, 16)), rng.normal(size=(23, 16))
    # Small integers: products and sums are exact in float32, so the oracle's scores are the same bits.
    candidates, queries = np.rint(candidates * 3), np.rint(queries * 3)
    allowed = None if share is None else rng.random((23, 300)) < share
    scores = (queries @ candidates.T).astype(np.float32)
    if allowed is not None:
        scores[~allowed] = -np.inf
    found, expected = ExactIndex(candidates).search(queries, 10, allowed), slow_top_k(scores, 10)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
class TestEveryIndex:
    def test_search_nothing_allowed_returns_padding(self, rng, config):
        index = build_index(unit(rng.normal(size=(20, 8))), config)
        found = index.search(unit(rng.normal(size=(3, 8))), 4, np.zeros((3, 20), dtype=bool))
        assert (found.ids == NO_CANDIDATE).all()
        assert (found.scores == -np.inf).all()

    def test_search_k_beyond_candidates_pads(self, rng, config):
        index = build_index(unit(rng.normal(size=(3, 8))), config)
        found = index.search(unit(rng.normal(size=(2, 8))), 5)
        assert (np.sort(found.ids[:, :3], axis=1) == [0, 1, 2]).all()
        assert (found.ids[:, 3:] == NO_CANDIDATE).all()

    def test_search_no_candidates_returns_padding(self, config):
        found = build_index(np.zeros((0, 8), dtype=np.float32), config).search(np.ones((2, 8), np.float32), 3)
        assert found.ids.tolist() == [[NO_CANDIDATE] * 3] * 2

    def test_search_no_queries_returns_no_rows(self, rng, config):
        found = build_index(rng.normal(size=(5, 8)), config).search(np.zeros((0, 8), np.float32), 3)
        assert found.ids.shape == found.scores.shape == (0, 3)

    def test_search_equal_candidates_returns_lowest_ids_first(self, config):
        index = build_index(np.ones((30, 4), dtype=np.float32), config)
        found = index.search(np.ones((2, 4), np.float32), 30)
        assert found.ids.tolist() == [list(range(30))] * 2

    def test_search_narrow_mask_returns_all_that_is_allowed(self, rng, config):
        candidates, queries = unit(rng.normal(size=(2000, 16))), unit(rng.normal(size=(40, 16)))
        allowed = np.zeros((40, 2000), dtype=bool)
        for row in range(40):
            allowed[row, rng.choice(2000, row, replace=False)] = True
        found = build_index(candidates, config).search(queries, 10, allowed)
        expected = slow_top_k(np.where(allowed, queries @ candidates.T, -np.inf), 10)
        np.testing.assert_array_equal(found.ids, expected.ids)

    def test_search_never_returns_what_is_not_allowed(self, rng, config):
        candidates, queries = unit(rng.normal(size=(1000, 16))), unit(rng.normal(size=(50, 16)))
        allowed = rng.random((50, 1000)) < 0.5
        found = build_index(candidates, config).search(queries, 20, allowed)
        assert np.take_along_axis(allowed, found.ids, axis=1).all()

    def test_search_same_candidates_twice_gives_same_answer(self, rng, config):
        candidates, queries = unit(rng.normal(size=(3000, 16))), unit(rng.normal(size=(20, 16)))
        first, second = (build_index(candidates, config).search(queries, 10) for _ in range(2))
        np.testing.assert_array_equal(first.ids, second.ids)
        np.testing.assert_array_equal(first.scores, second.scores)

    def test_search_wrong_input_names_the_rule(self, rng, config):
        index: Index = build_index(rng.normal(size=(5, 8)), config)
        queries = rng.normal(size=(2, 8))
        with pytest.raises(ValueError, match="7 dimensions, candidates 8"):
            index.search(np.zeros((2, 7)), 1)
        with pytest.raises(ValueError, match="k must be at least 1"):
            index.search(queries, 0)
        with pytest.raises(ValueError, match="queries must be finite"):
            index.search(np.full((2, 8), np.nan), 1)
        with pytest.raises(ValueError, match=r"allowed must be bool of shape \(2, 5\)"):
            index.search(queries, 1, np.ones((2, 4), dtype=bool))
        with pytest.raises(ValueError, match="candidates must be finite"):
            build_index(np.full((2, 8), np.inf), config)
        with pytest.raises(ValueError, match="must be a matrix"):
            build_index(np.zeros(8), config)


def test_approximate_search_unclustered_vectors_keeps_recall_above_95_percent(rng):
    # Independent directions are the hardest case for a graph; towers' outputs are clustered.
    candidates, queries = unit(rng.normal(size=(5000, 64))), unit(rng.normal(size=(100, 64)))
    index = ApproximateIndex(candidates, IndexConfig(kind=IndexKind.APPROXIMATE))
    expected = ExactIndex(candidates).search(queries, 10)
    found = index.search(queries, 10)
    assert recall(found.ids, expected.ids) > 0.95
    own = np.einsum("bkd,bd->bk", candidates[found.ids], queries)
    np.testing.assert_allclose(found.scores, own, atol=1e-5)


def test_build_index_kind_of_config_decides_class(rng):
    vectors = rng.normal(size=(5, 4))
    assert isinstance(build_index(vectors, IndexConfig()), ExactIndex)
    assert isinstance(build_index(vectors, IndexConfig.parse({"kind": "approximate"}, "test")), ApproximateIndex)
