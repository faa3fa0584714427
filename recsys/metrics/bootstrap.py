"""Percentile bootstrap intervals of means over users, and of paired differences (Efron and Tibshirani 1993, ch. 13)."""

from typing import NamedTuple

import numpy as np

DRAWS_AT_ONCE = 4_000_000
"""How many indices are drawn at a time; bounds the memory (32 MB)."""


class Interval(NamedTuple):
    """A mean over users and its bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int
    """How many users."""


def bootstrap_mean(values: np.ndarray, samples: int = 2000, seed: int = 0, level: float = 0.95) -> Interval:
    """The mean of `values` with its percentile interval: the users are what is resampled.

    The same seed gives the same interval on every machine and for every size of chunk.

    >>> bootstrap_mean(np.array([1.0, 1.0, 1.0]))
    Interval(mean=1.0, low=1.0, high=1.0, n=3)

    Args:
        values: [U] float, one value per user.
        samples: how many resamples.
        seed: of the resampling.
        level: how much of the resampled means the interval holds, between 0 and 1.

    Raises:
        ValueError: there is no value, a value is not finite, or an argument is out of bounds.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"values must be [U] finite numbers with U above 0, are {values.shape}")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples ({samples}) must be at least 1 and level ({level}) between 0 and 1")
    n, generator = len(values), np.random.default_rng(seed)
    step = max(1, DRAWS_AT_ONCE // n)
    sizes = [min(step, samples - start) for start in range(0, samples, step)]
    means = np.concatenate([values[generator.integers(0, n, (size, n))].mean(axis=1) for size in sizes])
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(values.mean()), float(low), float(high), n)


def bootstrap_difference(
    a: np.ndarray, b: np.ndarray, samples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The mean of `a - b` with its interval, paired by user; arguments and errors as `bootstrap_mean`.

    >>> bootstrap_difference(np.array([0.75, 0.5]), np.array([0.5, 0.25]))
    Interval(mean=0.25, low=0.25, high=0.25, n=2)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"a and b must be about the same users, are {a.shape} and {b.shape}")
    return bootstrap_mean(a - b, samples, seed, level)
