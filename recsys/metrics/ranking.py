"""Recall, NDCG, MRR and MAP at k with binary relevance, per user, from ranked lists or from scores with ties.

With R the relevant set of a user and h(r) = 1 where the item at rank r is in R:

    recall@k = sum_{r<=k} h(r) / |R|                 (|R|, not min(k, |R|); with one relevant item this is hit@k)
    ndcg@k   = sum_{r<=k} h(r) / log2(r + 1)  /  sum_{r<=min(k, |R|)} 1 / log2(r + 1)
    mrr@k    = 1 / (rank of the first hit within k), else 0
    map@k    = sum_{r<=k} h(r) * precision@r / min(k, |R|)

A model that gives all items one score has no order, and a sort would lend it one (often a good one: catalogues are
sorted by age or popularity). The `expected_*` functions give each metric's mean over all orders of tied items, in
closed form (for NDCG: McSherry and Najork 2008, Computing Information Retrieval Performance Measures Efficiently in the
Presence of Tied Scores). Shapes: U users, N items, k list length.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from recsys.metrics.relevance import (
    NO_ITEM,
    Relevant,
    as_ranked,
    membership,
    pairs,
    refuse_duplicates,
    relevant_counts,
)

SCORES_AT_ONCE = 8_000_000
"""How many scores the functions sort at a time; bounds the memory."""


class RankingMetrics(NamedTuple):
    """Metrics of each user at one k."""

    recall: np.ndarray
    """[U] float64"""
    ndcg: np.ndarray
    """[U] float64"""
    mrr: np.ndarray
    """[U] float64"""


class _TiedRanks(NamedTuple):
    """For each user and rank up to k, the group of equally scored items that the rank belongs to; all [u, k]."""

    relevant: np.ndarray
    """How many items of the group are relevant; 0 where the rank holds no candidate."""
    size: np.ndarray
    """How many items the group has."""
    place: np.ndarray
    """The rank's place within the group, from 0."""
    before: np.ndarray
    """How many relevant items stand in better groups."""


def ranking_metrics(ranked: np.ndarray, relevant: Relevant, k: int) -> RankingMetrics:
    """Recall, NDCG and MRR of ranked lists.

    >>> metrics = ranking_metrics(np.array([[4, 2, 0], [1, -1, -1]]), [{2, 7}, {3}], k=3)
    >>> metrics.recall.tolist(), metrics.mrr.tolist()
    ([0.5, 0.0], [0.5, 0.0])
    >>> metrics.ndcg.round(4).tolist()
    [0.3869, 0.0]

    Args:
        ranked: [U, >= k] int, item indices, best first, -1 where there is no item.
        relevant: the relevant items of each user, at least one each.
        k: how many ranks count.

    Raises:
        ValueError: an item is repeated in a list, a user has nothing relevant, lists are shorter than k columns.
    """
    hits, counts = _hits(ranked, relevant, k)
    return RankingMetrics(
        recall=hits.sum(axis=1) / counts,
        ndcg=hits @ _discounts(k) / _ideal(counts, k),
        mrr=np.where(hits.any(axis=1), 1.0 / (1 + hits.argmax(axis=1)), 0.0),
    )


def average_precision(ranked: np.ndarray, relevant: Relevant, k: int = 7) -> np.ndarray:
    """MAP@k of each user, [U] float64; arguments and errors as `ranking_metrics`.

    >>> average_precision(np.array([[5, 2, 7]]), [{2, 7}], k=3).round(4).tolist()
    [0.5833]
    """
    hits, counts = _hits(ranked, relevant, k)
    precision = hits.cumsum(axis=1) / np.arange(1, k + 1)
    return (hits * precision).sum(axis=1) / np.minimum(counts, k)


def expected_ranking_metrics(scores: np.ndarray, relevant: Relevant, k: int) -> RankingMetrics:
    """The mean of recall, NDCG and MRR over all orders of equally scored items.

    A constant score gets what a random order gets:

    >>> metrics = expected_ranking_metrics(np.zeros((1, 4)), [{2}], k=2)
    >>> metrics.recall.tolist(), metrics.mrr.tolist()
    ([0.5], [0.375])

    Args:
        scores: [U, N] float, higher is better, -inf for an item that is no candidate.
        relevant: the relevant items of each user, at least one each.
        k: how many ranks count; ranks beyond N are empty.

    Raises:
        ValueError: a score is NaN or +inf, a user has nothing relevant, a relevant item is beyond N.
    """
    counts = relevant_counts(relevant, len(scores))
    chunks = [_expected(ties, k) for ties in _tied_ranks(scores, relevant, k)]
    hits, dcg, mrr = np.concatenate([np.empty((3, 0)), *chunks], axis=1)
    return RankingMetrics(recall=hits / counts, ndcg=dcg / _ideal(counts, k), mrr=mrr)


