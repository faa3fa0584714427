"""A customer's place in a matrix factorisation, from the items that he has: no factor of his own is stored."""

import numpy as np
from scipy import sparse

ALPHA = 10.0
"""An item that a customer has is 1 + ALPHA times as sure as the others (the library `implicit` calls the sum alpha)."""
L2 = 5.0


def fold_in(has: sparse.csr_matrix, factors: np.ndarray) -> np.ndarray:
    """Customers' factors given the items' (Hu, Koren and Volinsky 2008, equation 4).

    Args:
        has: [B, P], non-zero where the customer has the item.
        factors: [P, F] float32.

    Returns:
        [B, F] float32; zero for a customer who has nothing.
    """
    size = factors.shape[1]
    gram = factors.T @ factors + L2 * np.eye(size, dtype=np.float32)
    systems = np.broadcast_to(gram, (has.shape[0], size, size)).copy()
    for row in range(has.shape[0]):
        mine = factors[has.indices[has.indptr[row] : has.indptr[row + 1]]]
        systems[row] += ALPHA * (mine.T @ mine)
    targets = (1 + ALPHA) * np.asarray(has @ factors, np.float32)
    return np.linalg.solve(systems, targets[:, :, None])[:, :, 0]
