"""Implicit matrix factorisation by alternating least squares (Hu, Koren and Volinsky 2008), of `implicit`."""

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from training.peers.base import PeerSettings, weightings
from training.peers.interactions import Asked, Interactions

FACTORS = (32, 64, 128)
REGULARISATIONS = (1.0, 10.0)
ALPHAS = (1.0, 5.0)


class AlsSettings(PeerSettings):
    """Settings of `implicit.cpu.als.AlternatingLeastSquares`."""

    factors: int = Field(default=32, ge=1)
    regularisation: float = Field(default=1.0, ge=0)
    alpha: float = Field(default=1.0, gt=0)
    """Confidence of a positive beside the 1 of everything else."""
    iterations: int = Field(default=15, ge=1)


class AlsPeer:
    """Inner products of customers' and products' factors."""

    def grid(self, known: Interactions) -> list[AlsSettings]:
        """Factors by regularisation by confidence, plain and weighted."""
        return [
            AlsSettings(factors=factors, regularisation=regularisation, alpha=alpha, weighted=weighted)
            for weighted in weightings(known)
            for factors in FACTORS
            for regularisation in REGULARISATIONS
            for alpha in ALPHAS
        ]

    def fit(self, known: Interactions, settings: AlsSettings) -> None:
        """Alternates until the iterations are used up."""
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularisation,
            alpha=settings.alpha,
            iterations=settings.iterations,
            random_state=settings.seed,
        )
        model.fit(csr_matrix(known.matrix(settings.weighted)), show_progress=False)
        self._customers, self._products = model.user_factors, model.item_factors

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32."""
        return np.asarray(self._customers[asked.customer] @ self._products.T, np.float32)
