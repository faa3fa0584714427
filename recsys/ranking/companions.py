"""Which products are chosen after which: what may truly be said of it."""

import numpy as np

from recsys.ranking.tables import ItemTables

MOST = 10
"""So many products are a product's companions at most."""
LEAST_TIMES = 10.0
"""Fewer choices than that are left out: nobody shall be recognised in them."""


def companions(tables: ItemTables, product: int) -> np.ndarray:
    """[P] bool: the products that were most often chosen soon after `product`, each at least LEAST_TIMES times.

    A choice that came later than the next one counts as less than one, as in `fit_transitions`.
    """
    mask = np.zeros(len(tables), bool)
    matrix = tables.neighbours.get("transition")
    if matrix is None:
        return mask
    row = slice(matrix.indptr[product], matrix.indptr[product + 1])
    times = matrix.data[row] * tables.activity.cumulative[product, -1]
    best = np.argsort(-times, kind="stable")[:MOST]
    mask[matrix.indices[row][best[times[best] >= LEAST_TIMES]]] = True
    return mask
