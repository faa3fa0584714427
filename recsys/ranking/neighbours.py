"""Item-to-item models: what a customer's items say of the others. Each is one sparse matrix [P, P].

EASE: Steck 2019 (Embarrassingly Shallow Autoencoders for Sparse Data), equation 8. ItemKNN: cosine of the items'
customers with shrinkage (Sarwar et al. 2001; Koren 2010, section 2.2). Transitions: how often an item follows another
within a few steps (a first-order Markov chain with a window; Rendle et al. 2010, section 4).
"""

from typing import NamedTuple

import numpy as np
from pydantic import Field
from scipy import sparse

from recsys.config import BaseConfig


class NeighbourConfig(BaseConfig):
    """Regularisation of the item-to-item models."""

    ease_l2: float = Field(default=300.0, gt=0)
    """Added to the diagonal of the items' Gram matrix."""
    ease_up_to: int = Field(default=12_000, ge=0)
    """Larger catalogues have no EASE: it inverts a dense [P, P] matrix."""
    knn_shrinkage: float = Field(default=20.0, ge=0)
    knn_keep: int = Field(default=256, ge=1)
    """Neighbours of each item that count."""
    transition_steps: int = Field(default=3, ge=1)
    """An item counts as following another up to so many steps later, each step half as much as the one before."""
    transition_smoothing: float = Field(default=5.0, ge=0)
    """Added to the number of times that an item was left: rare items say less."""
    keep: int = Field(default=256, ge=1)
    """Entries kept of each item in the other models: bounds the memory of a large catalogue."""


class Sequences(NamedTuple):
    """What customers took up, in order: E entries, those of one customer together and in time order."""

    customer: np.ndarray
    """[E] int64, ascending."""
    product: np.ndarray
    """[E] int64 row of the catalogue."""


def interaction_matrix(sequences: Sequences, customers: int, products: int) -> sparse.csr_matrix:
    """[U, P] float32 of zeros and ones."""
    ones = np.ones(len(sequences.product), np.float32)
    matrix = sparse.csr_matrix((ones, (sequences.customer, sequences.product)), shape=(customers, products))
    matrix.data[:] = 1.0
    return matrix


def fit_ease(interactions: sparse.csr_matrix, config: NeighbourConfig) -> sparse.csr_matrix | None:
    """[P, P]: row i holds what having i adds to the score of every item; None where the catalogue is too large."""
    if interactions.shape[1] > config.ease_up_to:
        return None
    gram = np.asarray((interactions.T @ interactions).todense(), np.float64)
    gram[np.diag_indices_from(gram)] += config.ease_l2
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return _strongest(weights.astype(np.float32), config.keep)


def fit_knn(interactions: sparse.csr_matrix, config: NeighbourConfig) -> sparse.csr_matrix:
    """[P, P] shrunk cosines."""
    together = (interactions.T @ interactions).tocsr().astype(np.float32)
    count = together.diagonal()
    together.setdiag(0)
    together.eliminate_zeros()
    row = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
    together.data /= np.sqrt(count[row] * count[together.indices]) + config.knn_shrinkage
    return _strongest(together, config.knn_keep)


def fit_transitions(sequences: Sequences, products: int, config: NeighbourConfig) -> sparse.csr_matrix:
    """[P, P]: row i holds how likely each item is to follow i."""
    total = sparse.csr_matrix((products, products), dtype=np.float32)
    for step in range(1, config.transition_steps + 1):
        same = sequences.customer[step:] == sequences.customer[:-step]
        before, after = sequences.product[:-step][same], sequences.product[step:][same]
        weight = np.full(len(before), 0.5 ** (step - 1), np.float32)
        total = total + sparse.csr_matrix((weight, (before, after)), shape=(products, products))
    total = total.tocsr()
    total.setdiag(0)
    total.eliminate_zeros()
    left = np.bincount(sequences.product, minlength=products).astype(np.float32)
    row = np.repeat(np.arange(products), np.diff(total.indptr))
    total.data /= left[row] + config.transition_smoothing
    return _strongest(total, config.keep)


def _strongest(weights: np.ndarray | sparse.csr_matrix, keep: int) -> sparse.csr_matrix:
    """The entries of largest magnitude of each row."""
    if isinstance(weights, np.ndarray):
        if weights.shape[1] > keep:
            border = np.partition(np.abs(weights), -keep, axis=1)[:, -keep][:, None]
            weights = np.where(np.abs(weights) >= border, weights, 0)
        return sparse.csr_matrix(weights)
    counts = np.diff(weights.indptr)
    row = np.repeat(np.arange(weights.shape[0]), counts)
    order = np.lexsort((-np.abs(weights.data), row))
    place = np.arange(len(order)) - np.repeat(weights.indptr[:-1], counts)
    kept = order[place < keep]
    return sparse.csr_matrix((weights.data[kept], (row[kept], weights.indices[kept])), shape=weights.shape)
