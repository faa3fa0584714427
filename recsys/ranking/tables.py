"""What the second stage knows of the products apart from the towers: arrays that are part of the bundle."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from scipy import sparse

from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.activity import Activity
from recsys.ranking.spread import Flat

Arrays = dict[str, np.ndarray]
_COMPARED_UP_TO = 2_048
"""Larger catalogues have no table of how like each product is to each other: it would be large too."""


class ContentTables(NamedTuple):
    """What the products are: from their attributes, texts and pictures alone, so that a new product has all of it."""

    vectors: Arrays
    """Group to [P, D] float32: embeddings, centred and of unit length; zero rows where missing."""
    labels: sparse.csr_matrix
    """[P, G] float32 unit rows of the categories and lists."""
    numbers: np.ndarray
    """[P, N] float32 on the model's scale, NaN where missing."""
    present: np.ndarray
    """[P, number of groups] float32 of zeros and ones."""

    @classmethod
    def fit(cls, encoding: EntityEncoding, rows: EntityRows) -> "ContentTables":
        """Reads them from the columns that the towers read."""
        vectors = {
            group.name: _centred_unit(rows.vectors[group.name]) for group in encoding.groups if group.vector_width
        }
        numbers = [
            np.where(rows.numeric[group.name][:, 1::2] > 0, np.nan, rows.numeric[group.name][:, 0::2])
            for group in encoding.groups
        ]
        return cls(
            vectors=vectors,
            labels=_labels(encoding, rows),
            numbers=np.concatenate(numbers, axis=1).astype(np.float32),
            present=rows.present.astype(np.float32),
        )


@dataclass(frozen=True, eq=False)
class ItemTables:
    """All of it."""

    content: ContentTables
    neighbours: dict[str, sparse.csr_matrix]
    """Name to [P, P] float32 weights from an item that a customer has to the others."""
    factors: np.ndarray
    """[P, F] float32 item factors of a matrix factorisation; F = 0 where there are none."""
    activity: Activity

    def __len__(self) -> int:
        return len(self.content.numbers)

    @cached_property
    def labels(self) -> Flat:
        """The products' labels, for the loops of `spread`."""
        return Flat.of(self.content.labels)

    @cached_property
    def followers(self) -> dict[str, Flat]:
        """The neighbours, for the loops of `spread`."""
        return {name: Flat.of(matrix) for name, matrix in self.neighbours.items()}

    @cached_property
    def likeness(self) -> Arrays | None:
        """Name of a content to [P, P] float32: products' inner products. None where there are too many products."""
        if len(self) > _COMPARED_UP_TO:
            return None
        found = {name: vectors @ vectors.T for name, vectors in self.content.vectors.items()}
        found["labels"] = (self.content.labels @ self.content.labels.T).toarray()
        return {name: np.ascontiguousarray(values, np.float32) for name, values in found.items()}

    @cached_property
    def factor_gram(self) -> np.ndarray:
        """[F, F] float32: the factors' inner products over all products."""
        return np.asarray(self.factors.T @ self.factors, np.float32)

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file."""
        arrays: Arrays = {
            "numbers": self.content.numbers,
            "present": self.content.present,
            "factors": self.factors,
            "activity.cumulative": self.activity.cumulative,
            "activity.grid": np.array([self.activity.start, self.activity.width], np.int64),
            **pack_matrix("labels", self.content.labels),
        }
        arrays |= {f"vectors.{name}": values for name, values in self.content.vectors.items()}
        for name, matrix in self.neighbours.items():
            arrays |= pack_matrix(f"neighbours.{name}", matrix)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The inverse of `to_arrays`.

        Raises:
            KeyError: an array is missing.
        """
        start, width = (int(value) for value in arrays["activity.grid"])
        names = sorted({key.split(".")[1] for key in arrays if key.startswith("neighbours.")})
        vectors = {key.removeprefix("vectors."): value for key, value in arrays.items() if key.startswith("vectors.")}
        return cls(
            ContentTables(vectors, unpack_matrix("labels", arrays), arrays["numbers"], arrays["present"]),
            {name: unpack_matrix(f"neighbours.{name}", arrays) for name in names},
            arrays["factors"],
            Activity(start, width, arrays["activity.cumulative"]),
        )


def _labels(encoding: EntityEncoding, rows: EntityRows) -> sparse.csr_matrix:
    count = len(rows.present)
    row: list[np.ndarray] = []
    column: list[np.ndarray] = []
    width = 0
    for position, single in enumerate(encoding.categorical_columns):
        known = np.flatnonzero(rows.categorical[:, position] > 0)
        row.append(known)
        column.append(width + rows.categorical[known, position] - 1)
        width += len(single.vocabulary)
    for position, several in enumerate(encoding.list_columns):
        known, place = np.nonzero(rows.lists[:, position] > 0)
        row.append(known)
        column.append(width + rows.lists[known, position, place] - 1)
        width += len(several.vocabulary)
    if not row:
        return sparse.csr_matrix((count, 1), dtype=np.float32)
    rows_, columns = np.concatenate(row), np.concatenate(column)
    labels = sparse.csr_matrix((np.ones(len(rows_), np.float32), (rows_, columns)), shape=(count, max(width, 1)))
    norm = np.sqrt(np.asarray(labels.multiply(labels).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(norm, 1e-9)) @ labels, dtype=np.float32)


def _centred_unit(vectors: np.ndarray) -> np.ndarray:
    known = np.abs(vectors).sum(axis=1) > 0
    centred = np.where(known[:, None], vectors - vectors[known].mean(axis=0) if known.any() else vectors, 0.0)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return (centred / np.maximum(norm, 1e-9)).astype(np.float32)


def numeric_names(encoding: EntityEncoding) -> tuple[str, ...]:
    """The names of the columns of `ContentTables.numbers`."""
    return tuple(column.key.split("__", 1)[1] for group in encoding.groups for column in group.numbers)


def pack_matrix(name: str, matrix: sparse.csr_matrix) -> Arrays:
    """A sparse matrix as flat arrays for a safetensors file."""
    return {
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.data": matrix.data.astype(np.float32),
        f"{name}.shape": np.array(matrix.shape, np.int64),
    }


def unpack_matrix(name: str, arrays: Arrays) -> sparse.csr_matrix:
    """The inverse of `pack_matrix`."""
    data, indices, indptr, shape = (arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape"))
    return sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
