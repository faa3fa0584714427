"""Products that nobody has touched yet, ranked among themselves from their content alone.

What customers did with other products is carried over to a new one by kernel ridge regression from content, in three
kernels; so are its popularity and the low-rank part of what customers like. A boosted ranker weighs these guesses,
which rest on everything that a customer ever took up. It learns from a drill: some of the known products are treated as
if nobody had touched them, and customers are asked about those. Which products happen to stand together in a drill
matters much, so several rankers, of a drill each, are averaged. C new products, W known ones, B customers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.blocks import in_blocks
from recsys.ranking.boosted import BoostedRanker
from recsys.ranking.forest import Parts
from recsys.ranking.tables import Arrays, ContentTables

_NEAREST = 10
_SHARPNESS = 0.5
"""Of the kernels of embeddings: exp((cosine - 1) / _SHARPNESS)."""
_WIDTH = 0.1
"""Of the kernel of numbers, as a share of the catalogue."""
_AROUND = (0.02, 0.06)
"""Widths of the windows in which a customer's products are counted around a new one's number, as shares too."""
_BINS = 50
"""Numbers are put in so many for that."""
_LABELS = 0.3
"""Weight of the labels in a kernel."""
_RIDGE = 1.0
_FACTORS = 32


class ColdConfig(BaseConfig):
    """What the ranker of new products reads, as it was fitted."""

    rounds: int = Field(ge=1)
    models: int = Field(ge=1)
    features: tuple[str, ...]


class Fixed(NamedTuple):
    """What the features of new products are made with, whoever the customers are."""

    nearest: Arrays
    """Source of content to [at most 10, C] int64: of each new product, the known ones that are most like it."""
    known: np.ndarray
    """[P, N] float32: 1 where a product has a number."""
    values: np.ndarray
    """[P, N] float32: the numbers, 0 where there is none."""
    around: Arrays
    """Name to [W, C] float32: see `ColdTables._around`."""


class ColdTables(NamedTuple):
    """What content says of C new products, given W known ones and what customers did with those."""

    warm: np.ndarray
    """[W] int64 rows of the catalogue."""
    cold: np.ndarray
    """[C] int64 rows of the catalogue."""
    carry: Arrays
    """Kernel to [W, C] float32: what a customer's having a known product says of each new one."""
    popularity: Arrays
    """Kernel to [C] float32: the log count that content lets expect."""
    factors: np.ndarray
    """[W, F] float32 right singular vectors of the customers' products."""
    similar: Arrays
    """Source of content to [W, C] float32 cosines."""
    numbers: np.ndarray
    """[P, N] float32 in 0..1, NaN where missing: of all products, the share of them whose number is lower. So years,
    prices and terms are told apart where most products are."""
    counts: np.ndarray
    """[W] float32 log counts of the known products."""

    @classmethod
    def fit(cls, content: ContentTables, matrix: np.ndarray, warm: np.ndarray, cold: np.ndarray) -> "ColdTables":
        """Solves the ridge regressions.

        Args:
            content: of all P products.
            matrix: [U, P] float32 of zeros and ones: what customers have touched.
            warm: [W] rows of the known products.
            cold: [C] rows of the new ones; what `matrix` says of them is not looked at.
        """
        known = matrix[:, warm]
        counts = np.log1p(known.sum(axis=0))
        carry = {
            name: np.linalg.solve(
                kernel[np.ix_(warm, warm)] + _RIDGE * np.eye(len(warm), dtype=np.float32), kernel[np.ix_(warm, cold)]
            ).astype(np.float32)
            for name, kernel in _kernels(content).items()
        }
        share = known / np.sqrt(np.maximum(known.sum(axis=1, keepdims=True), 1))
        _, vectors = np.linalg.eigh(share.T @ share)  # of the right singular vectors, the strongest come last
        return cls(
            warm=warm,
            cold=cold,
            carry=carry,
            popularity={
                name: np.asarray(counts.mean() + (counts - counts.mean()) @ way, np.float32)
                for name, way in carry.items()
            },
            factors=np.ascontiguousarray(vectors[:, -_FACTORS:], np.float32),
            similar={name: np.ascontiguousarray(sim[np.ix_(warm, cold)]) for name, sim in _similarities(content)},
            numbers=shares(content.numbers),
            counts=counts.astype(np.float32),
        )

    def fixed(self) -> "Fixed":
        """What `features` needs of the products, whoever the customers are."""
        nearest = {
            name: np.argsort(-cosines, axis=0, kind="stable")[:_NEAREST] for name, cosines in self.similar.items()
        }
        known = np.isfinite(self.numbers)
        around = {
            f"number_{place}_around_{width}": self._around(values, width)
            for place, values in enumerate(self.numbers.T)
            for width in _AROUND
        }
        return Fixed(nearest, known.astype(np.float32), np.where(known, self.numbers, 0).astype(np.float32), around)

    def features(self, had: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Names, and [B, C, F] float32: what `columns` says, as a ranker learns from it.

        Args:
            had: [B, P] zeros and ones: the products that customers ever took up.
        """
        columns = self.columns(had, self.fixed())
        return list(columns), np.stack([np.asarray(values, np.float32) for values in columns.values()], axis=2)

    def columns(self, had: np.ndarray, fixed: "Fixed") -> Arrays:
        """Name to [B, C]: the features of new products for customers.

        Args:
            had: [B, P] zeros and ones: the products that customers ever took up.
            fixed: what `fixed` says.
        """
        own = had[:, self.warm]
        number = own.sum(axis=1, keepdims=True)
        mean, share = own / np.maximum(number, 1), own / np.sqrt(np.maximum(number, 1))
        smooth = (share @ self.factors) @ self.factors.T
        columns: Arrays = {"history": np.broadcast_to(np.log1p(number), (len(had), len(self.cold)))}
        for name, way in self.carry.items():
            carried = own @ way
            columns[f"mean_{name}"] = mean @ way
            columns[f"smooth_{name}"] = smooth @ way
            columns[f"standing_{name}"] = _standardised(carried)
            columns[f"popularity_{name}"] = np.broadcast_to(self.popularity[name], carried.shape)
        for name, near in fixed.nearest.items():
            columns[f"similar_{name}"] = mean @ self.similar[name]
            columns[f"nearest_{name}"] = own[:, near].mean(axis=1)
            columns[f"nearest_popularity_{name}"] = np.broadcast_to(
                self.counts[near].mean(axis=0), (len(had), len(self.cold))
            )
        return columns | self._number_columns(had, own, fixed)

    def _number_columns(self, had: np.ndarray, own: np.ndarray, fixed: "Fixed") -> Arrays:
        """Each number of a new product, its distance from the mean of what he had, and how much he had around it."""
        columns: Arrays = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (had @ fixed.values) / (had @ fixed.known)  # NaN where there is none
        times = len(self.warm) / np.maximum(own.sum(axis=1, keepdims=True), 1)
        for place, mean in enumerate(means.T):
            new = self.numbers[self.cold, place][None, :]
            columns[f"number_{place}"] = np.broadcast_to(new, (len(had), len(self.cold)))
            columns[f"number_{place}_from_mean"] = new - mean[:, None]
            columns[f"number_{place}_distance"] = np.abs(new - mean[:, None])
            for width in _AROUND:
                name = f"number_{place}_around_{width}"
                columns[name] = (own @ fixed.around[name]) * times
        return columns

    def _around(self, values: np.ndarray, width: float) -> np.ndarray:
        """[W, C]: how near each known product's number is to the new one's, as a share of all that are near it.

        The sum over what a customer had is 1 / W times as many as anybody has by chance. NaN where there is no number.
        """
        middles = (np.arange(_BINS) + 0.5) / _BINS
        close = np.exp(-((middles[:, None] - middles[None, :]) ** 2) / (2 * width**2)).astype(np.float32)
        bins, known = _bins(values[self.warm])
        placed = np.zeros((len(self.warm), _BINS), np.float32)
        placed[known, bins[known]] = 1
        new, there = _bins(values[self.cold])
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (placed @ close) / (placed.sum(axis=0) @ close)
        return np.where(there, share[:, new], np.nan).astype(np.float32)

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file."""
        arrays = {name: getattr(self, name) for name in ("warm", "cold", "factors", "numbers", "counts")}
        for group in ("carry", "popularity", "similar"):
            arrays |= {f"{group}.{name}": values for name, values in getattr(self, group).items()}
        return {name: np.ascontiguousarray(values) for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ColdTables":
        """The inverse of `to_arrays`.

        Raises:
            KeyError: an array is missing.
        """

        def group(prefix: str) -> Arrays:
            return {key.removeprefix(prefix): arrays[key] for key in sorted(arrays) if key.startswith(prefix)}

        return cls(
            arrays["warm"], arrays["cold"], group("carry."), group("popularity."), arrays["factors"],
            group("similar."), arrays["numbers"], arrays["counts"],
        )  # fmt: skip


class ColdRanker:
    """Puts new products in order among themselves."""

    def __init__(self, tables: ColdTables, models: Sequence[BoostedRanker], config: ColdConfig) -> None:
        self.tables = tables
        self.models = tuple(models)
        self.config = config
        self._fixed = tables.fixed()
        self._reads = sorted({int(column) for model in self.models for column in model.used()})

    def score(self, ever: np.ndarray) -> np.ndarray:
        """[B, C] float32: the mean of the models' scores, which order a customer's new products and mean nothing else.

        Args:
            ever: [B, K] int64 rows of the products that each customer ever took up, -1 = none.
        """
        out = np.empty((len(ever), len(self.tables.cold)), np.float32)

        def block(rows: slice) -> None:
            out[rows] = self._score(had_products(ever[rows], len(self.tables.numbers)))

        in_blocks(len(out), block)
        return out

    def _score(self, had: np.ndarray) -> np.ndarray:
        """[B, C] of customers who ever took up [B, P]; what no tree asks for is 0."""
        columns = self.tables.columns(had, self._fixed)
        values = np.zeros((len(self.config.features), len(had), len(self.tables.cold)), np.float32)
        for place in self._reads:
            values[place] = columns[self.config.features[place]]
        parts = Parts.of_columns(values.reshape(len(values), -1))
        scores = [model.predict_parts(parts, self.config.rounds) for model in self.models]
        return np.stack(scores).mean(axis=0, dtype=np.float32).reshape(values.shape[1:])

    def reorder(self, ever: np.ndarray, scores: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        """The same [B, P] scores, with those of the new products handed out among themselves by `score`.

        So a list has as many new products, at the same places, as it had before. Products that are not allowed keep
        theirs.
        """
        cold = self.tables.cold
        may = np.ones((len(scores), len(cold)), bool) if allowed is None else allowed[:, cold]
        if may.sum(axis=1).max(initial=0) < 2:  # there is nothing to trade places with
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


def shares(numbers: np.ndarray) -> np.ndarray:
    """Of each column of [P, N], the share of the known values that are lower, equal ones by half; NaN stays.

    >>> shares(np.array([[3.0], [1.0], [3.0], [np.nan]])).ravel().tolist()
    [0.6666666865348816, 0.1666666716337204, 0.6666666865348816, nan]
    """
    out = np.full(numbers.shape, np.nan, np.float32)
    for column, values in zip(out.T, numbers.T, strict=True):
        known = np.isfinite(values)
        ordered = np.sort(values[known])
        lower, upper = (np.searchsorted(ordered, values[known], side) for side in ("left", "right"))
        column[known] = (lower + upper) / (2 * max(len(ordered), 1))
    return out


def _bins(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bin of each value in 0..1, and whether it has one."""
    known = np.isfinite(values)
    return np.minimum(np.where(known, values, 0) * _BINS, _BINS - 1).astype(np.int64), known


def _kernels(content: ContentTables) -> Arrays:
    """Name to [P, P] float32."""
    numbers = np.nan_to_num(shares(content.numbers), nan=0.5)
    apart = ((numbers[:, None, :] - numbers[None, :, :]) ** 2).sum(axis=2)
    near = np.exp(-apart / (2 * _WIDTH**2 * max(numbers.shape[1], 1))).astype(np.float32)
    labels = _LABELS * (content.labels @ content.labels.T).toarray()
    cosines = [vectors @ vectors.T for vectors in content.vectors.values()]
    nothing = np.zeros_like(near)
    linear = sum(cosines, nothing) + labels
    round_ = sum((np.exp((cosine - 1) / _SHARPNESS) for cosine in cosines), nothing) + labels
    return {"linear": linear + near, "round": round_ + near, "product": near * (1 + round_)}


def _similarities(content: ContentTables) -> list[tuple[str, np.ndarray]]:
    """Source to [P, P] float32 cosines."""
    found = [(name, vectors @ vectors.T) for name, vectors in content.vectors.items()]
    return [*found, ("labels", (content.labels @ content.labels.T).toarray())]


def _standardised(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(axis=1, keepdims=True)) / (rows.std(axis=1, keepdims=True) + 1e-9)
