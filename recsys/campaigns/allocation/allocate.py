"""The allocation: exact where the problem is small enough, by prices where it is not; the gap is always reported."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl

from recsys.campaigns.allocation import exact, lagrangian
from recsys.campaigns.allocation.limits import AllocationLimits
from recsys.campaigns.allocation.problem import Problem

EXACT_UP_TO: Final = 20_000
"""Options that HiGHS is given whole."""
_BINDING = 1e-9


class ConstraintPrice(NamedTuple):
    """One shared limit."""

    name: str
    limit: float
    used: float
    price: float
    """What one unit more would be worth, in money; of a minimum, what one fewer would."""

    @property
    def binding(self) -> bool:
        """Whether the plan would be worth more without it."""
        return self.price > _BINDING


@dataclass(frozen=True)
class Allocation:
    """Who gets what."""

    assignments: pl.DataFrame
    """The chosen options, sorted by their keys."""
    objective: float
    """Expected incremental value, in money."""
    bound: float
    """No allocation is worth more."""
    prices: list[ConstraintPrice]
    method: Literal["milp", "lagrangian"]

    @property
    def gap(self) -> float:
        """How far below the bound the plan is, as a share of the bound."""
        return max(self.bound - self.objective, 0.0) / abs(self.bound) if self.bound else 0.0


def allocate(options: pl.DataFrame, limits: AllocationLimits, exact_up_to: int = EXACT_UP_TO) -> Allocation:
    """Chooses the options that are worth most under the limits; the same input gives the same choice.

    Args:
        options: one row per (customer_id, product_id, content_id, channel, slot) with category, segment, value
            (expected incremental, in money) and cost.
        limits: what may not be exceeded and must be reached.
        exact_up_to: problems of more options are decomposed.

    Raises:
        InfeasibleError: the minima cannot be met; each reason in words.
        ValueError: the options are not usable.
    """
    problem = Problem.of(options, limits)
    problem.explain_minima()
    if not len(problem):
        return Allocation(problem.options, 0.0, 0.0, _prices(problem, np.zeros(0, bool), np.zeros(0)), "milp")
    if len(problem) <= exact_up_to:
        relaxed = exact.relax(problem)
        chosen = exact.solve(problem)
        method: Literal["milp", "lagrangian"] = "milp"
        if chosen is None:
            chosen, method = lagrangian.fill(problem, relaxed.prices), "lagrangian"
    else:
        relaxed, method = lagrangian.price(problem), "lagrangian"
        chosen = lagrangian.fill(problem, relaxed.prices)
    return Allocation(
        assignments=problem.options.filter(pl.Series(chosen)),
        objective=float(problem.value[chosen].sum()),
        bound=relaxed.bound,
        prices=_prices(problem, chosen, relaxed.prices),
        method=method,
    )


def _prices(problem: Problem, chosen: np.ndarray, prices: np.ndarray) -> list[ConstraintPrice]:
    used = (
        np.asarray(problem.shared @ chosen.astype(np.float64)).ravel() if len(chosen) else np.zeros(len(problem.limit))
    )
    values = prices if len(prices) else np.zeros(len(problem.limit))
    rows = zip(problem.names, problem.limit, used, values, strict=True)
    return [ConstraintPrice(name, abs(float(top)), abs(float(use)), float(price)) for name, top, use, price in rows]
