"""What is relevant for each user, and the checks on lists that every ranking metric shares."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.sparse import csr_array, issparse

NO_ITEM = -1
"""Fills the end of a list that is shorter than k."""

Relevant: TypeAlias = Sequence[Collection[int] | np.ndarray] | csr_array
"""The relevant items of each user: a collection of item indices a user, or a [U, N] sparse matrix (non-zero: relevant).
"""


class ListChecks(NamedTuple):
    """How many users' lists have a flaw."""

    with_duplicates: int
    """An item stands twice in the list."""
    with_seen: int
    """The list holds an item that must not be recommended."""
    short: int
    """The list has fewer than k items."""
    empty: int
    """The list has no item at all."""


def check_lists(ranked: np.ndarray, seen: Relevant | None = None) -> ListChecks:
    """Counts flawed lists; a report shows the counts, a test refuses them.

    >>> check_lists(np.array([[3, 1, 3], [2, 0, -1], [0, 1, 2]]), seen=[{7}, {7}, {2}])
    ListChecks(with_duplicates=1, with_seen=1, short=1, empty=0)

    Args:
        ranked: [U, k] int, best first, -1 where there is no item.
        seen: the items that each user must not get, U of them.
    """
    ranked = as_ranked(ranked)
    filled = ranked != NO_ITEM
    with_seen = 0 if seen is None else int(membership(ranked, seen).any(axis=1).sum())
    counts = filled.sum(axis=1)
    return ListChecks(
        with_duplicates=int(_has_duplicates(ranked).sum()),
        with_seen=with_seen,
        short=int((counts < ranked.shape[1]).sum()),
        empty=int((counts == 0).sum()),
    )


def as_ranked(ranked: np.ndarray) -> np.ndarray:
    """`ranked` as [U, k] int64.

    Raises:
        ValueError: it is not a two-dimensional integer array, or has an index below -1.
    """
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or not np.issubdtype(ranked.dtype, np.integer):
        raise ValueError(f"ranked must be an integer array [U, k], is {ranked.dtype} {ranked.shape}")
    if ranked.size and ranked.min() < NO_ITEM:
        raise ValueError(f"ranked holds the index {ranked.min()}; items are counted from 0, {NO_ITEM} is no item")
    return ranked.astype(np.int64, copy=False)


def refuse_duplicates(ranked: np.ndarray) -> None:
    """Raises ValueError where an item stands twice in one list: it would be counted as two hits."""
    rows = np.flatnonzero(_has_duplicates(ranked))
    if rows.size:
        raise ValueError(f"an item is repeated in {rows.size} list(s), the first at row {rows[0]}: {ranked[rows[0]]}")


def membership(ranked: np.ndarray, relevant: Relevant) -> np.ndarray:
    """[U, k] bool: whether each listed item is among the user's `relevant`."""
    users, items = pairs(relevant, ranked.shape[0])
    size = 1 + max(int(ranked.max(initial=0)), int(items.max(initial=0)))
    keys = np.arange(ranked.shape[0])[:, None] * size + ranked
    return np.isin(keys, users * size + items) & (ranked != NO_ITEM)


def pairs(relevant: Relevant, n_users: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (user, item) pairs of `relevant`, two int64 arrays, ordered by user.

    Raises:
        ValueError: it is not about `n_users` users, or names a negative item.
    """
    if issparse(relevant):
        matrix = csr_array(relevant, copy=True)
        matrix.eliminate_zeros()
        matrix.sum_duplicates()
        rows = matrix.shape[0]
        users, items = np.repeat(np.arange(rows), np.diff(matrix.indptr)), matrix.indices.astype(np.int64)
    else:
        rows = len(relevant)
        distinct = [np.unique(np.fromiter(items, np.int64, count=len(items))) for items in relevant]
        users = np.repeat(np.arange(rows), [len(items) for items in distinct])
        items = np.concatenate(distinct) if distinct else np.empty(0, np.int64)
    if rows != n_users:
        raise ValueError(f"relevant is about {rows} users, the lists about {n_users}")
    if items.size and items.min() < 0:
        raise ValueError(f"relevant holds the item {items.min()}; items are counted from 0")
    return users, items


def relevant_counts(relevant: Relevant, n_users: int) -> np.ndarray:
    """[U] int64, the number of relevant items of each user.

    Raises:
        ValueError: a user has none: no metric is defined for him, so leave him out and report how many there were.
    """
    counts = np.bincount(pairs(relevant, n_users)[0], minlength=n_users)
    if (empty := np.flatnonzero(counts == 0)).size:
        raise ValueError(f"{empty.size} user(s) have no relevant item, the first at row {empty[0]}: leave them out")
    return counts


def _has_duplicates(ranked: np.ndarray) -> np.ndarray:
    ordered = np.sort(ranked, axis=1)
    return ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)).any(axis=1)
