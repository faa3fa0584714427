import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score, ndcg_score

from recsys.metrics import ranking
from recsys.metrics.bootstrap import bootstrap_difference, bootstrap_mean
from recsys.metrics.coverage import catalogue_coverage
from recsys.metrics.ranking import (
    average_precision,
    expected_average_precision,
    expected_ranking_metrics,
    ranking_metrics,
    top_k,
)
from recsys.metrics.relevance import NO_ITEM, ListChecks, check_lists

EVALUATE = Path(__file__).parents[2] / "../shared/bench/evaluate.py"


def slow_metrics(ranked, relevant, k):
    """The definitions, one rank at a time: recall, ndcg, mrr, average precision."""
    hits = [rank for rank, item in enumerate(ranked[:k], start=1) if item in relevant]
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    dcg = sum(1 / np.log2(rank + 1) for rank in hits)
    precisions = [(place + 1) / rank for place, rank in enumerate(hits)]
    mrr = 1 / hits[0] if hits else 0.0
    return len(hits) / len(relevant), dcg / ideal, mrr, sum(precisions) / min(k, len(relevant))


def random_case(seed, users=40, items=30, k=10):
    generator = np.random.default_rng(seed)
    ranked = np.stack([generator.permutation(items)[:k] for _ in range(users)])
    ranked[np.arange(k) >= generator.integers(0, k + 1, users)[:, None]] = NO_ITEM
    relevant = [set(generator.choice(items, generator.integers(1, 15), replace=False).tolist()) for _ in range(users)]
    return ranked, relevant


@pytest.mark.parametrize("k", [1, 3, 7, 10])
def test_ranking_metrics_random_lists_equal_the_definitions(k):
    ranked, relevant = random_case(k)
    metrics = ranking_metrics(ranked, relevant, k)
    expected = [slow_metrics(row.tolist(), items, k) for row, items in zip(ranked, relevant, strict=True)]
    got = np.stack([*metrics, average_precision(ranked, relevant, k)], axis=1)
    np.testing.assert_allclose(got, np.array(expected), rtol=1e-12)


def test_ranking_metrics_sparse_relevant_equals_sets():
    ranked, relevant = random_case(5)
    rows = np.repeat(np.arange(len(relevant)), [len(items) for items in relevant])
    columns = np.concatenate([sorted(items) for items in relevant])
    sparse = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(relevant), 30))
    for got, expected in zip(ranking_metrics(ranked, sparse, 10), ranking_metrics(ranked, relevant, 10), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("ranked", "relevant", "k", "words"),
    [
        ([[1, 1]], [{1}], 2, "an item is repeated in 1 list"),
        ([[1, 2]], [set()], 2, "no relevant item"),
        ([[1, 2]], [{1}], 3, "the lists have 2 columns"),
        ([[1, 2]], [{1}], 0, "k is 0"),
        ([[1, -2]], [{1}], 2, "index -2"),
        ([[1.0, 2.0]], [{1}], 2, "must be an integer array"),
        ([[1, 2]], [{1}, {2}], 2, "about 2 users, the lists about 1"),
        ([[1, 2]], [{-1}], 2, "holds the item -1"),
    ],
)
def test_ranking_metrics_malformed_input_is_refused(ranked, relevant, k, words):
    with pytest.raises(ValueError, match=words):
        ranking_metrics(np.array(ranked), relevant, k)


def test_check_lists_counts_every_flaw():
    ranked = np.array([[0, 1, 2], [3, 3, 1], [4, -1, -1], [-1, -1, -1]])
    checks = check_lists(ranked, seen=[{2}, set(), {9}, {1}])
    assert checks == ListChecks(with_duplicates=1, with_seen=1, short=2, empty=1)


