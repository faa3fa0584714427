"""Chooses the settings of the simple sources on validation: how much an item-to-item model should be damped depends on
how many customers each product has, and no setting fits every dataset.

Each source is asked alone. Q questions, P products.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from recsys.metrics.bootstrap import bootstrap_difference
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.neighbours import NeighbourConfig, Sequences, fit_ease, fit_knn, interaction_matrix
from recsys.ranking.sources import named
from training.queries import Queries
from training.ranking_config import SourceGrid
from training.scoring import metrics_of

_AT_ONCE = 512
"""Questions whose scores are made at a time, [Q, P] each."""


class SourceTrial(NamedTuple):
    """One setting of one source."""

    source: str
    settings: NeighbourConfig
    ndcg: np.ndarray
    """[Q]."""

    @property
    def name(self) -> str:
        """What it is."""
        ours = self.settings
        damped = f"l2 {ours.ease_l2:g}" if self.source == "ease" else f"shrinkage {ours.knn_shrinkage:g}"
        return f"{self.source}, {damped}" + (f", {ours.knn_keep} neighbours" if self.source == "knn" else "")


class SourceChoice(NamedTuple):
    """The settings that are used, and what was tried."""

    settings: NeighbourConfig
    trials: list[SourceTrial]

    def report(self) -> dict[str, Any]:
        """NDCG of each trial."""
        return {trial.name: round(float(trial.ndcg.mean()), 4) for trial in self.trials}


def choose_sources(
    sequences: Sequences, asked: Queries, history: HistoryArrays, default: NeighbourConfig, grid: SourceGrid, k: int
) -> SourceChoice:
    """The settings of EASE and of the nearest neighbours under which each alone answers best.

    What is not surely better than the default by a paired interval is not taken: the difference is chance's.

    Args:
        sequences: what customers took up in the training part.
        asked: the validation questions.
        history: of those who are asked about, before the questions.
        default: the settings to start from.
        grid: what is tried.
        k: of the NDCG.
    """
    products = asked.allowed.shape[1]
    if not grid.fewest <= len(asked) or products > grid.most_products or not len(sequences.product):
        return SourceChoice(default, [])
    if len(asked) > grid.most:
        some = np.sort(np.random.default_rng(0).permutation(len(asked))[: grid.most])
        asked, history = asked.take(some), history.take(some)
    taken = interaction_matrix(sequences, int(sequences.customer.max()) + 1, products)
    had = _had(history, products)

    def tried(source: str, settings: Iterable[NeighbourConfig]) -> list[SourceTrial]:
        fit = {"ease": fit_ease, "knn": fit_knn}[source]
        found = ((one, fit(taken, one)) for one in settings)
        return [SourceTrial(source, one, _ndcg(had, table, asked, k)) for one, table in found if table is not None]

    ease = tried("ease", (default, *(default.model_copy(update={"ease_l2": l2}) for l2 in grid.ease_l2)))
    knn = tried(
        "knn",
        (
            default,
            *(
                default.model_copy(update={"knn_shrinkage": shrinkage, "knn_keep": keep})
                for keep in grid.knn_keep
                for shrinkage in grid.knn_shrinkage
            ),
        ),
    )
    best = {name: value for trials in (ease, knn) if trials for name, value in _better(trials).items()}
    return SourceChoice(default.model_copy(update=best), [*ease[1:], *knn[1:]])


def _better(trials: list[SourceTrial]) -> dict[str, float]:
    """What of the best trial differs from the first one, where it is surely better than that."""
    first, *others = trials
    best = max(others, key=lambda trial: float(trial.ndcg.mean()))
    if bootstrap_difference(best.ndcg, first.ndcg, 500).low <= 0:
        return {}
    names = ("ease_l2",) if best.source == "ease" else ("knn_shrinkage", "knn_keep")
    return {name: getattr(best.settings, name) for name in names}


def _had(history: HistoryArrays, products: int) -> sparse.csr_matrix:
    """[Q, P] float32 of zeros and ones."""
    row, step = np.nonzero(named(history))
    entries = (np.ones(len(row), np.float32), (row, history.product[row, step]))
    matrix = sparse.csr_matrix(entries, shape=(len(history.length), products))
    matrix.data[:] = 1.0
    return matrix


def _ndcg(had: sparse.csr_matrix, table: sparse.csr_matrix, asked: Queries, k: int) -> np.ndarray:
    """[Q]."""
    found = []
    for start in range(0, len(asked), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(asked)))
        some = asked.take(rows)
        scores = np.where(some.allowed, (had[rows] @ table).toarray(), -np.inf).astype(np.float32)
        found.append(metrics_of(scores, some, k).ndcg)
    return np.concatenate(found)
