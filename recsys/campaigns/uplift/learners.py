"""T-, X- and DR-learner of econml over LightGBM; the propensities are those of the trial, never guessed again.

Sources: Künzel et al. 2019 (T, X), Kennedy 2023 (DR, with cross-fitting over customers).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import GroupKFold

LEARNERS: Final = ("t", "x", "dr")
_FOLDS: Final = 3
_CLIP: Final = 0.01


class KnownPropensity(ClassifierMixin, BaseEstimator):
    """Reads the chance of treatment from the first column, where the trial wrote it."""

    def fit(self, features: np.ndarray, treated: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Learns nothing but the names of the two sides."""
        del features, sample_weight
        self.classes_ = np.unique(treated)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """[n, 2] of not treated and treated."""
        chance = np.clip(features[:, 0], _CLIP, 1 - _CLIP)
        return np.column_stack([1 - chance, chance])

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[n] the likelier side."""
        return self.classes_[(features[:, 0] > 0.5).astype(int)]


class _Trees(RegressorMixin, BaseEstimator):
    """Regression trees that do not read the propensity's column: it is no trait of the customer."""

    def __init__(self, trees: int = 120, seed: int = 0) -> None:
        self.trees, self.seed = trees, seed

    def fit(self, features: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        self.model_ = LGBMRegressor(**_settings(self.trees, self.seed))
        self.model_.fit(features[:, 1:], np.ravel(target), sample_weight=sample_weight)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.model_.booster_.predict(features[:, 1:]))


def _settings(trees: int, seed: int) -> dict[str, object]:
    return {
        "n_estimators": trees,
        "learning_rate": 0.04,
        "num_leaves": 15,
        "min_child_samples": 60,
        "reg_lambda": 5.0,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.7,
        "random_state": seed,
        "deterministic": True,
        "n_jobs": 1,
        "verbose": -1,
    }


class UpliftLearner:
    """One of LEARNERS. F features."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        if kind not in LEARNERS:
            raise ValueError(f"unknown learner {kind!r}: use one of {', '.join(LEARNERS)}")
        self.kind = kind
        self._seed = seed

    def fit(
        self,
        features: np.ndarray,
        treated: np.ndarray,
        outcome: np.ndarray,
        propensity: np.ndarray,
        customer: np.ndarray,
    ) -> Self:
        """Learns from trials: [n, F], [n] bool, [n], [n] within (0, 1), [n] int whose rows stay in one fold."""
        inputs = np.column_stack([propensity, features])
        self._model, extra = self._make(), {"groups": customer} if self.kind == "dr" else {}
        with _nan_is_meant():
            self._model.fit(outcome.astype(np.float64), treated.astype(int), X=inputs, **extra)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[m] what one contact adds to the chance of the outcome; may be below zero."""
        half = np.full(len(features), 0.5)  # read only by the X-learner: both of its halves count alike
        with _nan_is_meant():
            return np.asarray(self._model.effect(np.column_stack([half, features]))).ravel()

    def _make(self) -> Any:  # econml has no types, and takes seconds to import
        if self.kind == "dr":
            from econml.dr import DRLearner

            return DRLearner(
                model_propensity=KnownPropensity(),
                model_regression=_Trees(seed=self._seed),
                model_final=_Trees(60, self._seed),
                cv=GroupKFold(_FOLDS),
                min_propensity=_CLIP,
                allow_missing=True,
                random_state=self._seed,
            )
        from econml.metalearners import TLearner, XLearner

        if self.kind == "t":
            return TLearner(models=_Trees(seed=self._seed), allow_missing=True)
        return XLearner(
            models=_Trees(seed=self._seed),
            cate_models=_Trees(60, self._seed),
            propensity_model=KnownPropensity(),
            allow_missing=True,
        )


@contextmanager
def _nan_is_meant() -> Iterator[None]:
    """Without econml's warning, row by row, that a value is missing: the trees take it as one that is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*contains NaN")
        yield


class PropensityRanker:
    """What there is without an experiment: the chance of the outcome after contact."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def fit(self, features: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> Self:
        """Learns from the treated rows of [n, F], [n] bool, [n] 0 or 1."""
        self._model = LGBMClassifier(**_settings(120, self._seed))
        self._model.fit(features[treated], outcome[treated].astype(int))
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[m] probability of the outcome."""
        return np.asarray(self._model.booster_.predict(features))
