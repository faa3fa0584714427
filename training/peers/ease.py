"""EASE: a linear item-to-item model in closed form (Steck 2019, Embarrassingly Shallow Autoencoders, eq. 8)."""

import numpy as np
from pydantic import Field

from recsys.errors import RecsysError
from training.peers.base import PeerSettings, weightings
from training.peers.interactions import Asked, Interactions

REGULARISATIONS = (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
MOST_PRODUCTS = 15_000
"""The method inverts a [P, P] float64 matrix: above this it takes more than 5 GB."""


class EaseSettings(PeerSettings):
    """How strongly the weights are held back."""

    regularisation: float = Field(default=500.0, gt=0)


class EasePeer:
    """Scores a product by a learned weighted sum over what the customer has."""

    def grid(self, known: Interactions) -> list[EaseSettings]:
        """Seven regularisations, plain and weighted."""
        return [
            EaseSettings(regularisation=value, weighted=weighted)
            for weighted in weightings(known)
            for value in REGULARISATIONS
        ]

    def fit(self, known: Interactions, settings: EaseSettings) -> None:
        """B = I - P diag(1 / diag P) with P the inverse of X'X + regularisation I.

        Raises:
            RecsysError: there are too many products for a closed form.
        """
        if known.n_products > MOST_PRODUCTS:
            found = f"{known.n_products:,} products are above {MOST_PRODUCTS:,}"
            raise RecsysError(f"EASE inverts a matrix of all products: {found}: leave it out of --peers")
        self._matrix = known.matrix(settings.weighted)
        gram = (self._matrix.T @ self._matrix).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += settings.regularisation
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)[None, :]
        np.fill_diagonal(weights, 0)
        self._weights = weights.astype(np.float32)

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32."""
        return np.asarray(self._matrix[asked.customer] @ self._weights, np.float32)