def expected_average_precision(scores: np.ndarray, relevant: Relevant, k: int = 7) -> np.ndarray:
    """The mean of MAP@k over all orders of equally scored items, [U]; arguments and errors as for the other metrics.

    At the j-th place (from 0) of a group of m items of which g are relevant, behind H relevant ones, a hit has the
    probability g/m and then finds H + 1 + j (g-1)/(m-1) hits up to itself.
    """
    counts = relevant_counts(relevant, len(scores))
    ranks, results = np.arange(1, k + 1), [np.empty(0)]
    for ties in _tied_ranks(scores, relevant, k):
        among = ties.place * (ties.relevant - 1) / np.maximum(ties.size - 1, 1)
        precision = (ties.before + 1 + among) / ranks
        results.append((ties.relevant / ties.size * precision).sum(axis=1))
    return np.concatenate(results) / np.minimum(counts, k)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best items of each user, [U, k] int64, best first; of equal scores the lower index first; -1 for none.

    >>> top_k(np.array([[0.1, 0.9, 0.9, -np.inf]]), k=4).tolist()
    [[1, 2, 0, -1]]

    Args:
        scores: [U, N] float, -inf for an item that is no candidate.
        k: length of the lists.

    Raises:
        ValueError: a score is NaN or +inf.
    """
    _check_scores(scores)
    ranked = np.full((len(scores), k), NO_ITEM, dtype=np.int64)
    width = min(k, scores.shape[1])
    for rows in _chunks(scores):
        order = np.argsort(-scores[rows], axis=1, kind="stable")[:, :width]
        found = np.isfinite(np.take_along_axis(scores[rows], order, axis=1))
        ranked[rows, :width] = np.where(found, order, NO_ITEM)
    return ranked


def _hits(ranked: np.ndarray, relevant: Relevant, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the first k ranks hit, [U, k] bool, and how many items are relevant, [U]."""
    ranked = as_ranked(ranked)
    if not 1 <= k <= ranked.shape[1]:
        raise ValueError(f"k is {k}, the lists have {ranked.shape[1]} columns: fill short lists with {NO_ITEM}")
    ranked = ranked[:, :k]
    refuse_duplicates(ranked)
    return membership(ranked, relevant), relevant_counts(relevant, len(ranked))


def _discounts(k: int) -> np.ndarray:
    return 1.0 / np.log2(np.arange(2, k + 2))


def _ideal(counts: np.ndarray, k: int) -> np.ndarray:
    """[U] the DCG of a perfect list."""
    return _discounts(k).cumsum()[np.minimum(counts, k) - 1]


def _expected(ties: _TiedRanks, k: int) -> np.ndarray:
    """Expected number of hits, DCG and reciprocal rank, [3, u]."""
    chance = ties.relevant / ties.size
    # the chance of a hit at this rank if none was before, and with it that the first hit is here
    hazard = np.where(ties.before > 0, 0.0, np.minimum(ties.relevant / (ties.size - ties.place), 1.0))
    missed = np.cumprod(1.0 - hazard, axis=1)
    first = hazard * np.concatenate([np.ones((len(missed), 1)), missed[:, :-1]], axis=1)
    return np.stack([chance.sum(axis=1), chance @ _discounts(k), first @ (1.0 / np.arange(1, k + 1))])


def _tied_ranks(scores: np.ndarray, relevant: Relevant, k: int) -> Iterator[_TiedRanks]:
    """The groups of equal scores, a chunk of users at a time."""
    _check_scores(scores)
    users, items = pairs(relevant, len(scores))
    n_items = scores.shape[1]
    if k < 1 or (items.size and items.max() >= n_items):
        raise ValueError(f"k is {k} and the largest relevant item {items.max(initial=0)}, there are {n_items} items")
    matrix = csr_array((np.ones(len(items), dtype=np.int8), (users, items)), shape=scores.shape)
    for rows in _chunks(scores):
        yield _group(scores[rows], matrix[rows].toarray().astype(bool), k)


def _group(scores: np.ndarray, relevant: np.ndarray, k: int) -> _TiedRanks:
    """Groups of equal scores in [u, N] `scores`, down to the one that reaches beyond rank k.

    Only the first k are sorted; of the group that the last of them is in, all members are counted. The other groups'
    ends come from running extremes along the sorted row.
    """
    users, n_items = scores.shape
    width = min(k, n_items)
    first = np.argpartition(scores, n_items - width, axis=1)[:, n_items - width :]
    ordered = np.take_along_axis(scores, first, axis=1)
    order = np.argsort(-ordered, axis=1)
    first, ordered = np.take_along_axis(first, order, axis=1), np.take_along_axis(ordered, order, axis=1)
    last = ordered[:, -1:]
    of_last = ordered == last
    tied = scores == last
    hits = np.take_along_axis(relevant, first, axis=1) & ~of_last
    hits_before = np.concatenate([np.zeros((users, 1), dtype=np.int64), hits.cumsum(axis=1)], axis=1)
    change = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((users, 1), dtype=bool)
    ranks = np.arange(width)
    start = np.maximum.accumulate(np.where(np.concatenate([edge, change], axis=1), ranks, 0), axis=1)
    ends = np.where(np.concatenate([change, edge], axis=1), ranks + 1, width)
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    before = np.take_along_axis(hits_before, start, axis=1)
    found = np.take_along_axis(hits_before, end, axis=1) - before
    found_last = (tied & relevant).sum(axis=1, keepdims=True) * np.isfinite(last)
    empty = ((0, 0), (0, k - width))
    return _TiedRanks(
        relevant=np.pad(np.where(of_last, found_last, found), empty),
        size=np.pad(np.where(of_last, tied.sum(axis=1, keepdims=True), end - start), empty, constant_values=1),
        place=np.pad(ranks - start, empty),
        before=np.pad(before, empty),
    )


def _check_scores(scores: np.ndarray) -> None:
    if scores.ndim != 2:
        raise ValueError(f"scores must be [U, N], are {scores.shape}")
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise ValueError("scores hold NaN or +inf; only -inf (no candidate) is allowed beside finite numbers")


def _chunks(scores: np.ndarray) -> Iterator[slice]:
    step = max(1, SCORES_AT_ONCE // max(1, scores.shape[1]))
    yield from (slice(start, start + step) for start in range(0, len(scores), step))
