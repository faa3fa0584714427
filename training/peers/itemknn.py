"""Item-to-item neighbours by shrunk cosine (Sarwar et al. 2001, Item-based Collaborative Filtering)."""

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, vstack

from training.peers.base import PeerSettings, weightings
from training.peers.interactions import Asked, Interactions

NEIGHBOURS = (20, 50, 100, 200)
SHRINKS = (0.0, 10.0, 50.0)
_ROWS_AT_ONCE = 1024


class ItemKnnSettings(PeerSettings):
    """How similar, and how many."""

    neighbours: int = Field(default=100, ge=1)
    shrink: float = Field(default=10.0, ge=0)
    """Added to the product of the norms: two products that few took up are less similar."""


class ItemKnnPeer:
    """Scores a product by its similarity to what the customer has."""

    def grid(self, known: Interactions) -> list[ItemKnnSettings]:
        """Neighbours by shrink, plain and weighted."""
        return [
            ItemKnnSettings(neighbours=neighbours, shrink=shrink, weighted=weighted)
            for weighted in weightings(known)
            for neighbours in NEIGHBOURS
            for shrink in SHRINKS
        ]

    def fit(self, known: Interactions, settings: ItemKnnSettings) -> None:
        """Similarities of all pairs, some rows at a time; each product keeps its nearest."""
        self._matrix = known.matrix(settings.weighted)
        columns = self._matrix.T.tocsr()
        norms = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=1)).ravel())
        rows = []
        for start in range(0, known.n_products, _ROWS_AT_ONCE):
            block = slice(start, start + _ROWS_AT_ONCE)
            common = (columns[block] @ self._matrix).toarray()
            similarity = common / np.maximum(norms[block, None] * norms[None, :] + settings.shrink, 1e-9)
            similarity[np.arange(len(similarity)), start + np.arange(len(similarity))] = 0
            rows.append(csr_array(_keep_nearest(similarity, settings.neighbours)))
        # Row i holds i's own neighbours; a product scores by the customer's products among its neighbours.
        self._neighbours = vstack(rows, format="csr").T.tocsr()

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32 sums of similarities."""
        return (self._matrix[asked.customer] @ self._neighbours).toarray().astype(np.float32)


def _keep_nearest(similarity: np.ndarray, n: int) -> np.ndarray:
    """[R, P] with all but the n largest of each row set to zero; of equals the lower index stays."""
    if n >= similarity.shape[1]:
        return similarity
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :n]
    out = np.zeros_like(similarity)
    np.put_along_axis(out, nearest, np.take_along_axis(similarity, nearest, axis=1), axis=1)
    return out
