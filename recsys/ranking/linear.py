"""The linear ranker: a conditional logit over the cross features, of few weights, because answers are few.

What a customer takes up is a choice among his candidates: each is chosen with a chance in proportion to the exponential
of its score (McFadden 1974, Conditional logit analysis of qualitative choice behavior). The score adds up what each
feature says alone: so much for its value, for the logarithm of a proposal's, and for its being missing. E rows, F
features.
"""

import json
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from recsys.config import BaseConfig
from recsys.errors import ModelError
from recsys.ranking.boosted import RankingRows
from recsys.ranking.feature_groups import is_proposal
from recsys.ranking.forest import Parts
from recsys.ranking.linear_loop import SHARPNESS, add_up, warm_up

_TAIL = 0.001
"""Of a feature's values, so many at each end are taken for the value where they begin."""
_MOST_ROWS = 500_000
"""More would tell so few weights nothing new."""


class LinearConfig(BaseConfig):
    """How the weights are found."""

    objective: Literal["conditional"] = "conditional"
    l2: float = Field(default=30.0, gt=0)
    """Of the weights of standardised features; the loss is summed over questions."""
    iterations: int = Field(default=100, ge=1)


class _Kept(BaseConfig):
    """The ranker's file."""

    weights: dict[str, tuple[float, ...]]


class Curves(NamedTuple):
    """What each of F features adds, [F] float64 each: `value` and `log` times what lies in `low`..`high`, or `missing`.

    `mean` is what it added on average where it was learned.
    """

    value: np.ndarray
    log: np.ndarray
    missing: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray


class LinearRanker:
    """Scores rows; higher is better."""

    def __init__(self, curves: Curves) -> None:
        """Compiles the loop over rows where no earlier process has, which takes some seconds."""
        self.curves = curves
        warm_up()

    @classmethod
    def fit(cls, rows: RankingRows, names: tuple[str, ...], config: LinearConfig, seed: int = 0) -> "LinearRanker":
        """Finds the weights; questions without a positive row teach nothing and are left out.

        Args:
            rows: what to learn from.
            names: of the features.
            config: how.
            seed: of the draw of questions, where there are too many.
        """
        rows = _enough(rows.take(np.isin(rows.query, rows.query[rows.label > 0])), seed)
        if not len(rows.label):
            return cls(Curves(*np.zeros((len(Curves._fields), len(names)))))
        low, high = _range(rows.features)
        design = _Design(rows.features, low, high, np.array([is_proposal(name) for name in names], bool))
        weights = _solve(design.values, rows.label, rows.query, config)
        value, log, missing = design.shares(weights)
        found = Curves(value, log, missing, low, high, np.zeros(len(names)))
        return cls(found._replace(mean=_each(found, rows.features).mean(axis=0)))

    @classmethod
    def parse(cls, text: str) -> "LinearRanker":
        """The inverse of `text`.

        Raises:
            ModelError: it is not whole.
        """
        try:
            kept = _Kept.model_validate_json(text).weights
            curves = Curves(*(np.array(kept[name], np.float64) for name in Curves._fields))
        except (ValidationError, KeyError) as error:
            raise ModelError("the bundle's ranker cannot be read (it is not whole): train again") from error
        if len({len(values) for values in curves}) != 1:
            raise ModelError("the bundle's ranker cannot be read (its lists are of different lengths): train again")
        return cls(curves)

    @property
    def text(self) -> str:
        """JSON."""
        return json.dumps({"weights": {name: values.tolist() for name, values in self.curves._asdict().items()}})

    def predict(self, features: np.ndarray, rounds: int | None = None) -> np.ndarray:
        """[E, F] to [E] float32; there are no `rounds`."""
        return self.predict_parts(Parts.of_rows(features), rounds)

    def predict_parts(self, parts: Parts, rounds: int | None = None) -> np.ndarray:
        """As `predict` of `parts.rows()`.

        Raises:
            ModelError: there are more or fewer features than were learned from.
        """
        own = parts.customers.shape[1] + parts.products.shape[1]
        values = np.ascontiguousarray(parts.rows().T if own else parts.pairs, np.float32)
        if len(values) != len(self.curves.value):
            raise ModelError(f"the ranker reads {len(self.curves.value)} features and was given {len(values)}")
        out = np.zeros(values.shape[1])
        add_up(values, *self.curves[:-1], out)
        return out.astype(np.float32)

    def used(self) -> np.ndarray:
        """[U] int64: the features with a weight, ascending; the values of the others are never looked at."""
        return np.flatnonzero((self.curves.value != 0) | (self.curves.log != 0) | (self.curves.missing != 0))

    def contributions(self, features: np.ndarray, rounds: int | None = None) -> np.ndarray:
        """[E, F] to [E, F + 1] float64: what each feature adds to a row's score beyond what it adds on average.

        The last column is the average score; each row adds up to `predict`.
        """
        beyond = _each(self.curves, features) - self.curves.mean
        average = np.full((len(features), 1), self.curves.mean.sum())
        return np.concatenate([beyond, average], axis=1)


