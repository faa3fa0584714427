"""The ranking metrics against RecTools, a simulation of random orders, and what they do with flawed lists."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys.metrics.ranking import average_precision, expected_ranking_metrics, ranking_metrics, top_k
from recsys.metrics.relevance import check_lists

PEERS_PYTHON = Path(sys.prefix).parent / ".venv-peers/bin/python"
RECTOOLS = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from rectools import Columns
from rectools.metrics import MAP, MRR, NDCG, Recall, calc_metrics
case = json.load(sys.stdin)
k = case["k"]
rows = [(u, i, r) for u, items in enumerate(case["ranked"]) for r, i in enumerate(items, 1) if i >= 0]
reco = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Rank])
truth = pd.DataFrame([(u, i) for u, items in enumerate(case["relevant"]) for i in items],
                     columns=[Columns.User, Columns.Item])
metrics = {"recall": Recall(k=k), "mrr": MRR(k=k), "map": MAP(k=k), "ndcg": NDCG(k=k, divide_by_achievable=True)}
print(json.dumps({name: metric.calc_per_user(reco, truth).sort_index().tolist() for name, metric in metrics.items()}))
"""


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ranking_metrics_random_lists_equal_rectools(k: int) -> None:
    if not PEERS_PYTHON.exists():
        pytest.skip("RecTools is not installed: run `make peers`")
    rng = np.random.default_rng(k)
    ranked = np.stack([rng.permutation(30)[:10] for _ in range(50)])
    ranked[np.arange(10) >= rng.integers(1, 11, 50)[:, None]] = -1
    relevant = [rng.choice(30, rng.integers(1, 15), replace=False).tolist() for _ in range(50)]
    case = json.dumps({"ranked": ranked.tolist(), "relevant": relevant, "k": k})
    done = subprocess.run([PEERS_PYTHON, "-c", RECTOOLS], input=case, capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout)
    metrics = ranking_metrics(ranked, relevant, k)
    for name in ("recall", "mrr", "ndcg"):
        np.testing.assert_allclose(getattr(metrics, name), expected[name], rtol=1e-9, err_msg=name)
    # RecTools divides average precision by all relevant items, not by those that fit into k.
    scale = np.array([len(items) / min(k, len(items)) for items in relevant])
    np.testing.assert_allclose(average_precision(ranked, relevant, k), np.array(expected["map"]) * scale, rtol=1e-9)


def test_constant_score_equals_the_mean_of_simulated_random_orders() -> None:
    rng, draws, items, k = np.random.default_rng(0), 40_000, 25, 7
    relevant = {3, 11, 20}
    orders = np.argsort(rng.random((draws, items)), axis=1)[:, :k]
    simulated = ranking_metrics(orders, [relevant] * draws, k)
    expected = expected_ranking_metrics(np.full((1, items), 0.5), [relevant], k)
    for name, values in simulated._asdict().items():
        error = 4 * values.std() / np.sqrt(draws)
        assert getattr(expected, name)[0] == pytest.approx(values.mean(), abs=error), name


def test_constant_score_gains_nothing_from_the_order_of_the_catalogue() -> None:
    """A sort would put the lower index first; relevant items at the front or the back must count the same."""
    scores = np.zeros((2, 50))
    metrics = expected_ranking_metrics(scores, [{0, 1}, {48, 49}], 10)
    for values in metrics:
        assert values[0] == pytest.approx(values[1])
    assert ranking_metrics(top_k(scores, 10), [{0, 1}, {48, 49}], 10).recall.tolist() == [1.0, 0.0]


def test_partial_ties_lie_between_the_best_and_the_worst_order() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.5, 0.1]])
    metrics = expected_ranking_metrics(scores, [{2}], 3)
    orders = [ranking_metrics(np.array([order]), [{2}], 3).ndcg[0] for order in ([0, 2, 1], [0, 1, 2], [0, 1, 3])]
    assert metrics.ndcg[0] == pytest.approx(np.mean(orders))


def test_flawed_lists_duplicates_are_refused_and_the_rest_is_counted() -> None:
    with pytest.raises(ValueError, match="an item is repeated in 1 list"):
        ranking_metrics(np.array([[3, 3]]), [{3}], 2)
    flawed = np.array([[0, 1, 2], [4, -1, -1], [-1, -1, -1]])
    checks = check_lists(flawed, seen=[{1}, set(), set()])
    assert (checks.with_seen, checks.short, checks.empty) == (1, 2, 1)
    short = ranking_metrics(flawed, [{0}, {4}, {4}], 3)
    assert short.recall.tolist() == [1.0, 1.0, 0.0]  # a short list is scored as it is, an empty one scores nothing


def test_seen_items_that_are_masked_never_reach_a_list() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6]])
    seen = np.array([[True, False, True, False]])
    ranked = top_k(np.where(seen, -np.inf, scores), 4)
    assert ranked.tolist() == [[1, 3, -1, -1]]
    assert check_lists(ranked, seen=[{0, 2}]).with_seen == 0
