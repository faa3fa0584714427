"""Products that nobody has touched yet, ranked among themselves from their content alone.

What customers did with the known products is smoothed to its low-rank part and carried over to new ones by kernel ridge
regression from content: popularity and taste at once, since who takes up much counts much. All of it comes to one
matrix from known to new products, which is summed over everything that a customer ever took up. C new products, P
products in all, W known ones, B customers.
"""

from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.tables import Arrays, ContentTables

_SHARPNESS = 0.5
"""Of the kernels of embeddings: exp((cosine - 1) / _SHARPNESS)."""
_LABELS = 0.3
"""Weight of the labels in a kernel."""
_WIDE, _NARROW = 0.7, 0.15
"""Widths of the kernels of numbers, in standard deviations."""
_ALONE = 0.5
"""Weight of the embeddings and labels apart from the numbers."""
_RIDGE = 1.0
_FACTORS = 32


class ColdConfig(BaseConfig):
    """What the kernel of content listens to: chosen on validation."""

    sources: dict[str, float] = Field(default_factory=dict)
    """Group of embeddings to its weight; one that is not named has the weight 1."""
    numbers: bool = True
    """Whether products far apart in their numbers are unlike each other."""
    validation: float = Field(default=0.0, ge=0, le=1)
    """NDCG@10 in the drill with these settings."""


class ColdTables(NamedTuple):
    """What the known products say of the new ones."""

    cold: np.ndarray
    """[C] int64 rows of the catalogue."""
    carry: np.ndarray
    """[P, C] float32: what a customer's having a product says of each new one; 0 for products that are new."""
    popularity: np.ndarray
    """[C] float32: the same of an average customer."""

    @classmethod
    def fit(cls, kernel: np.ndarray, known: "KnownProducts", cold: np.ndarray) -> "ColdTables":
        """Solves the ridge regression.

        Args:
            kernel: [P, P] of the content of all products.
            known: what customers did with the others.
            cold: [C] rows of the new ones.
        """
        warm = known.products
        regularised = kernel[np.ix_(warm, warm)] + _RIDGE * np.eye(len(warm), dtype=np.float32)
        solved = np.linalg.solve(regularised, kernel[np.ix_(warm, cold)])
        carry = np.zeros((len(kernel), len(cold)), np.float32)
        carry[warm] = known.factors @ (known.factors.T @ solved)
        return cls(cold, carry, (known.mean @ carry[warm]).astype(np.float32))

    def score(self, had: np.ndarray) -> np.ndarray:
        """[B, C] float32 for customers who took up [B, P] products (zeros and ones)."""
        return had @ self.carry + self.popularity

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file."""
        return {name: np.ascontiguousarray(values) for name, values in self._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ColdTables":
        """The inverse of `to_arrays`.

        Raises:
            KeyError: an array is missing.
        """
        return cls(*(arrays[name] for name in cls._fields))


class KnownProducts(NamedTuple):
    """What customers did with W known products, as far as it has low rank."""

    products: np.ndarray
    """[W] int64 rows of the catalogue."""
    factors: np.ndarray
    """[W, F] float32: the right singular vectors, an orthonormal base."""
    mean: np.ndarray
    """[W] float32: the share of customers who took each up."""

    @classmethod
    def fit(cls, matrix: np.ndarray, products: np.ndarray) -> "KnownProducts":
        """Reads them off [U, P] zeros and ones; the columns of other products are not looked at."""
        known = matrix[:, products]
        _, vectors = np.linalg.eigh(known.T @ known)  # the strongest come last
        return cls(products, np.ascontiguousarray(vectors[:, -_FACTORS:], np.float32), known.mean(axis=0))


class ColdRanker:
    """Puts new products in order among themselves."""

    def __init__(self, tables: ColdTables, config: ColdConfig) -> None:
        self.tables = tables
        self.config = config

    def score(self, ever: np.ndarray) -> np.ndarray:
        """[B, C] float32, higher is better.

        Args:
            ever: [B, K] int64 rows of the products that each customer ever took up, -1 = none.
        """
        return self.tables.score(had_products(ever, len(self.tables.carry)))

    def reorder(self, ever: np.ndarray, scores: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        """The same [B, P] scores, with those of the new products handed out among themselves by `score`.

        So a list has as many new products, at the same places, as it had before. Products that are not allowed keep
        theirs.
        """
        cold = self.tables.cold
        may = np.ones((len(scores), len(cold)), bool) if allowed is None else allowed[:, cold]
        if not may.any():
            return scores
        present = scores[:, cold]
        wanted = np.where(may, self.score(ever), -np.inf)
        order = np.argsort(-wanted, axis=1, kind="stable")
        best_first = -np.sort(-np.where(may, present, -np.inf), axis=1)
        dealt = np.empty_like(present)
        np.put_along_axis(dealt, order, best_first, axis=1)
        out = scores.copy()
        out[:, cold] = np.where(may, dealt, present)
        return out


def had_products(ever: np.ndarray, products: int) -> np.ndarray:
    """[B, P] float32 of zeros and ones: the products in each row of [B, K] int64, -1 = none."""
    row, place = np.nonzero(ever >= 0)
    had = np.zeros((len(ever), products), np.float32)
    had[row, ever[row, place]] = 1.0
    return had


def content_kernel(content: ContentTables, config: ColdConfig) -> np.ndarray:
    """[P, P] float32: how alike products are."""
    alike = _LABELS * (content.labels @ content.labels.T).toarray()
    for name, vectors in content.vectors.items():
        weight = config.sources.get(name, 1.0)
        if weight:
            alike = alike + weight * np.exp((vectors @ vectors.T - 1) / _SHARPNESS)
    if not (config.numbers and content.numbers.shape[1]):
        return np.asarray((1 + _ALONE) * alike + 1, np.float32)
    apart = np.zeros_like(alike)
    for values in np.nan_to_num(content.numbers).T:
        apart += (values[:, None] - values[None, :]) ** 2 / content.numbers.shape[1]
    wide, narrow = (np.exp(-apart / (2 * width**2)) for width in (_WIDE, _NARROW))
    return np.asarray(wide * (1 + alike) + narrow + _ALONE * alike, np.float32)
