"""No steering to the costlier variant, measured: what the model would do, and what the rule lets through."""

from typing import NamedTuple

import numpy as np

from recsys.policy.rules.credit import SteeringRule
from training.fairness.audience import STEERING, Audience


class Steering(NamedTuple):
    """Of each of B customers, over the pairs of variants of one type that he may have, one cheaper than the other."""

    pairs: np.ndarray
    """[B] int: how many pairs he could choose between."""
    ranked: np.ndarray
    """[B] int: in how many the model scores the costlier one higher."""
    shown: np.ndarray
    """[B] int: in how many the costlier one stands in his list: with the rule in force, none."""


def measure_steering(audience: Audience, scores: np.ndarray, ranked: np.ndarray) -> Steering | None:
    """Counts the pairs; None where the pack has no such rule, or the catalogue no two variants of a type.

    Args:
        audience: B customers.
        scores: [B, P] the model's, before any rule about variants.
        ranked: [B, k] the rows of the products that they are shown, -1 for none.
    """
    rule = audience.policy.pack.rule(STEERING)
    if not isinstance(rule, SteeringRule):
        return None
    types = rule.variants(audience.policy.groups(audience.products))
    if not types:
        return None
    pairs, higher, seen = (np.zeros(len(audience), np.int64) for _ in range(3))
    shown = np.zeros((len(audience), len(audience.products) + 1), bool)
    np.put_along_axis(shown, ranked, values=True, axis=1)  # the last column takes the -1
    for positions, cheaper in types:
        for low, high in zip(*np.nonzero(cheaper), strict=True):
            cheap, costly = positions[low], positions[high]
            both = audience.choosable[:, cheap] & audience.choosable[:, costly]
            pairs += both
            higher += both & (scores[:, costly] > scores[:, cheap])
            seen += both & shown[:, costly]
    return Steering(pairs, higher, seen)
