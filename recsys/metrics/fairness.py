"""Groups of users compared: shares, means and their gaps, with percentile bootstrap intervals over users.

A group is compared with a reference group. The two are resampled independently, because they are different people
(Efron and Tibshirani 1993, ch. 8). Shapes: n users of a group, m columns, S resamples.
"""

from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from recsys.metrics.bootstrap import DRAWS_AT_ONCE, Interval
from recsys.metrics.relevance import NO_ITEM, as_ranked

FOUR_FIFTHS: Final = 0.8
"""Below this ratio of two groups' rates, adverse impact is presumed (29 CFR 1607.4(D); domain.md says alarm)."""


class Resampled(NamedTuple):
    """The means of a group's columns, and what resampling its users makes of them."""

    means: np.ndarray
    """[m] float64."""
    draws: np.ndarray
    """[S, m] float64."""
    n: int
    """Users in the group."""


def resample(values: np.ndarray, samples: int = 1000, seed: int = 0) -> Resampled:
    """Resamples the users of one group.

    >>> resample(np.array([[1.0, 0.0], [1.0, 1.0]]), samples=3).means.tolist()
    [1.0, 0.5]

    Args:
        values: [n, m] finite numbers, one row a user.
        samples: S.
        seed: of the resampling; groups that are compared need different ones.

    Raises:
        ValueError: there is no user, or a number is not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values must be [n, m] finite numbers with n above 0, are {values.shape}")
    if samples < 1:
        raise ValueError(f"samples is {samples}, must be at least 1")
    n, generator = len(values), np.random.default_rng(seed)
    step = max(1, DRAWS_AT_ONCE // n)
    draws = np.empty((samples, values.shape[1]))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        chosen = generator.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
        counts = np.bincount(chosen.ravel(), minlength=size * n).reshape(size, n)
        draws[start : start + size] = counts @ values / n
    return Resampled(values.mean(axis=0), draws, n)


def mean_of(group: Resampled, column: int) -> Interval:
    """The group's mean of a column."""
    return _percentiles(group.means[column], group.draws[:, column], group.n)


def share_of(group: Resampled, part: int, whole: int) -> Interval | None:
    """The group's sum of `part` over its sum of `whole`; None where there is nothing of the whole.

    >>> share_of(resample(np.array([[1.0, 2.0], [0.0, 2.0]])), 0, 1).mean
    0.25
    """
    return _interval(_over(group.means, part, whole), _over(group.draws, part, whole), group.n)


def mean_gap(group: Resampled, reference: Resampled, column: int) -> Interval:
    """The group's mean of a column minus the reference group's."""
    point = group.means[column] - reference.means[column]
    return _percentiles(point, group.draws[:, column] - reference.draws[:, column], group.n)


def share_gap(group: Resampled, reference: Resampled, part: int, whole: int) -> Interval | None:
    """The group's share minus the reference group's; None where one of them is not defined."""
    point = _over(group.means, part, whole) - _over(reference.means, part, whole)
    return _interval(point, _over(group.draws, part, whole) - _over(reference.draws, part, whole), group.n)


def share_ratio(group: Resampled, reference: Resampled, part: int, whole: int) -> Interval | None:
    """The group's share over the reference group's; None where the reference group has no share."""
    with np.errstate(divide="ignore", invalid="ignore"):
        point = _over(group.means, part, whole) / _over(reference.means, part, whole)
        draws = _over(group.draws, part, whole) / _over(reference.draws, part, whole)
    return _interval(point, draws, group.n)


def chance_of_shortfall(group: Resampled, reference: Resampled, part: int, whole: int, factor: float) -> float:
    """How likely chance alone makes the group's share fall this far below `factor` times the reference group's.

    One-sided and by normal approximation: a ratio's percentiles say too little far out, where many comparisons are made
    at once. A group that sees next to nothing hardly varies, so its spread is at least what a group of its size would
    have that is treated as the reference group is.

    Args:
        group: the group.
        reference: the group that it is compared with.
        part: the column that is shared out.
        whole: the column that it is a share of.
        factor: the bound, such as `FOUR_FIFTHS`.

    Returns:
        A p-value; 1 where a share is not defined.
    """

    mine, theirs = _over(group.draws, part, whole), factor * _over(reference.draws, part, whole)
    gap = float(_over(group.means, part, whole) - factor * _over(reference.means, part, whole))
    if not np.isfinite(gap) or not np.isfinite(mine).any() or not np.isfinite(theirs).any():
        return 1.0
    of_reference = np.nanstd(theirs)
    of_group = max(np.nanstd(mine), of_reference * np.sqrt(reference.n / group.n))
    spread = float(np.hypot(of_group, of_reference))
    return NormalDist().cdf(gap / spread) if spread else float(gap >= 0)


def exposure_by_family(ranked: np.ndarray, families: np.ndarray) -> np.ndarray:
    """How much of each list's attention each family gets, [U, F + 1]; the last column is all of it.

    A place gets the attention of NDCG's discount, 1 / log2(1 + rank) (Singh and Joachims 2018, Fairness of Exposure in
    Rankings, eq. 4).

    >>> exposure_by_family(np.array([[1, 0], [0, -1]]), np.array([[True, False]])).round(3).tolist()
    [[0.631, 1.631], [1.0, 1.0]]

    Args:
        ranked: [U, k] int, item indices, best first, -1 where there is no item.
        families: [F, N] bool: the items of each family.
    """
    ranked = as_ranked(ranked)
    shown = ranked != NO_ITEM
    attention = np.where(shown, 1.0 / np.log2(np.arange(2, ranked.shape[1] + 2)), 0.0)
    items = np.where(shown, ranked, 0)
    by_family = [(attention * family[items]).sum(axis=1) for family in families]
    return np.stack([*by_family, attention.sum(axis=1)], axis=1)


def calibration_residuals(hits: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Outcome minus the rate that all users have at the same place, summed over each list, and its length: [U, 2].

    Scores that are no probabilities promise only an order. At equal exposure (the same place of a list) the share of
    items that were taken up should then be the same for every group: a group below it is promised more than it wants,
    one above it is shown too little of it (calibration within groups: Kleinberg et al. 2016, Inherent Trade-Offs).

    >>> calibration_residuals(np.array([[1, 0], [0, 0]]), np.array([[1, 1], [1, 0]])).tolist()
    [[0.5, 2.0], [-0.5, 1.0]]

    Args:
        hits: [U, k] bool: the item at this place was taken up.
        shown: [U, k] bool: there is an item at this place.
    """
    hits, shown = np.asarray(hits, bool), np.asarray(shown, bool)
    rate = (hits & shown).sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
    return np.stack([np.where(shown, hits - rate, 0.0).sum(axis=1), shown.sum(axis=1)], axis=1)


def _over(values: np.ndarray, part: int, whole: int) -> np.ndarray:
    """Quotient of two columns, NaN where there is nothing of the whole."""
    divisor = values[..., whole]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(divisor > 0, values[..., part] / divisor, np.nan))


def _interval(point: np.ndarray, draws: np.ndarray, n: int) -> Interval | None:
    """Over the resamples in which the number is defined; None where it is not defined itself."""
    known = draws[np.isfinite(draws)]
    return _percentiles(point, known, n) if np.isfinite(point) and known.size else None


def _percentiles(point: np.ndarray, draws: np.ndarray, n: int) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(point), float(low), float(high), n)
