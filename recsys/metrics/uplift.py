"""How well scores order customers by what contact changes: Qini, AUUC and uplift at k, with weights.

All are in outcomes a row. With w the weights, and sums over the rows of the k highest scores (rows of equal score enter
together, as they cannot be told apart):

    Qini curve    Q(k) = (Y_t − Y_c · N_t / N_c) / N_t(all)      Radcliffe 2007, Using Control Groups to Target
    uplift curve  U(k) = (Y_t / N_t − Y_c / N_c) · (N_t + N_c) / N(all)                  Gutierrez and Gérardy 2016

where Y are weighted outcomes and N weights of the treated (t) and the others (c); the ratio counts as 0 while its side
is empty.
`qini` is the area between Q and the straight line to its end, over the share of rows; `auuc` the area under U.
With inverse propensities as weights both are about a population that was treated by a fair coin.
"""

from typing import NamedTuple

import numpy as np

from recsys.metrics.bootstrap import Interval


class UpliftCurves(NamedTuple):
    """Both curves from (0, 0); L levels of score."""

    share: np.ndarray
    """[L + 1] of the weight of all rows, rising from 0 to 1."""
    qini: np.ndarray
    """[L + 1]"""
    uplift: np.ndarray
    """[L + 1]"""


def uplift_curves(
    scores: np.ndarray, treated: np.ndarray, outcome: np.ndarray, weights: np.ndarray | None = None
) -> UpliftCurves:
    """The curves of `scores`.

    Args:
        scores: [n] finite; high means that contact is expected to help.
        treated: [n] bool.
        outcome: [n] numbers.
        weights: [n] above zero; 1 where not given.

    Raises:
        ValueError: lengths differ, something is not finite, or one side is empty.
    """
    scores, treated, outcome, weights = _checked(scores, treated, outcome, weights)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return _curves(treated[order], outcome[order], weights[order], ends)


def qini(scores: np.ndarray, treated: np.ndarray, outcome: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area between the Qini curve and that of a random order; arguments and errors as `uplift_curves`.

    >>> qini(np.array([4, 3, 2, 1]), np.array([True, False, True, False]), np.array([1, 0, 0, 0]))
    0.1875
    """
    return _qini_area(uplift_curves(scores, treated, outcome, weights))


def auuc(scores: np.ndarray, treated: np.ndarray, outcome: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Area under the uplift curve; arguments and errors as `uplift_curves`."""
    curves = uplift_curves(scores, treated, outcome, weights)
    return float(np.trapezoid(curves.uplift, curves.share))


def uplift_at(
    share: float,
    scores: np.ndarray,
    treated: np.ndarray,
    outcome: np.ndarray,
    weights: np.ndarray | None = None,
) -> float:
    """Mean outcome of the treated less that of the others, among the `share` of rows with the highest scores.

    Rows of equal score are taken in their order. Arguments and errors as `uplift_curves`.

    Raises:
        ValueError: also where the share is not within (0, 1], or holds only one side.
    """
    scores, treated, outcome, weights = _checked(scores, treated, outcome, weights)
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, is {share}")
    top = np.argsort(-scores, kind="stable")[: int(share * len(scores))]
    inside = treated[top]
    if inside.all() or not inside.any():
        raise ValueError(f"the first {len(top)} rows hold only one side: take a larger share than {share}")
    means = [np.average(outcome[top][side], weights=weights[top][side]) for side in (inside, ~inside)]
    return float(means[0] - means[1])


class Trial(NamedTuple):
    """Rows whose treatment was drawn: n rows."""

    treated: np.ndarray
    """[n] bool."""
    outcome: np.ndarray
    """[n]"""
    weights: np.ndarray
    """[n] inverse propensities."""
    cluster: np.ndarray
    """[n] int from 0: the customer, who is what is resampled."""


def bootstrap_qini(scores: np.ndarray, trial: Trial, samples: int = 200, seed: int = 0) -> tuple[Interval, np.ndarray]:
    """Qini with its 95 % percentile interval over customers, and the resampled values [samples].

    The same seed resamples the same customers whatever the scores, so the values of two scores are paired.
    """
    outcome = trial.outcome.astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    treated, outcome, weights = trial.treated[order], outcome[order], trial.weights[order]
    cluster, count = trial.cluster[order], int(trial.cluster.max()) + 1
    generator, drawn = np.random.default_rng(seed), np.empty(samples)
    for number in range(samples):
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        drawn[number] = _qini_area(_curves(treated, outcome, weights * times[cluster], ends))
    low, high = np.percentile(drawn, [2.5, 97.5])
    mean = _qini_area(_curves(treated, outcome, weights, ends))
    return Interval(mean, float(low), float(high), count), drawn


def _checked(
    scores: np.ndarray, treated: np.ndarray, outcome: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    scores, outcome = np.asarray(scores, np.float64), np.asarray(outcome, np.float64)
    treated = np.asarray(treated, bool)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    if not scores.shape == treated.shape == outcome.shape == weights.shape or scores.ndim != 1:
        raise ValueError("scores, treated, outcome and weights must be [n] each")
    if not (np.isfinite(scores).all() and np.isfinite(outcome).all() and np.isfinite(weights).all()):
        raise ValueError("scores, outcome and weights must be finite")
    if (weights <= 0).any() or treated.all() or not treated.any():
        raise ValueError("weights must be above zero, and there must be treated and others")
    return scores, treated, outcome, weights


def _curves(treated: np.ndarray, outcome: np.ndarray, weights: np.ndarray, ends: np.ndarray) -> UpliftCurves:
    """Of rows in falling order of score; `ends` are the last rows of each level."""
    n_t, n_c = (np.cumsum(np.where(side, weights, 0.0))[ends] for side in (treated, ~treated))
    y_t, y_c = (np.cumsum(np.where(side, weights * outcome, 0.0))[ends] for side in (treated, ~treated))
    both = (n_t > 0) & (n_c > 0)
    safe_t, safe_c = np.where(both, n_t, 1.0), np.where(both, n_c, 1.0)
    gain = np.where(both, y_t - y_c * n_t / safe_c, y_t * (n_c <= 0)) / max(n_t[-1], 1e-300)
    lift = np.where(both, y_t / safe_t - y_c / safe_c, 0.0) * (n_t + n_c) / (n_t[-1] + n_c[-1])
    share = (n_t + n_c) / (n_t[-1] + n_c[-1])
    return UpliftCurves(*(np.concatenate([[0.0], curve]) for curve in (share, gain, lift)))


def _qini_area(curves: UpliftCurves) -> float:
    return float(np.trapezoid(curves.qini - curves.share * curves.qini[-1], curves.share))
