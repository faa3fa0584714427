"""What is said to be chosen together was: often enough that nobody is recognised in it."""

import numpy as np

from recsys.ranking.activity import Activity
from recsys.ranking.companions import MOST, companions
from recsys.ranking.neighbours import NeighbourConfig, Sequences, fit_transitions
from recsys.ranking.tables import ItemTables
from tests.ranking.worlds import draw_tables

PRODUCTS = 30


def tables(pairs: dict[tuple[int, int], int]) -> ItemTables:
    """Of customers who each chose the first of a pair and then the second: so many of each pair."""
    chains = [pair for pair, times in pairs.items() for _ in range(times)]
    product = np.array(chains, np.int64).ravel()
    sequences = Sequences(np.repeat(np.arange(len(chains)), 2), product)
    transition = fit_transitions(sequences, PRODUCTS, NeighbourConfig())
    activity = Activity.fit(product, np.zeros(len(product), np.int64), PRODUCTS)
    drawn = draw_tables(np.random.default_rng(0), PRODUCTS)
    return ItemTables(drawn.content, {"transition": transition}, drawn.factors, activity)


def test_companions_are_what_many_chose_next() -> None:
    found = companions(tables({(0, 1): 40, (0, 2): 5, (3, 4): 9}), 0)
    assert np.flatnonzero(found).tolist() == [1]


def test_companions_few_choices_name_nobody() -> None:
    assert not companions(tables({(0, 1): 9, (3, 4): 40}), 0).any()


def test_companions_are_the_most_frequent_ones() -> None:
    found = companions(tables({(0, other): 20 + other for other in range(1, 20)}), 0)
    assert np.flatnonzero(found).tolist() == list(range(20 - MOST, 20))


def test_companions_without_the_table_are_none() -> None:
    known = tables({(0, 1): 40})
    other = ItemTables(known.content, {"knn": known.neighbours["transition"]}, known.factors, known.activity)
    assert not companions(other, 0).any()