def enumerate_orders(scores, relevant, k):
    """The mean of all metrics over every order that a sort by `scores` may give."""
    candidates = [item for item in range(len(scores)) if scores[item] > -np.inf]
    groups = [
        [item for item in candidates if scores[item] == score]
        for score in sorted({scores[i] for i in candidates})[::-1]
    ]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    return np.mean([slow_metrics([item for group in order for item in group], relevant, k) for order in orders], axis=0)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, -np.inf]), min_size=2, max_size=6),
    st.integers(1, 7),
    st.data(),
)
def test_expected_metrics_ties_equal_the_mean_over_all_orders(scores, k, data):
    relevant = data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))
    matrix = np.array([scores])
    got = [column[0] for column in expected_ranking_metrics(matrix, [relevant], k)]
    got.append(expected_average_precision(matrix, [relevant], k)[0])
    if all(score == -np.inf for score in scores):
        assert got == [0, 0, 0, 0]
    else:
        np.testing.assert_allclose(got, enumerate_orders(scores, relevant, k), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("distinct", [1, 2, 5, 1000])
@pytest.mark.parametrize("k", [1, 5, 10, 40])
def test_expected_ndcg_ties_equals_scikit_learn(distinct, k):
    generator = np.random.default_rng(distinct)
    scores = generator.integers(0, distinct, (25, 40)).astype(float)
    truth = generator.random((25, 40)) < 0.15
    truth[:, 3] = True
    relevant = [np.flatnonzero(row) for row in truth]
    expected = [ndcg_score([row], [values], k=k) for row, values in zip(truth, scores, strict=True)]
    np.testing.assert_allclose(expected_ranking_metrics(scores, relevant, k).ndcg, expected, rtol=1e-10)


def test_expected_metrics_no_ties_equal_those_of_the_sorted_list():
    generator = np.random.default_rng(3)
    scores = generator.random((30, 50))
    relevant = [set(generator.choice(50, 4, replace=False).tolist()) for _ in range(30)]
    ranked = top_k(scores, 10)
    got, expected = expected_ranking_metrics(scores, relevant, 10), ranking_metrics(ranked, relevant, 10)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    precision = expected_average_precision(scores, relevant, 7)
    np.testing.assert_allclose(precision, average_precision(ranked, relevant, 7), rtol=1e-12)


def test_average_precision_whole_list_equals_scikit_learn():
    generator = np.random.default_rng(4)
    scores, truth = generator.random((20, 30)), generator.random((20, 30)) < 0.2
    truth[:, 0] = True
    expected = [average_precision_score(row, values) for row, values in zip(truth, scores, strict=True)]
    relevant = [np.flatnonzero(row) for row in truth]
    np.testing.assert_allclose(average_precision(top_k(scores, 30), relevant, 30), expected, rtol=1e-12)


def test_expected_metrics_constant_score_is_a_random_order():
    """Recall of a random order is k / N whatever the order of the catalogue; popular items first gain nothing."""
    metrics = expected_ranking_metrics(np.zeros((3, 200)), [{0}, {0, 1, 2}, {199}], 10)
    np.testing.assert_allclose(metrics.recall, 10 / 200)
    np.testing.assert_allclose(metrics.ndcg[[0, 2]], (1 / np.log2(np.arange(2, 12))).sum() / 200)


def test_expected_metrics_small_chunks_equal_one(monkeypatch):
    generator = np.random.default_rng(6)
    scores = generator.integers(0, 4, (17, 20)).astype(float)
    relevant = [{int(item)} for item in generator.integers(0, 20, 17)]
    whole = np.stack(expected_ranking_metrics(scores, relevant, 5))
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 1)
    np.testing.assert_allclose(np.stack(expected_ranking_metrics(scores, relevant, 5)), whole, rtol=1e-14)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_expected_metrics_not_a_score_is_refused(score):
    with pytest.raises(ValueError, match="NaN or \\+inf"):
        expected_ranking_metrics(np.array([[0.0, score]]), [{0}], 1)
    with pytest.raises(ValueError, match="NaN or \\+inf"):
        top_k(np.array([[0.0, score]]), 1)


def test_expected_metrics_relevant_beyond_the_scores_is_refused():
    with pytest.raises(ValueError, match="there are 2 items"):
        expected_ranking_metrics(np.zeros((1, 2)), [{5}], 1)


def write_lists(path, ranked):
    rows = [
        (f"u{u}", rank, f"p{item}") for u, row in enumerate(ranked) for rank, item in enumerate(row, 1) if item >= 0
    ]
    schema = {"customer_id": pl.String, "rank": pl.Int64, "product_id": pl.String}
    pl.DataFrame(rows, schema, orient="row").write_parquet(path)


def test_ranking_metrics_random_case_equals_the_independent_evaluator(tmp_path):
    if not EVALUATE.exists():
        pytest.skip("the independent evaluator does not lie in ../shared/bench")
    (ranked, relevant), (other, _) = random_case(8, users=150), random_case(9, users=150)
    write_lists(tmp_path / "a.parquet", ranked)
    write_lists(tmp_path / "b.parquet", other)
    truth = {"customer_id": [f"u{u}" for u in range(150)], "product_id": [[f"p{i}" for i in r] for r in relevant]}
    pl.DataFrame(truth).write_parquet(tmp_path / "truth.parquet")
    files = [str(tmp_path / name) for name in ("a.parquet", "truth.parquet")]
    options = ["--k", "3,10", "--n-items", "30", "--baseline", str(tmp_path / "b.parquet")]
    done = subprocess.run([sys.executable, str(EVALUATE), *files, *options], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)["subsets"]["all"]
    for k in (3, 10):
        metrics, base = ranking_metrics(ranked, relevant, k), ranking_metrics(other, relevant, k)
        for name in ("recall", "ndcg", "mrr"):
            expected, interval = report[f"{name}@{k}"], bootstrap_mean(getattr(metrics, name))
            assert [interval.mean, interval.low, interval.high] == pytest.approx(
                [expected["mean"], *expected["ci95"]], abs=6e-6
            )
            difference = bootstrap_difference(getattr(metrics, name), getattr(base, name))
            paired = expected["minus_baseline"]
            assert [difference.mean, difference.low, difference.high] == pytest.approx(
                [paired["mean"], *paired["ci95"]], abs=6e-6
            )
        assert catalogue_coverage(ranked[:, :k], 30) == pytest.approx(report[f"coverage@{k}"], abs=6e-6)
    checks = check_lists(ranked)
    assert checks.empty == report["users_without_rows"]
    assert checks.short == report["users_with_fewer_than_k"]["10"]
