"""Folding a customer in, against the normal equations and against the library that made the factors."""

import numpy as np
import pytest
from scipy import sparse

from recsys.ranking.factors import ALPHA, L2, fold_in
from recsys.ranking.spread import Lists

CUSTOMERS, PRODUCTS, SIZE = 12, 20, 6


@pytest.fixture
def has() -> sparse.csr_matrix:
    taken = np.random.default_rng(0).random((CUSTOMERS, PRODUCTS)) < 0.2
    taken[3] = False
    return sparse.csr_matrix(taken.astype(np.float32))


@pytest.fixture
def factors() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((PRODUCTS, SIZE)).astype(np.float32)


def test_fold_in_equals_the_dense_normal_equations(has: sparse.csr_matrix, factors: np.ndarray) -> None:
    """Hu et al. 2008, equation 4: (Y' C Y + l I)^-1 Y' C p, with the confidence C written out as a matrix."""
    folded = fold_in(Lists.of(has), factors)
    wide = factors.astype(float)
    for row, taken in enumerate(has.toarray()):
        confidence = np.diag(1 + ALPHA * taken.astype(float))
        system = wide.T @ confidence @ wide + L2 * np.eye(SIZE)
        np.testing.assert_allclose(folded[row], np.linalg.solve(system, wide.T @ confidence @ taken), atol=1e-5)


def test_fold_in_equals_implicit_with_the_same_confidence(has: sparse.csr_matrix, factors: np.ndarray) -> None:
    """implicit's alpha is the whole confidence of an item that is there, that is 1 + ALPHA here."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=SIZE, regularization=L2, alpha=1 + ALPHA, num_threads=1)
    model.item_factors = factors
    np.testing.assert_allclose(
        fold_in(Lists.of(has), factors), model.recalculate_user(np.arange(CUSTOMERS), has), atol=1e-4
    )


def test_fold_in_of_who_has_nothing_is_zero(has: sparse.csr_matrix, factors: np.ndarray) -> None:
    folded = fold_in(Lists.of(has), factors)
    assert not folded[3].any()
    assert np.abs(np.delete(folded, 3, axis=0)).sum(axis=1).all()


def test_fold_in_of_one_customer_equals_that_of_many(has: sparse.csr_matrix, factors: np.ndarray) -> None:
    alone = np.concatenate([fold_in(Lists.of(has[row]), factors) for row in range(CUSTOMERS)])
    np.testing.assert_allclose(fold_in(Lists.of(has), factors), alone, atol=1e-6)
