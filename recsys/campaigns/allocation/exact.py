"""HiGHS on the whole problem: the relaxation for the bound and the prices, branch and bound for the choice."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from recsys.campaigns.allocation.problem import Problem
from recsys.errors import InfeasibleError

_INFEASIBLE = 2
_NODES = 500
"""Nodes of the search: a count and not a time, so that the same brief gives the same plan on every machine."""
_GAP = 1e-3


class Relaxation(NamedTuple):
    """The linear relaxation."""

    bound: float
    prices: np.ndarray
    """[K] float64 >= 0: what one unit more of each shared limit would be worth."""


def relax(problem: Problem) -> Relaxation:
    """Solves the relaxation.

    Raises:
        InfeasibleError: not even fractions of contacts meet all limits.
    """
    from scipy.optimize import linprog

    own, caps = problem.own_rows()
    matrix = sparse.vstack([problem.shared, own]).tocsr()
    found = linprog(
        -problem.value, A_ub=matrix, b_ub=np.concatenate([problem.limit, caps]), bounds=(0, 1), method="highs"
    )
    if found.status == _INFEASIBLE:
        raise InfeasibleError(["the minima of the cells cannot be met together under the other limits"])
    if not found.success:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    return Relaxation(float(-found.fun), np.maximum(-found.ineqlin.marginals[: len(problem.limit)], 0.0))


def solve(problem: Problem) -> np.ndarray | None:
    """[R] bool of what is chosen; None where the search found nothing within its nodes.

    Raises:
        InfeasibleError: no whole contacts meet all limits.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    own, caps = problem.own_rows()
    matrix = sparse.vstack([problem.shared, own]).tocsr()
    found = milp(
        -problem.value,
        constraints=LinearConstraint(matrix, ub=np.concatenate([problem.limit, caps])),
        integrality=np.ones(len(problem)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": _GAP, "node_limit": _NODES},
    )
    if found.status == _INFEASIBLE:
        raise InfeasibleError(["the minima of the cells cannot be met together under the other limits"])
    return None if found.x is None else found.x > 0.5
