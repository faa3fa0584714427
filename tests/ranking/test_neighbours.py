"""The item-to-item models against slow ways to the same answer."""

import numpy as np
import pytest
from scipy import sparse

from recsys.ranking.neighbours import (
    NeighbourConfig,
    Sequences,
    fit_ease,
    fit_knn,
    fit_transitions,
    interaction_matrix,
)

CUSTOMERS, PRODUCTS = 60, 15


@pytest.fixture
def sequences() -> Sequences:
    rng = np.random.default_rng(0)
    return Sequences(np.sort(rng.integers(0, CUSTOMERS, 300)), rng.integers(0, PRODUCTS, 300))


@pytest.fixture
def interactions(sequences: Sequences) -> sparse.csr_matrix:
    return interaction_matrix(sequences, CUSTOMERS, PRODUCTS)


def test_interactions_of_a_repeated_product_are_one(sequences: Sequences, interactions: sparse.csr_matrix) -> None:
    expected = np.zeros((CUSTOMERS, PRODUCTS))
    expected[sequences.customer, sequences.product] = 1
    assert len(sequences.product) > expected.sum()
    assert np.array_equal(interactions.toarray(), expected)


def test_ease_equals_ridge_regression_of_each_item_on_the_others(interactions: sparse.csr_matrix) -> None:
    """Steck's closed form is the ridge regression whose own weight is held at zero; here by least squares."""
    l2, dense = 7.0, interactions.toarray().astype(float)
    expected = np.zeros((PRODUCTS, PRODUCTS))
    for item in range(PRODUCTS):
        others = np.delete(np.arange(PRODUCTS), item)
        rows = np.concatenate([dense[:, others], np.sqrt(l2) * np.eye(len(others))])
        target = np.concatenate([dense[:, item], np.zeros(len(others))])
        expected[others, item] = np.linalg.lstsq(rows, target, rcond=None)[0]
    weights = fit_ease(interactions, NeighbourConfig(ease_l2=l2))
    assert weights is not None
    np.testing.assert_allclose(weights.toarray(), expected, atol=1e-6)


@pytest.mark.parametrize(("limit", "fitted"), [(PRODUCTS, True), (PRODUCTS - 1, False)])
def test_ease_of_a_catalogue_above_the_limit_is_not_fitted(
    interactions: sparse.csr_matrix, limit: int, fitted: bool
) -> None:
    assert (fit_ease(interactions, NeighbourConfig(ease_up_to=limit)) is not None) is fitted


def test_knn_equals_shrunk_cosines_in_a_loop(interactions: sparse.csr_matrix) -> None:
    shrinkage, dense = 3.0, interactions.toarray()
    expected = np.zeros((PRODUCTS, PRODUCTS))
    for one in range(PRODUCTS):
        for other in range(PRODUCTS):
            if one != other:
                length = np.linalg.norm(dense[:, one]) * np.linalg.norm(dense[:, other])
                expected[one, other] = dense[:, one] @ dense[:, other] / (length + shrinkage)
    weights = fit_knn(interactions, NeighbourConfig(knn_shrinkage=shrinkage))
    np.testing.assert_allclose(weights.toarray(), expected, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 400])
def test_transitions_equal_a_loop_over_customers(sequences: Sequences, steps: int) -> None:
    """Several steps, more than any customer or even all of them together have included."""
    smoothing = 2.0
    expected = np.zeros((PRODUCTS, PRODUCTS))
    for customer in range(CUSTOMERS):
        mine = sequences.product[sequences.customer == customer]
        for place, before in enumerate(mine):
            for step, after in enumerate(mine[place + 1 : place + 1 + steps]):
                expected[before, after] += 0.5**step
    np.fill_diagonal(expected, 0)
    expected /= np.bincount(sequences.product, minlength=PRODUCTS)[:, None] + smoothing
    config = NeighbourConfig(transition_steps=steps, transition_smoothing=smoothing)
    np.testing.assert_allclose(fit_transitions(sequences, PRODUCTS, config).toarray(), expected, rtol=1e-5)


@pytest.mark.parametrize("model", ["ease", "knn", "transition"])
def test_keep_prunes_each_row_to_its_strongest(
    sequences: Sequences, interactions: sparse.csr_matrix, model: str
) -> None:
    """Of the largest magnitude: a strong negative weight of EASE stays."""
    keep = 4

    def fit(kept: int) -> np.ndarray:
        config = NeighbourConfig(keep=kept, knn_keep=kept, ease_l2=1.0)
        if model == "transition":
            return fit_transitions(sequences, PRODUCTS, config).toarray()
        fitted = fit_ease(interactions, config) if model == "ease" else fit_knn(interactions, config)
        assert fitted is not None
        return fitted.toarray()

    whole, pruned = fit(PRODUCTS), fit(keep)
    if model == "ease":
        assert (pruned < 0).any()
    for all_of_row, kept_of_row in zip(whole, pruned, strict=True):
        kept = np.flatnonzero(kept_of_row)
        assert len(kept) == min(keep, np.count_nonzero(all_of_row))
        assert np.array_equal(kept_of_row[kept], all_of_row[kept])
        assert np.abs(all_of_row[kept]).min() >= np.abs(np.delete(all_of_row, kept)).max()


def test_neighbours_of_an_item_that_nobody_has_are_none(sequences: Sequences) -> None:
    wider = PRODUCTS + 2
    matrix = interaction_matrix(sequences, CUSTOMERS, wider)
    fitted = (
        fit_ease(matrix, NeighbourConfig()),
        fit_knn(matrix, NeighbourConfig()),
        fit_transitions(sequences, wider, NeighbourConfig()),
    )
    for weights in fitted:
        assert weights is not None
        assert np.isfinite(weights.data).all()
        assert not weights[PRODUCTS:].nnz
        assert not weights[:, PRODUCTS:].nnz


def test_neighbours_of_no_interactions_are_empty() -> None:
    nothing = Sequences(np.zeros(0, np.int64), np.zeros(0, np.int64))
    matrix = interaction_matrix(nothing, 1, PRODUCTS)
    ease = fit_ease(matrix, NeighbourConfig())
    assert ease is not None
    for weights in (ease, fit_knn(matrix, NeighbourConfig()), fit_transitions(nothing, PRODUCTS, NeighbourConfig())):
        assert weights.shape == (PRODUCTS, PRODUCTS)
        assert not weights.nnz
