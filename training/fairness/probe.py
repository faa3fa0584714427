"""The probe: how well the model's picture of a customer tells which group he belongs to, though it is no feature.

A logistic regression on the customer embedding, cross-validated; the same with shuffled labels says what chance gives.
An area of 0.5 is chance, 1.0 would mean that the embedding spells the attribute out.
"""

from typing import Any

import numpy as np

from recsys.metrics.bootstrap import Interval
from recsys.metrics.separation import auc
from training.fairness.config import FairnessConfig

_ITERATIONS = 200
_SEED = 0


def probe(vectors: np.ndarray, labels: np.ndarray, config: FairnessConfig) -> dict[str, dict[str, Any]]:
    """One entry per group that is large enough: `auc`, one group against the rest, and `chance`, its shuffled peer.

    Args:
        vectors: [B, D] embeddings of the customers.
        labels: [B] object: their groups, None where not known.
        config: folds, permutations and the smallest group.

    Returns:
        Group to {"auc": Interval, "chance": float}; empty where there are no two groups to tell apart.
    """
    known = np.array([label is not None for label in labels], bool)
    names, codes, counts = np.unique(labels[known].astype(str), return_inverse=True, return_counts=True)
    large = counts >= max(config.minimum_group, config.folds)
    kept = large[codes]
    if large.sum() < 2:
        return {}
    points = vectors[known][kept]
    codes = np.searchsorted(np.flatnonzero(large), codes[kept])
    generator = np.random.default_rng(_SEED)
    areas = _areas(points, codes, config.folds)
    shuffled = [_areas(points, generator.permutation(codes), config.folds) for _ in range(config.permutations)]
    chance = np.mean([[area.mean for area in run] for run in shuffled], axis=0)
    return {
        str(name): {"auc": area, "chance": float(by_chance)}
        for name, area, by_chance in zip(names[large], areas, chance, strict=True)
    }


def _areas(points: np.ndarray, codes: np.ndarray, folds: int) -> list[Interval]:
    """Of each group, by answers about customers whom the regression has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS, C=0.1))
    parts = StratifiedKFold(folds, shuffle=True, random_state=_SEED)
    guesses = cross_val_predict(regression, points, codes, cv=parts, method="predict_proba")
    return [auc(guesses[:, code], codes == code) for code in range(guesses.shape[1])]
