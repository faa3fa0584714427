"""Whether probabilities mean what they say: reliability table, expected calibration error, Brier score."""

from typing import Literal, NamedTuple

import numpy as np

Scheme = Literal["mass", "width"]
"""Bins with equally many cases, or of equal width on the probability scale."""


class ReliabilityTable(NamedTuple):
    """One entry per non-empty bin, in rising order; arrays [bins]."""

    predicted: np.ndarray
    """Mean probability."""
    observed: np.ndarray
    """Share of positive outcomes."""
    cases: np.ndarray
    """How many cases the bin holds."""


def reliability_table(
    probabilities: np.ndarray, outcomes: np.ndarray, bins: int = 10, scheme: Scheme = "mass"
) -> ReliabilityTable:
    """Mean probability against observed rate, bin by bin.

    Equal probabilities always share a bin, so the table does not depend on the order of the cases; with many ties bins
    of equal mass are only nearly equal.

    >>> table = reliability_table(np.array([0.1, 0.1, 0.8, 0.8]), np.array([0, 0, 1, 0]), bins=2)
    >>> table.observed.tolist(), table.cases.tolist()
    ([0.0, 0.5], [2, 2])

    Args:
        probabilities: [n] float in 0..1.
        outcomes: [n] 0 or 1.
        bins: how many bins at most.
        scheme: how they are cut.

    Raises:
        ValueError: shapes differ, there are no cases, or a value is out of its range.
    """
    probabilities, outcomes = _check(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"bins is {bins}, must be at least 1")
    if scheme == "width":
        bin_of = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    else:
        # a value's first place in sorted order, so that ties fall together
        place = np.searchsorted(np.sort(probabilities), probabilities, side="left")
        bin_of = place * bins // len(probabilities)
    count = np.bincount(bin_of, minlength=bins)
    kept = count > 0
    predicted = np.bincount(bin_of, probabilities, minlength=bins)[kept] / count[kept]
    observed = np.bincount(bin_of, outcomes, minlength=bins)[kept] / count[kept]
    return ReliabilityTable(predicted, observed, count[kept])


def expected_calibration_error(
    probabilities: np.ndarray, outcomes: np.ndarray, bins: int = 10, scheme: Scheme = "mass"
) -> float:
    """ECE: the gap between probability and rate, averaged over bins by their cases; arguments as `reliability_table`.

    Source: Naeini et al. 2015 (equal width); Nixon et al. 2019, Measuring Calibration in Deep Learning (equal mass).

    >>> round(expected_calibration_error(np.array([0.2, 0.2, 0.2, 0.2]), np.array([1, 0, 0, 0])), 6)
    0.05
    """
    table = reliability_table(probabilities, outcomes, bins, scheme)
    return float(np.average(np.abs(table.predicted - table.observed), weights=table.cases))


def brier_score(probabilities: np.ndarray, outcomes: np.ndarray) -> float:
    """Mean squared difference between probability and outcome (Brier 1950); arguments as `reliability_table`.

    >>> brier_score(np.array([1.0, 0.5]), np.array([1, 0]))
    0.125
    """
    probabilities, outcomes = _check(probabilities, outcomes)
    return float(np.mean((probabilities - outcomes) ** 2))


def _check(probabilities: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, outcomes = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    if probabilities.ndim != 1 or probabilities.shape != outcomes.shape or not probabilities.size:
        shapes = f"{probabilities.shape} and {outcomes.shape}"
        raise ValueError(f"probabilities and outcomes must be [n] with n above 0, are {shapes}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must lie from 0 to 1")
    if not np.isin(outcomes, (0.0, 1.0)).all():
        raise ValueError("outcomes must be 0 or 1")
    return probabilities, outcomes
