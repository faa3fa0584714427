"""Heads that say what may come of an exposure: a click, an application after it, a conversion after that.

Two kinds on the same features: one boosted model a head, or one network with a shared trunk. Each answers with the
log-odds of an outcome given the one before it. E exposures, F features, H heads.
"""

from typing import NamedTuple, Protocol

import numpy as np

from recsys.config import BaseConfig
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows

HEADS = ("click", "apply", "convert")


class Heads(Protocol):
    """Either kind."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[E, F] to [E, H] float32 log-odds."""


class HeadRows(NamedTuple):
    """What the heads learn from."""

    features: np.ndarray
    """[E, F] float32, NaN where missing."""
    outcomes: np.ndarray
    """[E, H] bool."""
    counts: np.ndarray
    """[E, H] bool: the outcome before came, and this one had the time to."""
    weight: np.ndarray
    """[E] float32."""


class TastefulClick(NamedTuple):
    """A second model of the click: linear in some features, and trees for the rest that start from it."""

    weights: np.ndarray
    """[F] float32, 0 for what is no part of the linear one."""
    average: float
    """Log-odds where the linear part is 0 and the trees add nothing."""
    trees: BoostedRanker

    @classmethod
    def fit(
        cls, rows: HeadRows, weights: np.ndarray, hidden: np.ndarray, config: BoostedConfig, seed: int, threads: int
    ) -> "TastefulClick":
        """Grows the trees.

        Args:
            rows: what to learn from.
            weights: [F] of the linear part.
            hidden: [F] bool: what the trees may not ask for.
            config: of the trees.
            seed: of their draws.
            threads: to use.
        """
        counts = rows.counts[:, 0]
        features, label = rows.features[counts], rows.outcomes[counts, 0].astype(np.float32)
        start = _linear(features, weights)
        average = log_odds(label) - float(start.mean())
        learned = RankingRows(np.where(hidden, np.float32(0), features), label, np.arange(len(label)))
        trees = BoostedRanker.fit(learned, config, seed, threads, rows.weight[counts], start + average)
        return cls(weights, average, trees)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """[E, F] to [E] float32 log-odds."""
        return np.asarray(_linear(features, self.weights) + np.float32(self.average) + self.trees.predict(features))


class BoostedHeads:
    """One boosted model a head; a head with hardly any outcomes is its average.

    Args:
        models: of each head.
        averages: log-odds of each head.
        taste: a second model of the click, the first head, whose log-odds are then the mean of both.
    """

    def __init__(
        self, models: list[BoostedRanker | None], averages: list[float], taste: TastefulClick | None = None
    ) -> None:
        self.models = models
        self.averages = averages
        self.taste = taste

    @classmethod
    def fit(cls, rows: HeadRows, configs: list[BoostedConfig | None], seed: int, threads: int) -> "BoostedHeads":
        """Fits each head by its config; None: its average."""
        models: list[BoostedRanker | None] = []
        averages: list[float] = []
        for head, config in enumerate(configs):
            counts = rows.counts[:, head]
            label = rows.outcomes[counts, head].astype(np.float32)
            averages.append(log_odds(label))
            learned = RankingRows(rows.features[counts], label, np.arange(len(label)))
            weight = rows.weight[counts]
            models.append(None if config is None else BoostedRanker.fit(learned, config, seed, threads, weight))
        return cls(models, averages)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[E, F] to [E, H] float32 log-odds."""
        columns = [
            np.full(len(features), average, np.float32) if model is None else model.predict(features)
            for model, average in zip(self.models, self.averages, strict=True)
        ]
        if self.taste is not None:
            columns[0] = (columns[0] + self.taste(features)) / 2
        return np.stack(columns, axis=1)


class NetworkConfig(BaseConfig):
    """How the network is shaped and trained."""

    width: int = 64
    dropout: float = 0.2
    epochs: int = 4
    batch: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.01


def _linear(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[E] float32; what has no weight is not looked at, and may be missing."""
    used = np.flatnonzero(weights)
    return np.asarray(features[:, used] @ weights[used], np.float32)


def log_odds(outcomes: np.ndarray) -> float:
    """Of the shrunk share."""
    share = (float(outcomes.sum()) + 0.5) / (len(outcomes) + 1)
    return float(np.log(share / (1 - share)))
