"""A customer's place in a matrix factorisation, from the items that he has: no factor of his own is stored."""

import numpy as np

from recsys.ranking.spread import Lists

ALPHA = 10.0
"""An item that a customer has is 1 + ALPHA times as sure as the others (the library `implicit` calls the sum alpha)."""
L2 = 5.0


def fold_in(has: Lists, factors: np.ndarray, gram: np.ndarray | None = None) -> np.ndarray:
    """Customers' factors given the items' (Hu, Koren and Volinsky 2008, equation 4).

    Args:
        has: B lists of the items that customers have, each once and of weight 1.
        factors: [P, F] float32.
        gram: [F, F], their inner products, where they are known already.

    Returns:
        [B, F] float32; zero for a customer who has nothing.
    """
    size, count = factors.shape[1], len(has.begins) - 1
    gram = factors.T @ factors if gram is None else gram
    systems = np.broadcast_to(gram + L2 * np.eye(size, dtype=np.float32), (count, size, size)).copy()
    for row in range(count):
        mine = factors[has.product[has.begins[row] : has.begins[row + 1]]]
        systems[row] += ALPHA * (mine.T @ mine)
    targets = (1 + ALPHA) * has.times_dense(factors)
    return np.linalg.solve(systems, targets[:, :, None])[:, :, 0]
