"""Lagrangian decomposition for many customers: shared limits get prices, and each customer then chooses alone.

Prices come from the relaxation of a sample of customers with the limits scaled down to it, and are mended by a few
subgradient steps on everybody. Any prices give a valid upper bound (weak duality), so the gap that is reported is no
estimate. The choice takes options in the order of their value less what they use of priced limits, minima first.

Source: Fisher 1981, The Lagrangian Relaxation Method for Solving Integer Programming Problems.
"""

from typing import Final

import numpy as np

from recsys.campaigns.allocation.exact import Relaxation, relax
from recsys.campaigns.allocation.filling import Filling
from recsys.campaigns.allocation.problem import Problem
from recsys.errors import InfeasibleError

_SAMPLE: Final = 4000
"""Customers of the sample."""
_STEPS: Final = 40
_FIRST_STEP: Final = 0.05
"""Of a step, in shares of the typical price."""


def price(problem: Problem, seed: int = 0) -> Relaxation:
    """The best upper bound that was found, and the prices that give it."""
    prices = _prices_of_sample(problem, seed)
    best = Relaxation(np.inf, prices)
    scale = np.maximum(prices, prices[prices > 0].mean() if (prices > 0).any() else 1e-6)
    for step in range(_STEPS):
        reduced = problem.value - problem.shared.T @ prices
        chosen = choose_alone(problem, reduced)
        bound = float(reduced[chosen].sum() + prices @ problem.limit)
        if bound < best.bound:
            best = Relaxation(bound, prices)
        over = problem.shared[:, chosen].sum(axis=1).A1 - problem.limit
        relative = over / np.maximum(np.abs(problem.limit), 1.0)
        if not len(relative):
            break
        prices = np.maximum(prices + _FIRST_STEP / (1 + step / 8) * scale * np.clip(relative, -1, 1), 0.0)
    return best


def _prices_of_sample(problem: Problem, seed: int) -> np.ndarray:
    count = int(problem.customer[-1]) + 1
    size = min(_SAMPLE, count)
    people = np.random.default_rng(seed).permutation(count)[:size]
    try:
        return relax(problem.take(people, size / count)).prices
    except InfeasibleError:  # a sample may lack the few customers of a small cell
        return np.zeros(len(problem.limit))


def choose_alone(problem: Problem, reduced: np.ndarray) -> np.ndarray:
    """[M] options that customers choose where only their own caps count: the best of each category, then the best.

    Caps by category inside a cap of all are a laminar matroid, on which the greedy choice is optimal.
    """
    good = np.flatnonzero(reduced > 0)
    order = good[np.lexsort((-reduced[good], problem.customer[good]))]
    cap = problem.limits.per_category
    if cap is not None and cap < problem.limits.per_customer:
        by_group = order[np.argsort(problem.group[order], kind="stable")]
        kept = np.sort(by_group[_place(problem.group[by_group]) < cap])
        order = kept[np.lexsort((-reduced[kept], problem.customer[kept]))]
    return order[_place(problem.customer[order]) < problem.limits.per_customer]


def _place(sorted_keys: np.ndarray) -> np.ndarray:
    """[M] place of each entry among those of the same key, from 0."""
    starts = np.flatnonzero(np.diff(sorted_keys, prepend=-1) != 0)
    counts = np.diff(np.append(starts, len(sorted_keys)))
    return np.arange(len(sorted_keys)) - np.repeat(starts, counts)


def fill(problem: Problem, prices: np.ndarray) -> np.ndarray:
    """[R] bool: options in the order of their reduced value, as long as no limit is broken; minima come first.

    Raises:
        InfeasibleError: a minimum is not reached.
    """
    reduced = problem.value - problem.shared.T @ prices
    order = np.lexsort((np.arange(len(reduced)), -reduced))
    filling = Filling(problem)
    for row in np.flatnonzero(problem.minimum).tolist():
        filling.take(order[np.isin(order, problem.shared[row].indices)], row)
    short = np.flatnonzero(problem.minimum & (filling.used > problem.limit + 1e-9))
    if len(short):
        raise InfeasibleError(
            [
                f"{problem.names[row]}: {-problem.limit[row]:.0f} wanted, "
                f"{-filling.used[row]:.0f} reached under the other limits"
                for row in short
            ]
        )
    filling.take(order[problem.value[order] > 0])
    return filling.chosen
