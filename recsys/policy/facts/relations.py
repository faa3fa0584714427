"""Which products customers have, applied for or declined, as compressed rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import BoolArray, IntArray, TimeArray, instants, times_of
from recsys.policy.facts.products import ProductFacts
from recsys.schema import CUSTOMER_ID, PRODUCT_ID


class Relations(NamedTuple):
    """Which products B customers have (or applied for, or declined), and when: compressed rows, E entries."""

    offsets: IntArray
    """[B + 1]: customer b owns the entries offsets[b] up to offsets[b + 1]."""
    products: IntArray
    """[E]: the product's position in the catalogue."""
    since: TimeArray
    until: TimeArray
    """[E]: NaT where it has no end."""

    @classmethod
    def empty(cls, customers: int) -> Self:
        """No relation for any of `customers`."""
        times = np.empty(0, dtype="datetime64[us]")
        return cls(np.zeros(customers + 1, dtype=np.int64), np.empty(0, dtype=np.int64), times, times)

    @classmethod
    def build(cls, customers: int, owners: IntArray, products: IntArray, since: TimeArray, until: TimeArray) -> Self:
        """Relations in any order; entries with a negative owner or product (not in this catalogue) are dropped."""
        kept = np.flatnonzero((owners >= 0) & (products >= 0))
        order = kept[np.argsort(owners[kept], kind="stable")]
        return cls(offsets_of(owners[order], customers), products[order], since[order], until[order])

    @classmethod
    def single(
        cls, products: Sequence[int | None], since: Sequence[datetime | None], until: Sequence[datetime | None]
    ) -> Self:
        """Those of one customer; entries of products that are not in this catalogue (None) are dropped."""
        kept = [place for place, product in enumerate(products) if product is not None]
        if not kept:
            return cls.empty(1)
        positions = np.array([products[place] for place in kept], dtype=np.int64)
        offsets = np.array([0, len(kept)], dtype=np.int64)
        times = (instants([values[place] for place in kept]) for values in (since, until))
        return cls(offsets, positions, *times)

    def slice(self, start: int, stop: int) -> Self:
        """The relations of the customers from `start` up to `stop`."""
        offsets, entries = slice_offsets(self.offsets, start, stop)
        return type(self)(offsets, self.products[entries], self.since[entries], self.until[entries])

    def open_at(self, now: np.datetime64) -> BoolArray:
        """[E]: the entries that have begun and have not ended."""
        ended = ~np.isnat(self.until) & (self.until <= now)
        return (self.since <= now) & ~ended

    def mask(self, entries: BoolArray, products: int) -> BoolArray:
        """[B, N]: true where one of the chosen `entries` [E] joins the customer and the product."""
        mask = np.zeros((len(self.offsets) - 1, products), dtype=bool)
        if len(self.offsets) == 2:
            mask[0, self.products[entries]] = True
        elif len(self.products):
            mask[owners_of(self.offsets)[entries], self.products[entries]] = True
        return mask


def relations(rows: pl.DataFrame, customers: Sequence[str], products: ProductFacts) -> Relations:
    """The relations in `rows` (customer_id, product_id, since, until) of the named customers and known products."""
    owners = owner_positions(rows, customers)
    items = products.positions(rows[PRODUCT_ID].to_list())
    return Relations.build(len(customers), owners, items, times_of(rows, "since"), times_of(rows, "until"))


def owner_positions(rows: pl.DataFrame, customers: Sequence[str]) -> IntArray:
    """[rows]: whose each row is, by place in `customers`; -1 for somebody else's."""
    owner = {customer_id: position for position, customer_id in enumerate(customers)}
    return np.array([owner.get(customer_id, -1) for customer_id in rows[CUSTOMER_ID].to_list()], dtype=np.int64)


def offsets_of(owners: IntArray, customers: int) -> IntArray:
    """[B + 1]: where each customer's entries begin in the sorted `owners`."""
    return np.searchsorted(owners, np.arange(customers + 1)).astype(np.int64)


def owners_of(offsets: IntArray) -> IntArray:
    """[E]: the customer of each entry."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def slice_offsets(offsets: IntArray, start: int, stop: int) -> tuple[IntArray, slice]:
    """The offsets of the customers from `start` up to `stop`, and which entries are theirs."""
    stop = min(stop, len(offsets) - 1)
    low, high = int(offsets[start]), int(offsets[stop])
    return offsets[start : stop + 1] - low, slice(low, high)
