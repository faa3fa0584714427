"""What a contact leads to, by the response model and by the champion's own ranking together.

The response model learns from exposures alone, of which few were followed by an application; the towers and the second
stage know from everything that customers ever took up which product suits whom. Their scores are no probabilities, so
a logistic model of exposures that none of them had seen puts them together.
"""

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig

_LEAST = 1e-6
"""Probabilities below this are counted as this."""
_PRIOR = 1e-3
"""How much the average share of applications that convert weighs beside the model's own, in probability."""


class Blend(BaseConfig):
    """Log-odds of an application after an exposure, as a sum."""

    constant: float
    response: float = Field(ge=0)
    """Of the log-odds by the response model."""
    ranker: float = Field(ge=0)
    """Of the champion's score of the product."""
    tower: float = Field(ge=0)
    """Of the logarithm of the product's share of the customer's interest, by the towers."""
    converts: float = Field(ge=0, le=1)
    """Share of the applications that convert, on average."""

    def __call__(self, probabilities: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """[E, 3] probabilities of a click, an application and a conversion, the last two blended.

        Args:
            probabilities: [E, 3] by the response model.
            inputs: [E, 3] of `blend_inputs`.
        """
        click, apply, convert = probabilities.T
        weights = np.array([self.response, self.ranker, self.tower])
        applied = np.minimum(1 / (1 + np.exp(-(self.constant + inputs @ weights))), click)
        share = np.minimum((convert + _PRIOR * self.converts) / (apply + _PRIOR), 1.0)
        return np.stack([click, applied, applied * share], axis=1)


def blend_inputs(apply: np.ndarray, ranked: np.ndarray, share: np.ndarray) -> np.ndarray:
    """[E, 3] float64: the columns that a blend adds up.

    Args:
        apply: [E] the response model's probability of an application.
        ranked: [E] the champion's score of the product.
        share: [E] of `log_shares`.
    """
    known = np.clip(apply, _LEAST, 1 - _LEAST)
    return np.stack([np.log(known / (1 - known)), ranked, share], axis=1, dtype=np.float64)


def log_shares(scores: np.ndarray) -> np.ndarray:
    """[B, P] the logarithm of each product's share of a customer's interest: the towers' softmax.

    >>> np.exp(log_shares(np.zeros((1, 4)))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    lifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(lifted - np.log(np.exp(lifted).sum(axis=1, keepdims=True)))
