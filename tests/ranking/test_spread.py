"""Sums over short lists, against dense matrices."""

import numpy as np
import pytest
from scipy import sparse

from recsys.ranking.spread import Flat, Lists, times_transposed

ROWS, PRODUCTS, COLUMNS = 7, 11, 5


@pytest.fixture
def weights() -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((ROWS, PRODUCTS)) < 0.4, rng.standard_normal((ROWS, PRODUCTS)), 0)
    values[2] = 0
    return sparse.csr_matrix(values.astype(np.float32))


@pytest.fixture
def table() -> sparse.csr_matrix:
    rng = np.random.default_rng(1)
    values = np.where(rng.random((PRODUCTS, COLUMNS)) < 0.5, rng.standard_normal((PRODUCTS, COLUMNS)), 0)
    return sparse.csr_matrix(values.astype(np.float32))


def test_times_sparse_and_dense_are_the_product_of_matrices(
    weights: sparse.csr_matrix, table: sparse.csr_matrix
) -> None:
    expected = weights.toarray().astype(float) @ table.toarray().astype(float)
    np.testing.assert_allclose(Lists.of(weights).times_sparse(Flat.of(table)), expected, atol=1e-6)
    np.testing.assert_allclose(Lists.of(weights).times_dense(table.toarray()), expected, atol=1e-6)


def test_an_entry_that_comes_twice_counts_twice(table: sparse.csr_matrix) -> None:
    twice = Lists(np.array([0, 2]), np.array([3, 3]), np.array([1, 0.5], np.float32))
    np.testing.assert_allclose(twice.times_sparse(Flat.of(table))[0], 1.5 * table.toarray()[3], atol=1e-6)
    assert twice.totals().tolist() == [1.5]


def test_totals_of_rows_with_nothing_are_zero(weights: sparse.csr_matrix) -> None:
    np.testing.assert_allclose(Lists.of(weights).totals(), weights.toarray().sum(axis=1), atol=1e-6)
    assert Lists.of(weights).totals()[2] == 0


def test_times_transposed_are_products_with_the_chosen_rows(table: sparse.csr_matrix) -> None:
    rows = np.random.default_rng(2).standard_normal((4, COLUMNS)).astype(np.float32)
    chosen = np.array([0, 4, 10])
    expected = rows.astype(float) @ table.toarray()[chosen].T
    np.testing.assert_allclose(times_transposed(rows, Flat.of(table), chosen), expected, atol=1e-6)


def test_nobody_asks_for_nothing(table: sparse.csr_matrix) -> None:
    nobody = Lists(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert nobody.times_sparse(Flat.of(table)).shape == (0, COLUMNS)
    assert times_transposed(np.zeros((2, COLUMNS), np.float32), Flat.of(table), np.zeros(0, np.int64)).shape == (2, 0)
