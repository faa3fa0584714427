"""The loops of `creative_features`, compiled by numba: what pairs of customers and creatives have in common.

Each pair is looked at for itself: of many creatives only those that are asked about cost anything. K types of event,
B customers, C creatives, E pairs, D dimensions, G labels.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from recsys.compiling import compiled


class CreativeLoops(NamedTuple):
    """The compiled loops; each writes its last argument, [K, E] float32."""

    dots: Callable[..., None]
    """Inner products of rows [R, D], of which B belong to each type of event, with creatives [C, D]."""
    sparse_dots: Callable[..., None]
    """The same of rows [R, G] with the creatives' labels, a sparse [C, G]."""
    same: Callable[..., None]
    """How much the lists of entries hold of each pair's creative."""


@cache
def creative_loops() -> CreativeLoops:
    """The loops, compiled: whoever loads a model waits for it, not the first who asks."""
    from numba import float32, int32, int64, void

    places, table = int64[::1], float32[:, ::1]
    asked = (places, int64, places, places, table)
    return CreativeLoops(
        compiled(_dots, void(table, table, *asked), reordered=True),
        compiled(_sparse_dots, void(table, int64[::1], int32[::1], float32[::1], *asked)),
        compiled(_same, void(places, places, float32[::1], *asked)),
    )


def _dots(
    rows: np.ndarray,
    vectors: np.ndarray,
    types: np.ndarray,
    customers: int,
    customer: np.ndarray,
    creative: np.ndarray,
    out: np.ndarray,
) -> None:
    for place in range(len(types)):
        for pair in range(len(customer)):
            mine, its, total = rows[types[place] * customers + customer[pair]], vectors[creative[pair]], np.float32(0)
            for dimension in range(len(mine)):
                total += mine[dimension] * its[dimension]
            out[place, pair] = total


def _sparse_dots(
    rows: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    types: np.ndarray,
    customers: int,
    customer: np.ndarray,
    creative: np.ndarray,
    out: np.ndarray,
) -> None:
    for place in range(len(types)):
        for pair in range(len(customer)):
            mine, total = rows[types[place] * customers + customer[pair]], np.float32(0)
            for at in range(indptr[creative[pair]], indptr[creative[pair] + 1]):
                total += mine[indices[at]] * data[at]
            out[place, pair] = total


def _same(
    begins: np.ndarray,
    entry: np.ndarray,
    weight: np.ndarray,
    types: np.ndarray,
    customers: int,
    customer: np.ndarray,
    creative: np.ndarray,
    out: np.ndarray,
) -> None:
    for place in range(len(types)):
        for pair in range(len(customer)):
            row, total = types[place] * customers + customer[pair], np.float32(0)
            for at in range(begins[row], begins[row + 1]):
                if entry[at] == creative[pair]:
                    total += weight[at]
            out[place, pair] = total
