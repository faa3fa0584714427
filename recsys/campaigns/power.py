"""What a holdout of some size can show, said before anything is sent: the comparison of two proportions."""

from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

_NORMAL: Final = NormalDist()


class Power(NamedTuple):
    """Of a two-sided test at 5 % between those who may be contacted and those who are held out."""

    treated: int
    held_out: int
    baseline: float
    """The expected rate of response without contact."""
    expected_lift: float | None
    """The expected difference of the rates; None where the effect of contact is not known."""
    power: float | None
    """The probability with which that difference is found."""
    detectable_lift: float | None
    """The difference that is found with a probability of 80 %; None where there is none below certainty."""


def power_of(treated: int, held_out: int, baseline: float, expected_lift: float | None) -> Power:
    """The power of the comparison of two groups.

    Args:
        treated: customers who may be contacted.
        held_out: customers who are not.
        baseline: their rate of response without contact, in [0, 1].
        expected_lift: what contact adds to the rate.
    """
    if not treated or not held_out:
        return Power(treated, held_out, baseline, expected_lift, None, None)
    power = None if expected_lift is None else two_proportions(baseline + expected_lift, baseline, treated, held_out)
    return Power(treated, held_out, baseline, expected_lift, power, _detectable(treated, held_out, baseline))


def two_proportions(p1: float, p0: float, n1: int, n0: int, alpha: float = 0.05) -> float:
    """Power of the two-sided z-test of two proportions (Fleiss, Levin and Paik 2003, eq. 4.14).

    >>> round(two_proportions(0.12, 0.10, 3841, 3841), 2)
    0.8
    """
    p1 = min(max(p1, 0.0), 1.0)
    pooled = (n1 * p1 + n0 * p0) / (n1 + n0)
    null = np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    spread = np.sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    if spread == 0:
        return float(p1 != p0)
    critical = _NORMAL.inv_cdf(1 - alpha / 2) * null
    gap = p1 - p0
    return float(_NORMAL.cdf((gap - critical) / spread) + _NORMAL.cdf((-critical - gap) / spread))


def _detectable(treated: int, held_out: int, baseline: float) -> float | None:
    from scipy.optimize import brentq

    def shortfall(lift: float) -> float:
        return two_proportions(baseline + lift, baseline, treated, held_out) - 0.8

    most = 1.0 - baseline - 1e-9
    return float(brentq(shortfall, 0.0, most)) if most > 0 and shortfall(most) > 0 else None
