"""Beyond accuracy: coverage, concentration of exposure, novelty and diversity. U users, N items, k ranks, D dims."""

import numpy as np

from recsys.metrics.relevance import NO_ITEM, as_ranked


def exposure(ranked: np.ndarray, n_items: int) -> np.ndarray:
    """How often each item is shown, [N] int64.

    Args:
        ranked: [U, k] int, -1 where there is no item.
        n_items: size of the catalogue.

    Raises:
        ValueError: an index is beyond the catalogue.
    """
    ranked = as_ranked(ranked)
    if ranked.size and ranked.max() >= n_items:
        raise ValueError(f"ranked holds the item {ranked.max()}, the catalogue has {n_items}")
    return np.bincount(ranked[ranked != NO_ITEM], minlength=n_items)


def catalogue_coverage(ranked: np.ndarray, n_items: int) -> float:
    """The share of the catalogue that at least one user is shown; arguments and errors as `exposure`.

    >>> catalogue_coverage(np.array([[0, 1], [1, -1]]), n_items=4)
    0.5
    """
    return float((exposure(ranked, n_items) > 0).mean())


def gini_of_exposure(ranked: np.ndarray, n_items: int) -> float:
    """Gini coefficient of the items' exposure: 0 all equal, (N - 1) / N one item has it all; NaN if nothing is shown.

    >>> gini_of_exposure(np.array([[0], [0], [0]]), n_items=4)
    0.75
    >>> gini_of_exposure(np.array([[0, 1], [2, 3]]), n_items=4)
    0.0
    """
    shown = np.sort(exposure(ranked, n_items))
    if not shown.any():
        return float("nan")
    ranks = np.arange(1, n_items + 1)
    return float(((2 * ranks - n_items - 1) * shown).sum() / (n_items * shown.sum()))


def novelty(ranked: np.ndarray, users_of_item: np.ndarray, n_users: int) -> np.ndarray:
    """Mean self-information of each list in bits, [U]; NaN for an empty list.

    An item that c of n users had carries -log2((c + 1) / (n + 1)) bits: nothing where everybody had it, and a finite
    amount where nobody did (after Zhou et al. 2010, Solving the apparent diversity-accuracy dilemma).

    >>> novelty(np.array([[0, 1]]), users_of_item=np.array([7, 0]), n_users=7).tolist()
    [1.5]

    Args:
        ranked: [U, k] int, -1 where there is no item.
        users_of_item: [N] in how many users' training histories each item stands.
        n_users: how many users the training histories have.

    Raises:
        ValueError: an item is beyond `users_of_item`, or has more users than there are.
    """
    users_of_item = np.asarray(users_of_item)
    exposure(ranked, len(users_of_item))
    if users_of_item.size and (users_of_item.max() > n_users or users_of_item.min() < 0):
        raise ValueError(f"users_of_item must lie from 0 to {n_users}")
    bits = -np.log2((users_of_item + 1) / (n_users + 1))
    shown = np.asarray(ranked) != NO_ITEM
    return _mean_of(np.where(shown, bits[np.where(shown, ranked, 0)], 0.0).sum(axis=1), shown.sum(axis=1))


def intra_list_diversity(ranked: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Mean cosine distance between the items of each list, [U], in 0..2; NaN for lists of fewer than two items.

    >>> intra_list_diversity(np.array([[0, 1, -1], [0, 0, 1]]), np.array([[1.0, 0.0], [0.0, 2.0]])).round(4).tolist()
    [1.0, 0.6667]

    Args:
        ranked: [U, k] int, -1 where there is no item.
        vectors: [N, D] float, what the items are; they are normalised here, a zero vector is at distance 1 from all.

    Raises:
        ValueError: an item has no vector.
    """
    exposure(ranked, len(vectors))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros(vectors.shape, dtype=np.float64), where=lengths > 0)
    shown = np.asarray(ranked) != NO_ITEM
    total, squares = np.zeros((len(shown), vectors.shape[1])), np.zeros(len(shown))
    for rank in range(shown.shape[1]):  # one rank at a time: [U, k, D] at once would not fit for many users
        chosen = unit[np.where(shown[:, rank], ranked[:, rank], 0)] * shown[:, rank, None]
        total += chosen
        squares += (chosen**2).sum(axis=1)
    count = shown.sum(axis=1)
    similarity = (total**2).sum(axis=1) - squares  # |sum v|^2 = sum |v|^2 + the sum over ordered pairs
    return 1.0 - _mean_of(similarity, count * (count - 1))


def _mean_of(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
