"""A forest of small trees asked about many pairs: the same numbers as LightGBM's own, many times sooner.

QuickScorer (Lucchese et al. 2015, QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
trees): a tree's leaves are bits, numbered from the left; a condition that does not hold clears the bits of its left
side, and the lowest bit that is left is the leaf. Since conditions may be asked in any order, those on what a customer
is are asked once a customer, those on what a product is once a product, and only the others for each pair, many pairs
at a time. E pairs of B customers and P products, T trees, N conditions.
"""

from typing import NamedTuple

import numpy as np

from recsys.errors import ModelError
from recsys.ranking.forest_loop import DE_BRUIJN, Conditions, ask, warm_up

MOST_LEAVES = 32
"""A tree's leaves are bits of one word."""
_AT_ONCE = 256
"""Pairs that are asked one condition together: what is kept of them stays in the processor's nearest memory."""
_CATEGORY, _DEFAULT_LEFT, _ZERO_MISSING, _NAN_MISSING = 1, 2, 4, 8
"""Bits of LightGBM's `decision_type`."""
_ZERO = np.float32(1e-35)
"""LightGBM reads what is not farther from 0 as 0."""


class Parts(NamedTuple):
    """What E pairs are, each value once: F features, in this order."""

    customers: np.ndarray
    """[B, F1] float32, NaN where missing."""
    products: np.ndarray
    """[P, F2] float32."""
    pairs: np.ndarray
    """[F3, E] float32."""
    customer: np.ndarray
    """[E] int64 row of `customers`, ascending."""
    product: np.ndarray
    """[E] int64 row of `products`."""

    @classmethod
    def of_rows(cls, features: np.ndarray) -> "Parts":
        """[E, F] of which nothing is known: each value is the pair's own."""
        return cls.of_columns(np.ascontiguousarray(features.T, np.float32))

    @classmethod
    def of_columns(cls, features: np.ndarray) -> "Parts":
        """As `of_rows`, of [F, E]."""
        nothing, same = np.zeros((1, 0), np.float32), np.zeros(features.shape[1], np.int64)
        return cls(nothing, nothing, features, same, same)

    def take(self, which: np.ndarray) -> "Parts":
        """Some of the pairs, [m] int64, rising."""
        return self._replace(pairs=self.pairs[:, which], customer=self.customer[which], product=self.product[which])

    def rows(self) -> np.ndarray:
        """[E, F] float32."""
        blocks = [self.customers[self.customer], self.products[self.product], self.pairs.T]
        return np.concatenate(blocks, axis=1, dtype=np.float32)


