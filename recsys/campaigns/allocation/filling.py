"""Takes options one after the other, as long as no limit is broken; the loop is compiled by numba."""

from functools import cache
from typing import Any

import numpy as np

from recsys.campaigns.allocation.problem import Problem
from recsys.compiling import compiled

_NO_MINIMUM = -1


class Filling:
    """What is chosen so far, and what it uses. R options, K shared limits."""

    def __init__(self, problem: Problem) -> None:
        self.chosen = np.zeros(len(problem), bool)
        """[R]"""
        self.used = np.zeros(len(problem.limit))
        """[K]"""
        limits, columns = problem.limits, problem.by_option
        count, groups = (int(values.max(initial=-1)) + 1 for values in (problem.customer, problem.group))
        self._of_customer, self._of_group = np.zeros(count, np.int64), np.zeros(groups, np.int64)
        self._caps = np.array([limits.per_customer, limits.per_category or limits.per_customer], np.int64)
        self._owners = problem.customer, problem.group
        self._columns = columns.indptr.astype(np.int64), columns.indices.astype(np.int64), columns.data
        self._limits = problem.limit + 1e-9, ~problem.minimum

    def take(self, order: np.ndarray, minimum: int = _NO_MINIMUM) -> None:
        """Takes what fits, in this order of options; with a minimum, one of the K limits, until that is reached."""
        state = self.chosen, self.used, self._of_customer, self._of_group
        options = np.ascontiguousarray(order, np.int64)
        _loop()(options, minimum, *self._owners, *self._columns, *self._limits, self._caps, *state)


@cache
def _loop() -> Any:
    """The loop, compiled when it is first asked for."""
    from numba import boolean, float64, int64, void

    whole, real, flags = int64[::1], float64[::1], boolean[::1]
    columns = (whole, whole, real)
    return compiled(_take, void(whole, int64, whole, whole, *columns, real, flags, whole, flags, real, whole, whole))


def _take(
    order: np.ndarray,
    minimum: int,
    customer: np.ndarray,
    group: np.ndarray,
    start: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    limit: np.ndarray,
    ceiling: np.ndarray,
    caps: np.ndarray,
    chosen: np.ndarray,
    used: np.ndarray,
    of_customer: np.ndarray,
    of_group: np.ndarray,
) -> None:
    """`start`, `rows` and `weights` are the shared limits by option; `ceiling` says which are no minima."""
    for one in order:
        if minimum >= 0 and used[minimum] <= limit[minimum]:
            return
        if chosen[one] or of_customer[customer[one]] >= caps[0] or of_group[group[one]] >= caps[1]:
            continue
        fits = True
        for at in range(start[one], start[one + 1]):
            row = rows[at]
            fits &= not (ceiling[row] and used[row] + weights[at] > limit[row])
        if not fits:
            continue
        for at in range(start[one], start[one + 1]):
            used[rows[at]] += weights[at]
        chosen[one] = True
        of_customer[customer[one]] += 1
        of_group[group[one]] += 1
