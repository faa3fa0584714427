"""Affinity: a bilinear model of which products customers with such columns take up, one part a modality.

Trees find it hard to see that a text about travelling goes with a travel card: that is a product of two embeddings. A
matrix between what the customer is and what the product is says it in one number. Each modality has its own part, which
is nothing where it is missing; and a product that nobody has touched has a place by what it is.

Letters: N customers, P products, E labels, D a group's width, K the products' width.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.interest_loop import of_group
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.tables import ContentTables
from recsys.schema import FeatureKind

_PREFIX = "affinity"
_UNIT_SCALE = np.float32(8.0)
"""Directions of pooled embeddings, which are of length 1, vary little: so much more makes them the numbers' equals."""


class AffinityConfig(BaseConfig):
    """How the model is fitted."""

    enabled: bool = True
    labels: int = Field(default=24_000, ge=1)
    """At most so many are drawn, by their weights."""
    cells: int = Field(default=20_000_000, ge=1)
    """At most so many labels times products."""
    most_products: int = Field(default=5000, ge=1)
    """Larger catalogues have no such model."""
    product_directions: int = Field(default=16, ge=1)
    """Principal directions kept of each of the products' embeddings."""
    l2: float = Field(default=0.03, ge=0)
    """Weight of the squares beside the mean loss of a label."""
    iterations: int = Field(default=40, ge=1)
    folds: int = Field(default=3, ge=2)
    """Those who learn from its scores see scores of a model that has not seen the customer."""


class Learned(NamedTuple):
    """E labels to learn from."""

    row: np.ndarray
    """[E] int64 row of the customers' columns."""
    product: np.ndarray
    """[E] int64."""
    weight: np.ndarray
    """[E] float32."""


@dataclass(frozen=True, eq=False)
class Affinity:
    """The fitted model."""

    weights: dict[str, np.ndarray]
    """By group of the customers' columns: [D, K] float32."""
    products: np.ndarray
    """[P, K] float32: what the products are."""
    bias: np.ndarray
    """[P] float32."""

    @classmethod
    def fit(
        cls, blocks: Arrays, products: np.ndarray, learned: Learned, config: AffinityConfig, seed: int = 0
    ) -> "Affinity":
        """Full softmax over the products with squares as a penalty, by L-BFGS.

        Args:
            blocks: the customers' columns, as `customer_blocks` makes them.
            products: [P, K] as `product_basis` makes it.
            learned: the labels.
            config: how.
            seed: of the draw.
        """
        from recsys.ranking.affinity_fit import fit_softmax

        count = min(config.labels, max(1, config.cells // len(products)), len(learned.row))
        weight = learned.weight.astype(np.float64)
        chance = weight / weight.sum()  # a sum of single precision would not give chances that add up to one
        drawn = np.random.default_rng(seed).choice(len(learned.row), count, p=chance)
        rows = learned.row[drawn]
        inputs = np.concatenate([block[rows] for block in blocks.values()], axis=1)
        weights, bias = fit_softmax(inputs, products, learned.product[drawn], config.l2, config.iterations)
        edges = np.cumsum([block.shape[1] for block in blocks.values()])[:-1]
        parts = np.split(weights, edges)
        return cls(dict(zip(blocks, parts, strict=True)), products, bias)

    @property
    def names(self) -> list[str]:
        """What `table` holds."""
        return [_PREFIX, *(f"{_PREFIX}_{name}" for name in self.weights)]

    def scores(self, blocks: Arrays) -> Arrays:
        """Name to [N, P] float32: the part of each group, centred, and the log-probability of each product."""
        return dict(zip(self.names, self.table(blocks), strict=True))

    def table(self, blocks: Arrays) -> np.ndarray:
        """As `scores`: [1 + groups, N, P] float32."""
        first = next(iter(blocks.values()))
        out = np.empty((1 + len(self.weights), len(first), len(self.products)), np.float32)
        total, parts = out[0], out[1:]
        total[:] = self.bias
        for name, part in zip(self.weights, parts, strict=True):
            np.matmul(blocks[name], self._through[name], out=part)
            total += part
        total -= total.max(axis=1, keepdims=True)
        total -= np.log(np.exp(total).sum(axis=1, keepdims=True))
        parts -= parts.mean(axis=2, keepdims=True)
        return out

    @cached_property
    def _through(self) -> Arrays:
        """By group, [D, P]: what a column adds to a product's score."""
        return {name: np.asarray(weights @ self.products.T, np.float32) for name, weights in self.weights.items()}

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file."""
        weights = {f"{_PREFIX}.weights.{name}": np.ascontiguousarray(part) for name, part in self.weights.items()}
        return {f"{_PREFIX}.products": self.products, f"{_PREFIX}.bias": self.bias, **weights}

    @classmethod
    def from_arrays(cls, arrays: Arrays, order: list[str]) -> "Affinity | None":
        """The inverse of `to_arrays`, with the groups in this order; None where there is none."""
        if f"{_PREFIX}.bias" not in arrays:
            return None
        found = [name for name in order if f"{_PREFIX}.weights.{name}" in arrays]
        weights = {name: arrays[f"{_PREFIX}.weights.{name}"] for name in found}
        return cls(weights, arrays[f"{_PREFIX}.products"], arrays[f"{_PREFIX}.bias"])


def customer_blocks(
    encoding: EntityEncoding, profiles: Profiles, rows: EntityRows, reduced: Arrays | None = None
) -> Arrays:
    """Group to [N, D] float32: numbers, categories one by one, presence and the embedding's directions; 0 = missing.

    Args:
        encoding: of the columns.
        profiles: the directions.
        rows: the customers.
        reduced: what `profiles.reduced` says of them, where it is known already.
    """
    reduced = profiles.reduced(rows) if reduced is None else reduced
    blocks: Arrays = {}
    place, none = 0, np.zeros((len(rows.present), 0), np.float32)
    for position, group in enumerate(encoding.groups):
        sizes = np.array([len(one.vocabulary) for one in group.of_kind(FeatureKind.CATEGORICAL)], np.int64)
        codes = np.ascontiguousarray(rows.categorical[:, place : place + len(sizes)], np.int64)
        place += len(sizes)  # the categorical columns are in the order of the groups
        numeric, mine = rows.numeric[group.name], reduced.get(group.name, none)
        width = 1 + numeric.shape[1] // 2 + int(sizes.sum()) + mine.shape[1]
        block = blocks[group.name] = np.empty((len(numeric), width), np.float32)
        present = np.ascontiguousarray(rows.present[:, position])
        of_group(present, _single(numeric), codes, sizes, _single(mine), _UNIT_SCALE, block)
    return blocks


def _single(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def product_basis(content: ContentTables, directions: int) -> np.ndarray:
    """[P, K] float32: labels, numbers (0 where missing) and the strongest directions of each embedding."""
    parts = [content.labels.toarray(), np.nan_to_num(content.numbers)]
    for vectors in content.vectors.values():
        left, strength, _ = np.linalg.svd(vectors, full_matrices=False)
        kept = (left * strength)[:, :directions]
        parts.append(kept / max(float(kept[:, :1].std()), 1e-6) if kept.shape[1] else kept)
    return np.concatenate(parts, axis=1, dtype=np.float32)
