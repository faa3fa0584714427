"""From scores to lists: the best k allowed items, the same ones every time."""

import numpy as np

from recsys.decisions.scoring import ScoreArray
from recsys.policy.facts import BoolArray, IntArray

NOTHING = -1
"""Fills the places for which there is no allowed item."""
_AT_LEAST, _TIMES = 64, 8
"""Of one row, so many items, or so many times as many as are wanted, are put in order at first."""
_WORST = float(np.finfo(np.float32).max)
"""Finite: an allowed item without a usable score still comes before one that is not allowed."""


def top_k(scores: ScoreArray, allowed: BoolArray, k: int) -> IntArray:
    """The positions of the k best allowed items of each row, best first; of equal scores the earlier item.

    Args:
        scores: [B, N]; a score that is not a number counts as the worst.
        allowed: [B, N], or broadcastable to it.
        k: how many.

    Returns:
        [B, k] positions, NOTHING where a row has fewer than k allowed items.

    >>> top_k(np.array([[0.5, 0.9, 0.5, 0.7]], np.float32), np.array([[True, True, True, False]]), 4)
    array([[ 1,  0,  2, -1]])
    """
    allowed = np.broadcast_to(allowed, scores.shape)
    cost = np.where(allowed, np.nan_to_num(-scores, nan=_WORST, posinf=_WORST, neginf=-_WORST), np.inf)
    rows, count = scores.shape
    kept = min(k, count)
    order = np.full((rows, k), NOTHING, dtype=np.int64)
    if kept == 0:
        return order
    best = np.argsort(cost, axis=1, kind="stable")[:, :kept] if kept * 4 > count else _partial(cost, kept)
    order[:, :kept] = np.where(np.take_along_axis(allowed, best, axis=1), best, NOTHING)
    return order


def top_k_distinct(scores: ScoreArray, allowed: BoolArray, groups: IntArray, k: int) -> IntArray:
    """As `top_k` for one row, but with at most one item of each group (one creative of each product).

    Args:
        scores: [N].
        allowed: [N].
        groups: [N], the group of each item.
        k: how many.

    Returns:
        [at most k] positions.
    """
    candidates = np.flatnonzero(allowed)
    some = max(_AT_LEAST, _TIMES * k)
    if some < len(candidates):  # the best of them will do, unless many are of one group
        values = scores[candidates]
        border = np.partition(values, len(values) - some)[len(values) - some]
        best = _distinct(scores, candidates[values >= border], groups, k)
        if len(best) == k:
            return best
    return _distinct(scores, candidates, groups, k)


def _distinct(scores: ScoreArray, candidates: IntArray, groups: IntArray, k: int) -> IntArray:
    """[at most k]: the best candidate of each group, best first."""
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    _, first = np.unique(groups[ranked], return_index=True)
    return ranked[np.sort(first)[:k]]


def _partial(cost: ScoreArray, k: int) -> IntArray:
    """[B, k]: as a stable sort, without sorting everything; rows with a tie at the border are sorted after all."""
    border = np.partition(cost, k - 1, axis=1)[:, k - 1 : k]
    best = np.empty((len(cost), k), dtype=np.int64)
    clear = (cost <= border).sum(axis=1) == k
    if clear.any():
        columns = np.nonzero(cost[clear] <= border[clear])[1].reshape(-1, k)
        ranked = np.argsort(np.take_along_axis(cost[clear], columns, axis=1), axis=1, kind="stable")
        best[clear] = np.take_along_axis(columns, ranked, axis=1)
    if not clear.all():
        best[~clear] = np.argsort(cost[~clear], axis=1, kind="stable")[:, :k]
    return best
