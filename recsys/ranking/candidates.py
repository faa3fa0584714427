"""Which of the allowed products the second stage looks at: the best of each source."""

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.activity import Activity
from recsys.ranking.features import Asked
from recsys.ranking.sources import Sources

_DAY = 86_400_000_000


class CandidateConfig(BaseConfig):
    """How many each source proposes."""

    all_up_to: int = Field(default=100, ge=0)
    """A customer with at most so many allowed products: all of them are candidates."""
    tower: int = Field(default=100, ge=1)
    source: int = Field(default=40, ge=0)
    """Of each simple source that looks at the customer's history."""
    popular: int = Field(default=40, ge=0)
    popular_days: int = Field(default=14, ge=1)


SOURCES = ("ease_recent", "knn_recent", "transition_recent", "transition_1", "factors")


def candidate_mask(
    asked: Asked, sources: Sources, activity: Activity, allowed: np.ndarray, config: CandidateConfig
) -> np.ndarray:
    """[B, P] bool: the union of what the sources propose, within `allowed` [B, P]."""
    few = allowed.sum(axis=1) <= config.all_up_to
    if few.all():
        return allowed
    mask = np.zeros_like(allowed)
    _add_best(mask, asked.tower, allowed, config.tower)
    for name in SOURCES:
        if name in sources.proposals:
            _add_best(mask, sources.proposals[name][sources.which], allowed, config.source)
    _add_best(mask, _recent_counts(activity, asked.now, config.popular_days), allowed, config.popular)
    return (mask | few[:, None]) & allowed


def _add_best(mask: np.ndarray, scores: np.ndarray, allowed: np.ndarray, count: int) -> None:
    count = min(count, scores.shape[1] - 1)
    if count < 1:
        return
    best = np.argpartition(np.where(allowed, -scores, np.inf), count, axis=1)[:, :count]
    np.put_along_axis(mask, best, values=True, axis=1)


def _recent_counts(activity: Activity, now: np.ndarray, days: int) -> np.ndarray:
    """[B, P] events of the last days before each instant; of equals, the more popular of all time."""
    instants, of_row = np.unique(now // activity.width, return_inverse=True)
    product = np.arange(len(activity.cumulative))
    counts = np.empty((len(instants), len(product)), np.float32)
    for row, instant in enumerate(instants * activity.width):
        until = activity.before(product, np.full(len(product), instant))
        counts[row] = until - activity.before(product, np.full(len(product), instant - days * _DAY)) + 1e-4 * until
    return counts[of_row]
