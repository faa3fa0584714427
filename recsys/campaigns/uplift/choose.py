"""Which learner a plan uses: the best Qini on later trials, and propensity where none of them is surely better."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl

from recsys.campaigns.uplift.history import AT, OUTCOME, PROPENSITY, TREATED
from recsys.campaigns.uplift.learners import LEARNERS, PropensityRanker, UpliftLearner
from recsys.campaigns.uplift.randomisation import RandomisationCheck, check_randomisation
from recsys.metrics.bootstrap import Interval
from recsys.metrics.uplift import Trial, bootstrap_qini
from recsys.schema import CUSTOMER_ID

_SAMPLES: Final = 100


@dataclass(frozen=True)
class UpliftChoice:
    """The model, and why it is this one."""

    method: Literal["uplift", "propensity"]
    reason: str
    learner: str
    """`t`, `x`, `dr`, or `propensity`."""
    qini: dict[str, Interval]
    """On validation, of each learner and of `propensity`; empty where nothing could be compared."""
    check: RandomisationCheck
    features: tuple[str, ...]
    model: UpliftLearner | PropensityRanker | None
    """None where the history has too few outcomes of treated customers: use the engine's own propensity."""

    def predict(self, rows: pl.DataFrame) -> np.ndarray:
        """[m] the score of each row: an uplift, or with `method` propensity the chance of the outcome.

        Raises:
            ValueError: there is no model.
        """
        if self.model is None:
            raise ValueError(f"no uplift model: {self.reason}")
        return self.model.predict(rows.select(self.features).to_numpy())


def choose_learner(
    trials: pl.DataFrame, features: list[str], validation_start: datetime, horizon_days: int, seed: int = 0
) -> UpliftChoice:
    """Trains on trials whose outcome was known before `validation_start`, and compares on those from it on.

    Args:
        trials: of `history.trials`, with the columns `features`.
        features: what learners read.
        validation_start: aware.
        horizon_days: of the outcome; trials whose horizon crosses the start are in neither part.
        seed: of learners and of the bootstrap.
    """
    before = trials.filter(pl.col(AT) < validation_start - timedelta(days=horizon_days))
    after = trials.filter(pl.col(AT) >= validation_start)
    check = check_randomisation(_matrix(before, features), features, *_sides(before))
    names = tuple(features)
    if check.treated == 0 or before.filter(TREATED)[OUTCOME].sum() < 1:
        reason = "the history has no randomised contacts: " + "; ".join(check.reasons)
        return UpliftChoice("propensity", reason, "propensity", {}, check, names, None)
    x, (treated, outcome, propensity) = _matrix(before, features), _sides(before)
    ranker = PropensityRanker(seed).fit(x, treated, outcome)
    trial = _trial(after)
    if not check.passed or trial is None:
        why = "; ".join(check.reasons) or "validation has no trials of both sides"
        return UpliftChoice("propensity", f"no uplift: {why}", "propensity", {}, check, names, ranker)
    customer = before[CUSTOMER_ID].rank("dense").to_numpy().astype(np.int64)
    models: dict[str, UpliftLearner | PropensityRanker] = {
        kind: UpliftLearner(kind, seed).fit(x, treated, outcome, propensity, customer) for kind in LEARNERS
    }
    later = _matrix(after, features)
    found = {
        name: bootstrap_qini(model.predict(later), trial, _SAMPLES, seed)
        for name, model in {**models, "propensity": ranker}.items()
    }
    qini = {name: interval for name, (interval, _) in found.items()}
    best = max(LEARNERS, key=lambda kind: qini[kind].mean)
    low, high = np.percentile(found[best][1] - found["propensity"][1], [2.5, 97.5])
    more = f"Qini {qini[best].mean:.5f} against {qini['propensity'].mean:.5f}, difference {low:.5f} to {high:.5f}"
    if low > 0:
        reason = f"the {best.upper()}-learner beats propensity on validation ({more})"
        return UpliftChoice("uplift", reason, best, qini, check, names, models[best])
    reason = f"no learner surely beats propensity on validation; the best is the {best.upper()}-learner ({more})"
    return UpliftChoice("propensity", reason, "propensity", qini, check, names, ranker)


def _matrix(rows: pl.DataFrame, features: list[str]) -> np.ndarray:
    return rows.select(pl.col(features).cast(pl.Float64).fill_null(float("nan"))).to_numpy()


def _sides(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rows[TREATED].to_numpy(), rows[OUTCOME].to_numpy(), rows[PROPENSITY].to_numpy()


def _trial(rows: pl.DataFrame) -> Trial | None:
    treated, outcome, propensity = _sides(rows)
    if not len(rows) or treated.all() or not treated.any():
        return None
    weights = np.where(treated, 1 / propensity, 1 / (1 - propensity))
    return Trial(treated, outcome, weights, rows[CUSTOMER_ID].rank("dense").to_numpy().astype(np.int64) - 1)
