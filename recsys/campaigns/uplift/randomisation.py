"""Whether the history holds a trial at all: enough of both sides, the promised ratio, and traits in balance.

Source: Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch; Austin 2009 for the standardised mean difference.
"""

from typing import Final, NamedTuple

import numpy as np

_LEAST: Final = 200
"""Rows of either side below which nothing can be said."""
_LEAST_OUTCOMES: Final = 20
_UNEVEN: Final = 0.1
"""Standardised difference from which a trait counts as out of balance, where chance does not do as much: a column that
few rows have is seldom even."""
_Z: Final = 3.89
"""Two-sided p of 0.0001: the threshold that is usual for sample ratios."""


class RandomisationCheck(NamedTuple):
    """What was found."""

    treated: int
    others: int
    outcomes: int
    ratio_z: float
    """Standard errors between the treated that came and those that the propensities promise."""
    balance: dict[str, float]
    """Standardised mean difference by feature, weighted by inverse propensity."""
    reasons: list[str]
    """Why the history cannot be used as a trial; empty where it can."""

    @property
    def passed(self) -> bool:
        """Whether effects may be learned from it."""
        return not self.reasons


def check_randomisation(
    features: np.ndarray, names: list[str], treated: np.ndarray, outcome: np.ndarray, propensity: np.ndarray
) -> RandomisationCheck:
    """Checks a table of trials.

    Args:
        features: [n, F], known before the treatment; nan where missing.
        names: [F]
        treated: [n] bool.
        outcome: [n] 0 or 1.
        propensity: [n] within (0, 1).
    """
    count, positives = int(treated.sum()), int(outcome.sum())
    others = len(treated) - count
    if min(count, others) < _LEAST or positives < _LEAST_OUTCOMES:
        counts = f"{count} treated, {others} not, {positives} outcomes"
        reason = f"too little to learn from ({counts}; {_LEAST} of each and {_LEAST_OUTCOMES} outcomes are needed)"
        return RandomisationCheck(count, others, positives, 0.0, {}, [reason])
    z = float((treated - propensity).sum() / np.sqrt((propensity * (1 - propensity)).sum()))
    weights = np.where(treated, 1 / propensity, 1 / (1 - propensity))
    found = {name: _difference(features[:, index], treated, weights) for index, name in enumerate(names)}
    balance = {name: difference for name, (difference, _) in found.items()}
    reasons = []
    if abs(z) > _Z:
        reasons.append(
            f"sample ratio: {count} treated, {propensity.sum():.0f} promised by the propensities (z {z:.1f})"
        )
    uneven = {name: value for name, (value, error) in found.items() if abs(value) > max(_UNEVEN, _Z * error)}
    if uneven:
        worst = sorted(uneven, key=lambda name: -abs(uneven[name]))[:3]
        reasons.append("out of balance: " + ", ".join(f"{name} ({uneven[name]:+.2f})" for name in worst))
    return RandomisationCheck(count, others, positives, z, balance, reasons)


def _difference(values: np.ndarray, treated: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The standardised mean difference where the trait is known, and its standard error."""
    known = np.isfinite(values)
    sides = [known & treated, known & ~treated]
    if not all(side.any() for side in sides):
        return 0.0, 0.0
    means = [np.average(values[side], weights=weights[side]) for side in sides]
    spreads = [
        np.average((values[side] - mean) ** 2, weights=weights[side]) for side, mean in zip(sides, means, strict=True)
    ]
    spread = float(np.sqrt(sum(spreads) / 2))
    sizes = [weights[side].sum() ** 2 / (weights[side] ** 2).sum() for side in sides]
    error = float(np.sqrt(sum(1 / size for size in sizes)))
    return (float((means[0] - means[1]) / spread) if spread > 1e-12 else 0.0), error
