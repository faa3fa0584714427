"""The best k against a sort in plain Python."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.decisions.selection import NOTHING, top_k, top_k_distinct


def slow_top_k(scores: list[float], allowed: list[bool], k: int) -> list[int]:
    order = sorted((i for i in range(len(scores)) if allowed[i]), key=lambda i: (-scores[i], i))[:k]
    return order + [NOTHING] * (k - len(order))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31))
def test_top_k_with_many_ties_equals_a_stable_sort(count: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (5, count)).astype(np.float32)
    allowed = rng.random((5, count)) < 0.7
    expected = [slow_top_k(scores[row].tolist(), allowed[row].tolist(), k) for row in range(5)]
    assert top_k(scores, allowed, k).tolist() == expected


def test_top_k_many_items_partial_sort_equals_full_sort() -> None:
    rng = np.random.default_rng(0)
    scores, allowed = rng.normal(size=(20, 2000)).astype(np.float32), rng.random((20, 2000)) < 0.5
    scores[3] = 1.0  # a tie at the border
    expected = [slow_top_k(scores[row].tolist(), allowed[row].tolist(), 10) for row in range(20)]
    assert top_k(scores, allowed, 10).tolist() == expected


def test_top_k_score_that_is_no_number_comes_last() -> None:
    scores = np.array([[np.nan, 1.0, 2.0]], dtype=np.float32)
    assert top_k(scores, np.ones((1, 3), dtype=bool), 3).tolist() == [[2, 1, 0]]


def test_top_k_infinite_penalties_stay_among_the_allowed() -> None:
    scores = np.array([[-np.inf, 3.0, -np.inf]], dtype=np.float32)
    assert top_k(scores, np.array([[True, False, True]]), 2).tolist() == [[0, 2]]


def test_top_k_without_items_is_nothing() -> None:
    assert top_k(np.zeros((2, 0), np.float32), np.zeros((2, 0), bool), 2).tolist() == [[-1, -1], [-1, -1]]


def test_top_k_distinct_takes_the_best_of_each_group() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.95], dtype=np.float32)
    groups = np.array([0, 0, 1, 2, 3])
    allowed = np.array([True, True, True, True, False])
    assert top_k_distinct(scores, allowed, groups, 5).tolist() == [0, 2, 3]
    assert top_k_distinct(scores, allowed, groups, 2).tolist() == [0, 2]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 12), st.sampled_from((3, 40, 400)), st.booleans())
def test_top_k_distinct_of_many_items_is_that_of_a_full_sort(seed: int, k: int, count: int, broken: bool) -> None:
    """Whether there are few groups or many, ties, or scores that are no numbers."""
    rng = np.random.default_rng(seed)
    scores, allowed = rng.integers(0, 30, 600).astype(np.float32), rng.random(600) < 0.8
    scores[rng.random(600) < (0.9 if broken else 0.0)] = np.nan
    groups = rng.integers(0, count, 600)
    found: dict[int, int] = {}
    for item in slow_top_k(np.nan_to_num(scores, nan=-1).tolist(), allowed.tolist(), int(allowed.sum())):
        found.setdefault(int(groups[item]), item)
    assert top_k_distinct(scores, allowed, groups, k).tolist() == list(found.values())[:k]
