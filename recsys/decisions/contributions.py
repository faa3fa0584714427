"""For staff: what each modality adds to a product's score, exactly.

A product is shown for how much its score exceeds the others', so what is explained is its distance from the average of
the products that the customer may have. That distance is worked out with every subset of his M modalities; a modality's
contribution is its Shapley value (Shapley 1953), the average of what it adds over all orders in which modalities become
known. What is left when nothing is known of him is the item's own: popularity, and what the product is. All of them add
up to the distance.
"""

from collections.abc import Sequence
from itertools import combinations
from math import factorial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.decisions.answer import DecisionRequest
from recsys.decisions.evidence import VIEWS, drop
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import Features
from recsys.policy.facts import BoolArray
from recsys.schema import Kind, Modality

ITEM: Final = "item"
"""What is the product's own: its popularity, and what it is."""


class Contributions(NamedTuple):
    """Of one product to one customer."""

    score: float
    average: float
    """Of the products that he may have, and of this one."""
    parts: dict[str, float]
    """Modality to what it adds, and ITEM; their sum is `score - average`."""
    ranker: dict[str, float]
    """The second stage's own account of the score: groups of its features and its `average` add up to `score`; empty
    where the towers' order is served, or nothing is known of the customer."""


def contributions(
    pipeline: DecisionPipeline, features: Features, product: int, allowed: BoolArray, request: DecisionRequest
) -> Contributions:
    """Explains one product's score for one customer.

    Args:
        pipeline: what ranks.
        features: the customer's row, of what he lets be looked at.
        product: the position of the product.
        allowed: [P]: the products that he may have.
        request: when and where.
    """
    scorer = pipeline.scorer
    missing = scorer.missing_modalities(features)
    present = [modality for modality in scorer.modalities if modality not in missing]
    among = allowed.copy()
    among[product] = True
    rows = [_knowing_only(features, present, subset) for subset in subsets(len(present))]
    states = scorer.encode(rows, [request.now] * len(rows), request.context.channel)
    scores = scorer.score(states, Kind.PRODUCTS, np.broadcast_to(among, (len(rows), len(among))))
    scores = scores.astype(np.float64)
    distance = scores[:, product] - scores[:, among].mean(axis=1)
    values = shapley(distance)
    parts = {ITEM: float(distance[0])} | dict(zip(map(str, present), values.tolist(), strict=True))
    ranker = scorer.ranker_contributions(states[-1:], product)
    return Contributions(float(scores[-1, product]), float(scores[-1, among].mean()), parts, ranker)


def subsets(count: int) -> list[tuple[int, ...]]:
    """All subsets of `count` players, by size; the first is empty, the last is all.

    >>> subsets(2)
    [(), (0,), (1,), (0, 1)]
    """
    return [subset for size in range(count + 1) for subset in combinations(range(count), size)]


def shapley(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Shapley value of each of M players.

    Args:
        values: [2^M], what each of `subsets(M)` is worth.

    Returns:
        [M]; they add up to the worth of all less the worth of none.

    >>> shapley(np.array([0.0, 1.0, 2.0, 4.0])).tolist()
    [1.5, 2.5]
    """
    count = len(values).bit_length() - 1
    worth = dict(zip(subsets(count), values.tolist(), strict=True))
    found = np.zeros(count)
    for subset, value in worth.items():
        for player in set(range(count)) - set(subset):
            weight = factorial(len(subset)) * factorial(count - len(subset) - 1) / factorial(count)
            found[player] += weight * (worth[tuple(sorted((*subset, player)))] - value)
    return found


def _knowing_only(features: Features, present: Sequence[Modality], subset: Sequence[int]) -> Features:
    """The row with some of the present modalities only."""
    known = {present[place] for place in subset}
    return drop(features, [view for modality, views in VIEWS.items() if modality not in known for view in views])
