"""The vectors of what can be shown."""

from typing import NamedTuple

import numpy as np


class CandidateVectors(NamedTuple):
    """Raw vectors of the candidates, before scaling."""

    products: np.ndarray
    """[P, D] float32."""
    contents: np.ndarray
    """[C, D] float32, C = 0 where there are no creatives."""


def with_zero_row(vectors: np.ndarray) -> np.ndarray:
    """[N, D] to [N + 1, D]: index -1, 'none', then reads zeros."""
    return np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
