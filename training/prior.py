"""How much recent popularity helps the model, found on validation."""

from datetime import datetime

import numpy as np
import polars as pl

from recsys.bundle import PriorConfig
from recsys.data.contract import Dataset
from recsys.retrieval.popularity import PopularityConfig
from training.queries import Queries
from training.scoring import fit_popularity, metrics_of

WINDOWS: tuple[float | None, ...] = (7.0, 30.0, 90.0, None)
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_FEW = 20
"""With fewer validation questions than this of one sort, both sorts of customers share a weight."""


def popularity_prior(
    dataset: Dataset, parts: pl.DataFrame, item_ids: list[str], now: datetime, window_days: float | None
) -> np.ndarray:
    """[P] float32: log popularity of the last days, standardised over the items."""
    config = PopularityConfig(window_days=window_days)
    counts = fit_popularity(dataset, parts, item_ids, now, config).overall
    values = np.log1p(counts)
    return ((values - values.mean()) / (values.std() + 1e-9)).astype(np.float32)


def choose_prior(
    model_scores: np.ndarray, priors: dict[float | None, np.ndarray], queries: Queries, k: int
) -> PriorConfig:
    """The window and weights with the best mean NDCG@k; of equals, the smaller weight.

    Args:
        model_scores: [Q, P] of the validation questions, without a prior.
        priors: window to [P] prior as of the validation's instant.
        queries: the validation questions.
        k: length of the lists.
    """
    if not len(queries):
        return PriorConfig()
    new = queries.new_customer
    ndcg = {
        (window, weight): metrics_of(model_scores + weight * prior, queries, k).ndcg
        for window, prior in priors.items()
        for weight in WEIGHTS
    }

    def best(rows: np.ndarray, windows: tuple[float | None, ...]) -> tuple[float | None, float]:
        options = [key for key in ndcg if key[0] in windows]
        return max(options, key=lambda key: (ndcg[key][rows].mean(), -key[1]))

    if min(new.sum(), (~new).sum()) < _FEW:
        window, weight = best(np.ones(len(new), bool), WINDOWS)
        return PriorConfig(window_days=window, weight=weight, new_weight=weight)
    window, weight = best(~new, WINDOWS)
    if weight == 0:
        window, new_weight = best(new, WINDOWS)
    else:
        _, new_weight = best(new, (window,))
    return PriorConfig(window_days=window, weight=weight, new_weight=new_weight)
