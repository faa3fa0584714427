"""Sums over the entries of many short lists, compiled by numba when they are first asked for.

What a request asks of sparse matrices is small: building one costs more than all of its numbers. Here nothing is built.
A list is a part of flat arrays: R rows, N entries, P products, D columns.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from recsys.compiling import compiled


class Kernels(NamedTuple):
    """The compiled sums; each adds to its last argument."""

    sparse: Callable[..., None]
    """[R, D] += rows of lists times a sparse [P, D]."""
    dense: Callable[..., None]
    """[R, D] += rows of lists times a dense [P, D]."""
    against: Callable[..., None]
    """[R, Q] += dense rows [R, D] times the transposed rows `products` [Q] of a sparse [P, D]."""
    between: Callable[..., None]
    """[R, Q] += the chosen ones of the rows of lists times the columns `products` [Q] of a dense [P, P]."""
    squares: Callable[..., None]
    """[R] += of the rows of lists x and a dense [P, P] M: x M x."""


class Flat(NamedTuple):
    """A CSR matrix as the loops read it: converting one for every sum would cost more than the sum."""

    indptr: np.ndarray
    """[P + 1] int64."""
    indices: np.ndarray
    """[N] int32."""
    data: np.ndarray
    """[N] float32."""
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: Any) -> "Flat":
        """Of a CSR matrix."""
        indices = matrix.indices.astype(np.int32, copy=False)
        return cls(matrix.indptr.astype(np.int64), indices, _single(matrix.data), matrix.shape)


class Lists(NamedTuple):
    """R lists of products with a weight each."""

    begins: np.ndarray
    """[R + 1] int64."""
    product: np.ndarray
    """[N] int64."""
    weight: np.ndarray
    """[N] float32."""

    @classmethod
    def of(cls, matrix: Any) -> "Lists":
        """The rows of a CSR matrix, [R, P]."""
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), _single(matrix.data))

    def rows(self, first: int, count: int) -> "Lists":
        """The lists from row `first`, `count` of them."""
        begins = self.begins[first : first + count + 1]
        inside = slice(begins[0], begins[-1])
        return Lists(begins - begins[0], self.product[inside], self.weight[inside])

    def times_sparse(self, matrix: Flat) -> np.ndarray:
        """[R, D] float32: these rows times a sparse matrix, [P, D]."""
        out = np.zeros((len(self.begins) - 1, matrix.shape[1]), np.float32)
        kernels().sparse(*self, *matrix[:3], out)
        return out

    def times_dense(self, matrix: np.ndarray) -> np.ndarray:
        """[R, D] float32: these rows times an array, [P, D] float32."""
        out = np.zeros((len(self.begins) - 1, matrix.shape[1]), np.float32)
        kernels().dense(*self, _single(matrix), out)
        return out

    def between(self, table: np.ndarray, products: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """[R, Q] float32: the `chosen` [R] ones of these rows, times columns `products` [Q] of [P, P]; the others 0."""
        out = np.zeros((len(chosen), len(products)), np.float32)
        kernels().between(*self, table, products, chosen, out)
        return out

    def squares(self, table: np.ndarray) -> np.ndarray:
        """[R] float32: each row x, times a [P, P] matrix, times x."""
        out = np.zeros(len(self.begins) - 1, np.float32)
        kernels().squares(*self, table, out)
        return out

    def totals(self) -> np.ndarray:
        """[R] float64: the sum of each row's weights."""
        sums = np.concatenate([[0.0], np.cumsum(self.weight, dtype=np.float64)])
        return sums[self.begins[1:]] - sums[self.begins[:-1]]


def times_transposed(rows: np.ndarray, matrix: Flat, products: np.ndarray) -> np.ndarray:
    """[R, Q] float32: rows [R, D] times the transposed rows `products` [Q] of a sparse matrix, [P, D]."""
    out = np.zeros((len(rows), len(products)), np.float32)
    kernels().against(_single(rows), *matrix[:3], products, out)
    return out


def _single(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


@cache
def kernels() -> Kernels:
    """The sums, compiled: whoever loads a model waits for it, not the first who asks."""
    from numba import boolean, float32, int32, int64, void

    lists = (int64[::1], int64[::1], float32[::1])
    matrix = (int64[::1], int32[::1], float32[::1])
    table = float32[:, ::1]
    return Kernels(
        compiled(_sparse, void(*lists, *matrix, table)),
        compiled(_dense, void(*lists, table, table)),
        compiled(_against, void(table, *matrix, int64[::1], table)),
        compiled(_between, void(*lists, table, int64[::1], boolean[::1], table)),
        compiled(_squares, void(*lists, table, float32[::1])),
    )


def _sparse(
    begins: np.ndarray,
    product: np.ndarray,
    weight: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(len(out)):
        for entry in range(begins[row], begins[row + 1]):
            one, times = product[entry], weight[entry]
            for at in range(indptr[one], indptr[one + 1]):
                out[row, indices[at]] += times * data[at]


def _dense(begins: np.ndarray, product: np.ndarray, weight: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    for row in range(len(out)):
        for entry in range(begins[row], begins[row + 1]):
            one, times = product[entry], weight[entry]
            for column in range(out.shape[1]):
                out[row, column] += times * table[one, column]


def _against(
    rows: np.ndarray, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, products: np.ndarray, out: np.ndarray
) -> None:
    for row in range(len(out)):
        for place in range(len(products)):
            total = np.float32(0)
            for at in range(indptr[products[place]], indptr[products[place] + 1]):
                total += rows[row, indices[at]] * data[at]
            out[row, place] += total


def _between(
    begins: np.ndarray,
    product: np.ndarray,
    weight: np.ndarray,
    table: np.ndarray,
    products: np.ndarray,
    chosen: np.ndarray,
    out: np.ndarray,
) -> None:
    for row in range(len(out)):
        if chosen[row]:
            for entry in range(begins[row], begins[row + 1]):
                mine, times = table[product[entry]], weight[entry]
                for place in range(len(products)):
                    out[row, place] += times * mine[products[place]]


def _squares(begins: np.ndarray, product: np.ndarray, weight: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    for row in range(len(out)):
        for entry in range(begins[row], begins[row + 1]):
            mine, total = table[product[entry]], np.float32(0)
            for other in range(begins[row], begins[row + 1]):
                total += weight[other] * mine[product[other]]
            out[row] += weight[entry] * total
