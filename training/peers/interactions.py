"""What every peer learns from and is asked: positive events as arrays, and the questions of a split.

Letters in shapes: U customers, P products, E events, Q questions, B questions of one batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from training.ragged import Ragged

BATCH_SCORES = 4_000_000
"""Scores that are held at once: memory grows with the batch, not with the data."""


@dataclass(frozen=True)
class Interactions:
    """E positive events that are known, in the strict order of time (`order_timestamp`)."""

    customer: np.ndarray
    """[E] int64 in 0..U-1."""
    product: np.ndarray
    """[E] int64 in 0..P-1."""
    weight: np.ndarray
    """[E] float32 above 0: the weight of the event's type."""
    time: np.ndarray
    """[E] int64 epoch µs, rising."""
    n_customers: int
    n_products: int

    @classmethod
    def sort(
        cls,
        customer: np.ndarray,
        product: np.ndarray,
        weight: np.ndarray,
        time: np.ndarray,
        shape: tuple[int, int],
    ) -> "Interactions":
        """From events in any order; those of a product that is no candidate (row below 0) are left out."""
        kept = np.flatnonzero(product >= 0)
        order = kept[np.lexsort((customer[kept], time[kept]))]
        return cls(customer[order], product[order], weight[order].astype(np.float32), time[order], *shape)

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def is_weighted(self) -> bool:
        """Whether the events differ in weight."""
        return bool(len(self) and self.weight.min() < self.weight.max())

    def matrix(self, weighted: bool = False) -> csr_array:
        """[U, P] float32: 1, or the largest weight, where a customer has had a product."""
        shape = (self.n_customers, self.n_products)
        keys = self.customer * self.n_products + self.product
        order = np.argsort(keys, kind="stable")
        distinct, first = np.unique(keys[order], return_index=True)
        values = np.ones(len(distinct), np.float32)
        if weighted and len(distinct):
            values = np.maximum.reduceat(self.weight[order], first)
        return csr_array((values, (distinct // self.n_products, distinct % self.n_products)), shape=shape)

    @cached_property
    def sequences(self) -> Ragged:
        """The products of each customer in the order of time, repetitions included."""
        order = np.argsort(self.customer, kind="stable")
        counts = np.bincount(self.customer, minlength=self.n_customers)
        return Ragged(np.concatenate([[0], np.cumsum(counts)]), self.product[order])

    def last(self, customers: np.ndarray, n: int) -> np.ndarray:
        """[B, n] int64: the last n products of each customer, the latest first, -1 where there are fewer."""
        offsets, values = self.sequences.offsets, self.sequences.values
        place = offsets[customers + 1][:, None] - 1 - np.arange(n)
        there = place >= offsets[customers][:, None]
        if not len(values):
            return np.full((len(customers), n), -1, np.int64)
        return np.where(there, values[np.where(there, place, 0)], -1)

    @cached_property
    def activity(self) -> np.ndarray:
        """[U] int64: events of each customer."""
        return np.bincount(self.customer, minlength=self.n_customers)


class Asked(NamedTuple):
    """B customers, and when each is asked about; nothing later may be used."""

    customer: np.ndarray
    """[B] int64 in 0..U-1."""
    now: np.ndarray
    """[B] int64 epoch µs."""


@dataclass(frozen=True)
class Questions:
    """Q customers, each asked about once, with the answers."""

    asked: Asked
    allowed: np.ndarray
    """[Q, P] bool: the candidates of each."""
    relevant: Ragged
    """The answers of each."""

    def __len__(self) -> int:
        return len(self.asked.customer)

    def take(self, rows: np.ndarray) -> "Questions":
        """Questions `rows`, [n] int."""
        owner = np.repeat(np.arange(len(rows)), [len(self.relevant[row]) for row in rows])
        items = [self.relevant[row] for row in rows]
        return Questions(
            Asked(*(values[rows] for values in self.asked)),
            self.allowed[rows],
            Ragged.group(owner, np.concatenate([np.zeros(0, np.int64), *items]), len(rows)),
        )

    def batches(self) -> Iterator[np.ndarray]:
        """Rows, a batch at a time."""
        step = max(1, BATCH_SCORES // max(1, self.allowed.shape[1]))
        yield from (np.arange(start, min(start + step, len(self))) for start in range(0, len(self), step))


@dataclass(frozen=True)
class Lesson:
    """What is known, and what is asked next: for tuning with the answers, for the exam without a look at them."""

    known: Interactions
    questions: Questions


@dataclass(frozen=True)
class Items:
    """What is known of the products beside who took them up."""

    spaces: dict[str, np.ndarray]
    """Name (`attributes`, `text`, `image`) to [P, D] float32 rows of length 1; zero where a product has nothing."""
    numbers: np.ndarray
    """[P, F] float32, NaN where a product has no such number."""
