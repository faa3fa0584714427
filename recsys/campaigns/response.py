"""From a model's score to the probability of a response, learned from the exposures that the bank logged.

The map is monotone: pool-adjacent-violators on the logged outcomes (Barlow et al. 1972; Zadrozny and Elkan 2002), with
straight lines between the middles of its blocks, and a factor for each channel that is shrunk to one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from recsys.errors import RecsysError

LEAST_RESPONSES: Final = 10
"""Fewer say nothing about how scores and responses go together."""
_PRIOR_RESPONSES: Final = 20.0
"""Responses that a channel must have before its own factor weighs as much as the average of all channels."""
_Z: Final = NormalDist().inv_cdf(0.975)


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ResponseCurve:
    """A monotone map from scores to probabilities."""

    scores: np.ndarray
    """[K] rising."""
    probabilities: np.ndarray
    """[K] not falling."""
    channels: Mapping[str, float]
    """What a channel's responses are to the average of all channels; one that is not named: 1."""
    exposures: int
    responses: int

    @classmethod
    def fit(
        cls,
        scores: np.ndarray,
        responded: np.ndarray,
        channels: Sequence[str | None],
        weight: np.ndarray | None = None,
    ) -> "ResponseCurve":
        """Learns the map.

        Args:
            scores: [n] of what was shown.
            responded: [n] bool: the customer did what the campaign wants, within the window.
            channels: [n] where it was shown.
            weight: [n] for how many exposures each stands, where they are a sample; None: for itself.

        Raises:
            RecsysError: there are fewer than LEAST_RESPONSES responses.
        """
        count = int(responded.sum())
        if count < LEAST_RESPONSES:
            raise RecsysError(
                f"the history has {count} responses to {len(scores)} logged impressions, and at least "
                f"{LEAST_RESPONSES} are needed to say what a contact brings: choose an objective that happens more "
                "often (engage, apply), or log more"
            )
        weight = np.ones(len(scores)) if weight is None else weight
        order = np.argsort(scores, kind="stable")
        x, y, w = scores[order].astype(np.float64), responded[order].astype(np.float64), weight[order]
        from scipy.optimize import isotonic_regression

        fitted = isotonic_regression(y, weights=w)
        edges = fitted.blocks
        middles = np.add.reduceat(x * w, edges[:-1]) / np.add.reduceat(w, edges[:-1])
        levels = fitted.x[edges[:-1]]
        knots, first = np.unique(middles, return_index=True)
        every = round(float(weight.sum()))
        curve = cls(knots, np.maximum.accumulate(levels[first]), {}, every, count)
        factors = _factors(curve(scores) * weight, responded * weight, channels)
        return cls(knots, curve.probabilities, factors, every, count)

    def __call__(self, scores: np.ndarray, channel: str | None = None) -> np.ndarray:
        """The probabilities of scores of any shape, float64 in [0, 1]."""
        plain = np.interp(scores, self.scores, self.probabilities)
        return np.minimum(plain * self.channels.get(channel or "", 1.0), 1.0)

    def expected(self, probabilities: np.ndarray) -> Estimate:
        """How many of the contacts bring a response.

        Two things are not known: who responds, given the probabilities (a sum of Bernoulli draws), and how high the
        curve as a whole is, of which `responses` events tell (a Poisson count).
        """
        total = float(probabilities.sum())
        variance = float((probabilities * (1 - probabilities)).sum()) + total**2 / self.responses
        half = _Z * float(np.sqrt(variance))
        return Estimate(total, max(total - half, 0.0), min(total + half, float(len(probabilities))))


def _factors(expected: np.ndarray, responded: np.ndarray, channels: Sequence[str | None]) -> dict[str, float]:
    """Observed over expected responses of each channel, shrunk to 1."""
    names = np.array([name or "" for name in channels], dtype=object)
    factors = {}
    for name in sorted(set(names.tolist()) - {""}):
        here = names == name
        factors[name] = float((responded[here].sum() + _PRIOR_RESPONSES) / (expected[here].sum() + _PRIOR_RESPONSES))
    return factors


def incremental_share(treated: tuple[int, int], control: tuple[int, int]) -> Estimate | None:
    """Which share of the responses would not have come without contact, by a randomised comparison.

    One minus the ratio of the rates, with the log interval of a ratio of two binomials (Katz et al. 1978).

    >>> incremental_share((100, 1000), (50, 1000)).mean
    0.5

    Args:
        treated: responses and customers of those who were contacted.
        control: of those who were not.

    Returns:
        None where one of the two never responded: the ratio has no interval.
    """
    (a, n), (b, m) = treated, control
    if not (a and b and n and m):
        return None
    ratio = (b / m) / (a / n)
    spread = _Z * float(np.sqrt(1 / a - 1 / n + 1 / b - 1 / m))
    return Estimate(1 - ratio, 1 - ratio * float(np.exp(spread)), 1 - ratio * float(np.exp(-spread)))
