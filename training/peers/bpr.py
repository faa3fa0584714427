"""Bayesian personalised ranking (Rendle et al. 2009) of `implicit`."""

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from training.peers.base import PeerSettings
from training.peers.interactions import Asked, Interactions

FACTORS = (64, 128)
LEARNING_RATES = (0.01, 0.02)
REGULARISATIONS = (0.01, 0.05)
ITERATIONS = (50, 100)


class BprSettings(PeerSettings):
    """Settings of `implicit.cpu.bpr.BayesianPersonalizedRanking`; it reads no weights."""

    factors: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    regularisation: float = Field(default=0.01, ge=0)
    iterations: int = Field(default=100, ge=1)


class BprPeer:
    """Inner products of factors that were trained to put what was taken up before what was not."""

    def grid(self, known: Interactions) -> list[BprSettings]:
        """Factors by learning rate by regularisation by iterations."""
        return [
            BprSettings(factors=factors, learning_rate=rate, regularisation=regularisation, iterations=iterations)
            for factors in FACTORS
            for rate in LEARNING_RATES
            for regularisation in REGULARISATIONS
            for iterations in ITERATIONS
        ]

    def fit(self, known: Interactions, settings: BprSettings) -> None:
        """One thread: several would write over each other in an order of chance."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        model = BayesianPersonalizedRanking(
            factors=settings.factors,
            learning_rate=settings.learning_rate,
            regularization=settings.regularisation,
            iterations=settings.iterations,
            num_threads=1,
            random_state=settings.seed,
        )
        model.fit(csr_matrix(known.matrix()), show_progress=False)
        self._customers, self._products = model.user_factors, model.item_factors

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32."""
        return np.asarray(self._customers[asked.customer] @ self._products.T, np.float32)
