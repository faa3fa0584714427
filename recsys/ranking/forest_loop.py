"""The loop of `forest`, compiled by numba when it is first called; all that it is made of stands here."""

from typing import NamedTuple

import numpy as np

from recsys.compiling import compiled

DE_BRUIJN = 0x077CB531
"""Times a power of two, its first five of 32 bits tell which power."""
FEW = 8
"""Up to so many pairs are asked about one by one."""
KINDS = (np.int32, np.int32, np.float32, np.bool_, np.int32)
"""Of the arrays of `Conditions`."""


class Conditions(NamedTuple):
    """N conditions, those of one tree together: `value <= threshold`."""

    begins: np.ndarray
    """[T + 1] int32: where the conditions of each tree begin."""
    column: np.ndarray
    """[N] int32: whose value is compared."""
    threshold: np.ndarray
    """[N] float32."""
    missing_holds: np.ndarray
    """[N] bool: whether the condition holds where the value is missing."""
    right: np.ndarray
    """[N] int32: the leaves that are left when it does not hold; all bits but those of its left side."""

    def take(self, chosen: np.ndarray, column: np.ndarray) -> "Conditions":
        """Those in a [N] bool mask, with a [N] column each."""
        before = np.concatenate([[0], np.cumsum(chosen)])
        return Conditions(
            before[self.begins].astype(np.int32),
            column[chosen].astype(np.int32),
            *(values[chosen] for values in self[2:]),
        )


@compiled
def _narrow(left: np.ndarray, values: np.ndarray, threshold: float, missing_holds: bool, right: int) -> None:
    """Takes the leaves of a condition's left side from the pairs for which it does not hold."""
    if missing_holds:
        for i in range(len(left)):
            left[i] &= right if values[i] > threshold else -1
    else:
        for i in range(len(left)):
            left[i] &= -1 if values[i] <= threshold else right


@compiled
def _of_customer(values: np.ndarray, conditions: Conditions, left: np.ndarray) -> None:
    """The leaves of each tree that one customer's values leave, into [T] int32."""
    for tree in range(len(left)):
        bits = np.int32(-1)
        for at in range(conditions.begins[tree], conditions.begins[tree + 1]):
            value = values[conditions.column[at]]
            missing = conditions.missing_holds[at] and value != value
            if not (missing or value <= conditions.threshold[at]):
                bits &= conditions.right[at]
        left[tree] = bits


@compiled
def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two customers are the same to every condition: explanations ask about one under many names."""
    for at in range(len(one)):
        if one[at] != other[at] and not (one[at] != one[at] and other[at] != other[at]):
            return False
    return True


@compiled
def _of_products(values: np.ndarray, conditions: Conditions, left: np.ndarray) -> None:
    """The leaves of each tree that each product's values leave, into [T, P] int32; `values` is [F2, P]."""
    for tree in range(len(left)):
        left[tree, :] = -1
        for at in range(conditions.begins[tree], conditions.begins[tree + 1]):
            _narrow(
                left[tree],
                values[conditions.column[at]],
                conditions.threshold[at],
                conditions.missing_holds[at],
                conditions.right[at],
            )


@compiled
def _of_few(
    of_product: np.ndarray,
    pairs: np.ndarray,
    product: np.ndarray,
    begin: int,
    end: int,
    both: Conditions,
    leaves: np.ndarray,
    out: np.ndarray,
    mine: np.ndarray,
) -> None:
    """One pair after the other: for a few, taking parts of arrays costs more than asking alone."""
    for pair in range(begin, end):
        for tree in range(len(mine)):
            left = mine[tree] & of_product[tree, product[pair]]
            for at in range(both.begins[tree], both.begins[tree + 1]):
                if left & ~both.right[at]:
                    value = pairs[both.column[at], pair]
                    missing = both.missing_holds[at] and value != value
                    if not (missing or value <= both.threshold[at]):
                        left &= both.right[at]
            lowest = np.uint32(left & -left)
            out[pair] += leaves[tree, np.uint32(lowest * np.uint32(DE_BRUIJN)) >> np.uint32(27)]


@compiled
def _of_block(
    customers: np.ndarray,
    customer: np.ndarray,
    conditions: Conditions,
    mine: np.ndarray,
    leaves: np.ndarray,
    slot: np.ndarray,
) -> int:
    """The leaves that the customers of [M] pairs leave, into [T, K] `leaves`, and whose each pair is, into [M] `slot`.

    Gives how many customers there are.
    """
    known = 0
    for pair in range(len(customer)):
        if pair == 0 or customer[pair] != customer[pair - 1]:
            if pair == 0 or not _alike(customers[customer[pair]], customers[customer[pair - 1]]):
                _of_customer(customers[customer[pair]], conditions, mine)
            leaves[:, known] = mine
            known += 1
        slot[pair] = known - 1
    return known


@compiled
def ask(
    of_product: np.ndarray,
    customers: np.ndarray,
    products: np.ndarray,
    pairs: np.ndarray,
    customer: np.ndarray,
    product: np.ndarray,
    own: Conditions,
    its: Conditions,
    both: Conditions,
    leaves: np.ndarray,
    out: np.ndarray,
    mine: np.ndarray,
    of_customer: np.ndarray,
    bits: np.ndarray,
    slot: np.ndarray,
) -> None:
    """Asks about pairs: adds T trees to [E] `out`.

    `products` is [F2, P]; [E] `customer` rises. [T, P] `of_product`, [T] `mine`, [T, M] `of_customer`, [M] `bits` and
    [M] `slot` are room to work in, int32: M pairs are asked together, whosever they are.
    """
    _of_products(products, its, of_product)
    if len(out) <= FEW:
        for pair in range(len(out)):
            if pair == 0 or not _alike(customers[customer[pair]], customers[customer[pair - 1]]):
                _of_customer(customers[customer[pair]], own, mine)
            _of_few(of_product, pairs, product, pair, pair + 1, both, leaves, out, mine)
        return
    for start in range(0, len(out), len(bits)):
        stop = min(start + len(bits), len(out))
        left, total, its_product, whose = (
            bits[: stop - start],
            out[start:stop],
            product[start:stop],
            slot[: stop - start],
        )
        known = _of_block(customers, customer[start:stop], own, mine, of_customer, whose)
        for tree in range(len(mine)):
            any_left = np.int32(0)
            for i in range(known):
                any_left |= of_customer[tree, i]
            for i in range(len(left)):
                left[i] = of_customer[tree, whose[i]] & of_product[tree, its_product[i]]
            for at in range(both.begins[tree], both.begins[tree + 1]):
                right = both.right[at]
                if any_left & ~right:
                    values = pairs[both.column[at], start:stop]
                    _narrow(left, values, both.threshold[at], both.missing_holds[at], right)
            for i in range(len(left)):
                lowest = np.uint32(left[i] & -left[i])
                place = np.uint32(lowest * np.uint32(DE_BRUIJN)) >> np.uint32(27)
                total[i] += leaves[tree, place]


def warm_up() -> None:
    """Compiles `ask`, or reads it: whoever loads a model waits for it, not the first who asks."""
    empty, place, total = np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0)
    sizes = (1, 0, 0, 0, 0)
    nothing = Conditions(*(np.zeros(size, kind) for size, kind in zip(sizes, KINDS, strict=True)))
    words = np.zeros((0, 0), np.int32)
    bits = words.reshape(0)
    ask(words, *(empty,) * 3, place, place, *(nothing,) * 3, np.zeros((0, 0)), total, bits, words, bits, bits)