class _Design:
    """Standardised columns: each feature's value, the log of the proposals', and whether it is missing."""

    def __init__(self, features: np.ndarray, low: np.ndarray, high: np.ndarray, proposal: np.ndarray) -> None:
        known, value, log = _read(features, low, high)
        columns = np.concatenate([value, log[:, proposal], ~known], axis=1)
        self._deviation = columns.std(axis=0)
        self._proposal = proposal
        scale = np.where(self._deviation > 1e-9, self._deviation, np.inf)  # what never differs has no weight
        self.values = (columns - columns.mean(axis=0)) / scale

    def shares(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the columns as weights of the features' own values, logs and absences, [F] each."""
        own = np.where(self._deviation > 1e-9, weights / np.maximum(self._deviation, 1e-9), 0)
        count, logs = len(self._proposal), int(self._proposal.sum())
        log = np.zeros(count)
        log[self._proposal] = own[count : count + logs]
        return own[:count], log, own[count + logs :]


def _solve(values: np.ndarray, label: np.ndarray, query: np.ndarray, config: LinearConfig) -> np.ndarray:
    """[K] weights of [E, K]: each question's positives share its one choice."""
    from scipy.optimize import minimize

    starts = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(query)]))
    wanted = label / np.add.reduceat(label, starts)[which]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = values @ weights
        score -= np.maximum.reduceat(score, starts)[which]
        chance = np.exp(score)
        total = np.add.reduceat(chance, starts)
        chance /= total[which]
        likelihood = float(wanted @ score - np.log(total).sum())
        penalty = 0.5 * config.l2 * float(weights @ weights)
        return penalty - likelihood, config.l2 * weights - values.T @ (wanted - chance)

    start = np.zeros(values.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": config.iterations}).x)


def _each(curves: Curves, features: np.ndarray) -> np.ndarray:
    """[E, F] float64: what each feature adds."""
    known, value, log = _read(features, curves.low, curves.high)
    return np.where(known, curves.value * value + curves.log * log, curves.missing)


def _read(features: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[E, F] each: whether a value is there, the value and its logarithm; both 0 where it is not."""
    known = np.isfinite(features)
    value = np.where(known, np.clip(features, low, high), 0).astype(np.float64)
    return known, value, np.sign(value) * np.log1p(np.abs(value) * SHARPNESS)


def _range(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[F] each: where the bulk of each feature's values lies; 0 where there are none."""
    low, high = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for column, values in enumerate(features.T):
        known = values[np.isfinite(values)]
        if len(known):
            low[column], high[column] = np.quantile(known.astype(np.float64), (_TAIL, 1 - _TAIL))
    return low, high


def _enough(rows: RankingRows, seed: int) -> RankingRows:
    """As many whole questions, drawn by lot, as have about `_MOST_ROWS` rows."""
    if len(rows.label) <= _MOST_ROWS:
        return rows
    questions, count = np.unique(rows.query, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(questions))
    return rows.take(np.isin(rows.query, questions[order[np.cumsum(count[order]) <= _MOST_ROWS]]))