class Forest:
    """The trees of a LightGBM model."""

    def __init__(self, conditions: Conditions, leaves: np.ndarray) -> None:
        """`leaves` is [T, 32] float64: what each leaf adds, where `DE_BRUIJN` tells.

        Compiles the loop over pairs where no earlier process has, which takes some seconds.
        """
        self.conditions = conditions
        self.leaves = leaves
        warm_up()
        self._most = int(conditions.column.max(initial=-1)) + 1
        self._split: dict[tuple[int, int], tuple[Conditions, ...]] = {}

    @classmethod
    def parse(cls, text: str) -> "Forest | None":
        """Reads LightGBM's text; None where a tree asks for what is not answered here: large, linear or categorical."""
        header, _, trees = text.partition("\n\nTree=")
        parsed = [_parse(tree) for tree in trees.partition("\n\nend of trees")[0].split("\n\nTree=")]
        found = [tree for tree in parsed if tree is not None]
        if len(found) < len(parsed) or "\naverage_output" in header or "\nnum_class=1\n" not in header:
            return None
        begins = np.cumsum([0, *(len(tree.column) for tree in found)]).astype(np.int32)
        conditions = Conditions(begins, *(np.concatenate(part) for part in list(zip(*found, strict=True))[:4]))
        leaves = np.zeros((len(found), MOST_LEAVES))
        for row, tree in zip(leaves, found, strict=True):
            row[_places(len(tree.leaves))] = tree.leaves
        return cls(conditions, leaves)

    def reading(self, order: np.ndarray, features: int) -> "Forest":
        """The same trees for rows whose columns are put in another order, of `features` before.

        Args:
            order: [K] int64: which of the columns stands at each place; those that no tree reads may be left out.
            features: how many there were.
        """
        place = np.full(features, -1, np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        column = place[self.conditions.column]
        if len(column) and column.min() < 0:
            raise ValueError("a tree reads a column that was left out")
        return Forest(self.conditions._replace(column=column), self.leaves)

    def predict(self, parts: Parts, rounds: int | None = None) -> np.ndarray:
        """[E] float64: the sum over the first `rounds` trees, in their order."""
        out = np.zeros(len(parts.product))
        customers, products, pairs = parts.customers, parts.products.T, parts.pairs
        values = (np.ascontiguousarray(part, np.float32) for part in (customers, products, pairs))
        whose = (np.ascontiguousarray(part, np.int64) for part in (parts.customer, parts.product))
        trees, some = min(rounds or len(self.leaves), len(self.leaves)), min(_AT_ONCE, len(out))
        shapes = (trees, (trees, some), some, some)
        room = [np.empty(shape, np.int32) for shape in shapes]
        of_product = np.empty((trees, len(parts.products)), np.int32)
        ask(of_product, *values, *whose, *self._of(parts), self.leaves, out, *room)
        return out

    def _of(self, parts: Parts) -> tuple[Conditions, ...]:
        """The conditions on customers, on products and on pairs."""
        widths = parts.customers.shape[1], parts.products.shape[1], parts.pairs.shape[0]
        if self._most > sum(widths):
            raise ModelError(f"the ranker reads {self._most} features and was given {sum(widths)}: train again")
        if widths[:2] not in self._split:
            column = self.conditions.column
            edges = np.cumsum(widths[:2])
            kind = np.searchsorted(edges, column, side="right")
            starts = (0, *edges.tolist())
            split = [self.conditions.take(kind == which, column - start) for which, start in enumerate(starts)]
            self._split[widths[:2]] = tuple(split)
        return self._split[widths[:2]]


class _Tree(NamedTuple):
    """One tree's conditions, as in `Conditions`, and its leaves from the left."""

    column: np.ndarray
    threshold: np.ndarray
    missing_holds: np.ndarray
    right: np.ndarray
    leaves: np.ndarray


def _parse(text: str) -> _Tree | None:
    tree = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def numbers(name: str, kind: type) -> np.ndarray:
        return np.array(tree.get(name, "").split(), kind)

    value, decision = numbers("leaf_value", np.float64), numbers("decision_type", np.int64)
    if len(value) > MOST_LEAVES or tree.get("is_linear", "0") != "0" or (decision & (_CATEGORY | _ZERO_MISSING)).any():
        return None
    threshold = numbers("threshold", np.float64)
    default = (decision & _DEFAULT_LEFT) > 0
    missing_holds = np.where((decision & _NAN_MISSING) > 0, default, threshold >= 0)  # else a missing value reads 0
    column, left, right = (numbers(name, np.int64) for name in ("split_feature", "left_child", "right_child"))
    if {len(column), len(threshold), len(decision), len(left), len(right)} != {len(value) - 1}:
        raise ValueError("a tree's lists are of different lengths")
    order, on_left = _leaves(left, right)
    return _Tree(column.astype(np.int32), _at_most(threshold), missing_holds, ~on_left, value[order])


def _leaves(left: np.ndarray, right: np.ndarray) -> tuple[list[int], np.ndarray]:
    """The leaves from the left, and [N] int32: the bits of those on the left side of each condition."""
    order: list[int] = []
    begin, middle = np.zeros(len(left), np.int64), np.zeros(len(left), np.int64)
    waiting = [(0 if len(left) else -1, False)]
    while waiting:
        node, left_done = waiting.pop()
        if node < 0:
            order.append(~node)
        elif left_done:
            middle[node] = len(order)
            waiting.append((int(right[node]), False))
        else:
            begin[node] = len(order)
            waiting += [(node, True), (int(left[node]), False)]
    one = np.int64(1)
    return order, ((one << middle) - (one << begin)).astype(np.uint32).view(np.int32)


def _at_most(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that holds at each: not above it, and what LightGBM takes for 0 as 0."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    below = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
    zero = np.where(threshold >= 0, _ZERO, np.nextafter(-_ZERO, np.float32(-np.inf)))
    return np.where(np.abs(near) <= _ZERO, zero, below)


def _places(count: int) -> np.ndarray:
    """Where the leaves 0, 1, ... are kept."""
    return ((1 << np.arange(count)) * DE_BRUIJN & 0xFFFFFFFF) >> 27
