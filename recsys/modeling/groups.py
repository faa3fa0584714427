"""The best entry of each group of a sorted list."""

import numpy as np


def best_of_groups(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[m] int64, rising: of each of m groups, where its highest value stands; of equal ones the first.

    >>> best_of_groups(np.array([0.2, 0.7, 0.7, 0.1]), np.array([4, 4, 4, 9])).tolist()
    [1, 3]

    Args:
        values: [n], none of them NaN.
        group: [n] int64, rising.
    """
    if not len(values):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    highest = np.repeat(np.maximum.reduceat(values, starts), np.diff(np.append(starts, len(values))))
    best = np.flatnonzero(values == highest)
    return best[np.diff(group[best], prepend=group[0] - 1) != 0]
