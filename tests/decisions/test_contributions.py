"""What staff reads of a score adds up to it."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.decisions.answer import DecisionRequest
from recsys.decisions.contributions import ITEM, Contributions, contributions, shapley, subsets
from recsys.testing.tiny_scorer import HISTORY, NOW, PRODUCTS, SEGMENT, TEXT, asks_for, tiny_pipeline

WHOLE = {SEGMENT: "young", HISTORY: ["p01"], TEXT: asks_for(4)}
ALL = np.ones(PRODUCTS, bool)


def explain(row: dict[str, Any], product: int, allowed: np.ndarray = ALL) -> Contributions:
    return contributions(tiny_pipeline(), row, product, allowed, DecisionRequest(NOW))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4).flatmap(lambda m: st.lists(st.floats(-9, 9), min_size=2**m, max_size=2**m)))
def test_law_shapley_is_the_mean_over_all_orders_and_adds_up(worth: list[float]) -> None:
    count = len(worth).bit_length() - 1
    values = dict(zip(subsets(count), worth, strict=True))
    added = np.zeros((1, count))
    orders = list(permutations(range(count)))
    for order in orders:
        for place, player in enumerate(order):
            before = tuple(sorted(order[:place]))
            added[0, player] += values[tuple(sorted((*before, player)))] - values[before]
    found = shapley(np.array(worth))
    assert found == pytest.approx(added[0] / len(orders), abs=1e-9)
    assert found.sum() == pytest.approx(worth[-1] - worth[0], abs=1e-9)


def test_contributions_of_an_additive_model_are_its_terms() -> None:
    found = explain(WHOLE, 4)  # p04 is a card: 1.0 asked for, 0.5 of his category, 0.1 of his segment
    assert found.score == pytest.approx(1.6)
    assert found.average == pytest.approx((1.0 + 4 * 0.5 + 4 * 0.1) / 12)
    assert found.parts == pytest.approx({ITEM: 0.0, "profile": 0.1 * 2 / 3, "history": 0.5 * 2 / 3, "text": 11 / 12})
    assert found.ranker == {}


@pytest.mark.parametrize("missing", [(), (TEXT,), (TEXT, HISTORY), (SEGMENT,)])
def test_contributions_add_up_to_the_distance_from_the_average(missing: tuple[str, ...]) -> None:
    row = {key: value for key, value in WHOLE.items() if key not in missing}
    allowed = np.arange(PRODUCTS) % 2 == 0
    for product in range(PRODUCTS):  # those that he may not have too
        found = explain(row, product, allowed)
        assert sum(found.parts.values()) == pytest.approx(found.score - found.average, abs=1e-6)
        assert len(found.parts) == 1 + len(row)
