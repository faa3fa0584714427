"""New products are ranked by their content, and trade places only among themselves."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import rankdata

from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables, had_products, shares
from recsys.ranking.tables import ContentTables
from tests.ranking.worlds import unit_rows

CUSTOMERS, WARM, COLD = 200, 60, 12
PRODUCTS = WARM + COLD


class World:
    """Customers have a direction of taste and take up what points their way."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        content = unit_rows(rng.standard_normal((PRODUCTS, 3)))
        taste = unit_rows(rng.standard_normal((CUSTOMERS, 3)))
        self.likes = 1 / (1 + np.exp(-(6 * taste @ content.T - 3)))
        self.matrix = (rng.random(self.likes.shape) < self.likes).astype(np.float32)
        labels = sparse.csr_matrix(np.eye(2, dtype=np.float32)[rng.integers(0, 2, PRODUCTS)])
        numbers = rng.standard_normal((PRODUCTS, 1)).astype(np.float32)
        numbers[3] = np.nan
        self.content = ContentTables({"text": content}, labels, numbers, np.ones((PRODUCTS, 1), np.float32))
        self.warm, self.cold = np.arange(WARM), np.arange(WARM, PRODUCTS)

    def tables(self, matrix: np.ndarray | None = None) -> ColdTables:
        return ColdTables.fit(self.content, self.matrix if matrix is None else matrix, self.warm, self.cold)

    def ranker(self) -> ColdRanker:
        """Drilled on the known products' last third."""
        drilled = ColdTables.fit(self.content, self.matrix, self.warm[: 2 * WARM // 3], self.warm[2 * WARM // 3 :])
        had = self.matrix.copy()
        had[:, drilled.cold] = 0
        names, values = drilled.features(had)
        label = self.matrix[:, drilled.cold].ravel()
        rows = RankingRows(values.reshape(len(label), -1), label, np.zeros(len(label), np.int64))
        model = BoostedRanker.fit(rows, BoostedConfig(rounds=60, min_rows_in_leaf=20))
        return ColdRanker(self.tables(), [model], ColdConfig(rounds=60, models=1, features=tuple(names)))

    def ever(self) -> np.ndarray:
        """[U, K] the known products that each customer took up, -1 = none."""
        known = [np.flatnonzero(row[:WARM]) for row in self.matrix]
        ever = np.full((CUSTOMERS, max(map(len, known))), -1)
        for row, products in zip(ever, known, strict=True):
            row[: len(products)] = products
        return ever


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def ranker(world: World) -> ColdRanker:
    return world.ranker()


def test_score_orders_new_products_as_their_customers_like_them(world: World, ranker: ColdRanker) -> None:
    score = ranker.score(world.ever())
    alike = [np.corrcoef(mine, truth)[0, 1] for mine, truth in zip(score, world.likes[:, world.cold], strict=True)]
    assert np.mean(alike) > 0.6
    popular = world.likes[:, world.cold].mean(axis=0)
    by_popularity = [np.corrcoef(popular, truth)[0, 1] for truth in world.likes[:, world.cold]]
    assert np.mean(alike) > np.mean(by_popularity) + 0.3


def test_tables_do_not_look_at_what_was_done_with_new_products(world: World) -> None:
    other = world.matrix.copy()
    other[:, world.cold] = 1 - other[:, world.cold]
    one, two = world.tables().to_arrays(), world.tables(other).to_arrays()
    assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)


def test_carry_is_kernel_ridge_regression(world: World) -> None:
    """The guess for a customer is the closed form y K (K + I)^-1 of his row of the matrix, with the linear kernel."""
    tables = world.tables()
    text, labels = world.content.vectors["text"], world.content.labels.toarray()
    numbers = np.nan_to_num(shares(world.content.numbers), nan=0.5)
    kernel = text @ text.T + 0.3 * labels @ labels.T + np.exp(-((numbers - numbers.T) ** 2) / (2 * 0.1**2))
    known = kernel[np.ix_(world.warm, world.warm)]
    expected = (
        world.matrix[:, world.warm] @ np.linalg.inv(known + np.eye(WARM)) @ kernel[np.ix_(world.warm, world.cold)]
    )
    np.testing.assert_allclose(world.matrix[:, world.warm] @ tables.carry["linear"], expected, atol=1e-3)


def test_shares_are_mid_ranks_and_do_not_heed_the_scale() -> None:
    numbers = np.random.default_rng(3).integers(0, 9, (50, 2)).astype(np.float32)
    expected = (rankdata(numbers, axis=0) - 0.5) / len(numbers)
    np.testing.assert_allclose(shares(numbers), expected, atol=1e-6)
    np.testing.assert_array_equal(shares(np.exp(numbers)), shares(numbers))
    numbers[7, 0] = np.nan
    assert np.isnan(shares(numbers)[7, 0])
    assert np.isfinite(shares(numbers)).sum() == numbers.size - 1


def test_around_counts_what_a_customer_had_near_the_number(world: World) -> None:
    """One who had only the products with the lowest numbers, one who had them all, and one who had nothing."""
    tables = world.tables()
    number = tables.numbers[:, 0]
    had = np.zeros((3, PRODUCTS), np.float32)
    had[0, : len(tables.warm)] = number[: len(tables.warm)] < 0.2
    had[1, : len(tables.warm)] = 1
    names, values = tables.features(had)
    low, high = number[tables.cold] < 0.15, number[tables.cold] > 0.5
    for width in (0.02, 0.06):
        around = values[:, :, names.index(f"number_0_around_{width}")]
        assert (around[0, low] > 2).all()
        assert (around[0, high] < 0.01).all()
        np.testing.assert_allclose(around[1], 1, atol=0.05)  # the one without a number counts in the whole only
        assert (around[2] == 0).all()


def test_a_product_without_a_number_is_near_nobody(world: World) -> None:
    numbers = world.content.numbers.copy()
    numbers[world.cold[2]] = np.nan
    tables = ColdTables.fit(world.content._replace(numbers=numbers), world.matrix, world.warm, world.cold)
    names, values = tables.features(had_products(world.ever(), PRODUCTS))
    around = values[:, :, names.index("number_0_around_0.02")]
    assert np.isnan(around[:, 2]).all()
    assert np.isfinite(np.delete(around, 2, axis=1)).all()


def test_score_is_the_mean_of_the_models(world: World, ranker: ColdRanker) -> None:
    tables, config, ever = ranker.tables, ranker.config, world.ever()[:20]
    names, values = tables.features(had_products(ever, PRODUCTS))
    rows = values.reshape(-1, len(names))
    rng = np.random.default_rng(5)
    other = BoostedRanker.fit(
        RankingRows(rows, rng.integers(0, 2, len(rows)).astype(np.float32), np.zeros(len(rows), np.int64)),
        BoostedConfig(rounds=60, min_rows_in_leaf=5),
    )
    alone = [ColdRanker(tables, [model], config).score(ever) for model in (*ranker.models, other)]
    assert not np.allclose(*alone)
    both = ColdRanker(tables, [*ranker.models, other], config.model_copy(update={"models": 2})).score(ever)
    np.testing.assert_allclose(both, np.mean(alone, axis=0), rtol=1e-5, atol=1e-6)


def test_reorder_hands_out_the_same_scores_and_touches_nothing_else(world: World, ranker: ColdRanker) -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((CUSTOMERS, PRODUCTS)).astype(np.float32)
    allowed = rng.random(scores.shape) < 0.7
    ever = world.ever()
    out = ranker.reorder(ever, scores, allowed)
    assert np.array_equal(out[:, world.warm], scores[:, world.warm])
    assert np.array_equal(out[~allowed], scores[~allowed])
    wanted = ranker.score(ever)
    for row in range(CUSTOMERS):
        mine = allowed[row, world.cold]
        assert np.array_equal(np.sort(out[row, world.cold][mine]), np.sort(scores[row, world.cold][mine]))
        by_score = np.argsort(-wanted[row][mine], kind="stable")
        assert (np.diff(out[row, world.cold][mine][by_score]) <= 0).all()


def test_features_of_who_has_no_history_are_those_of_the_products(world: World) -> None:
    names, values = world.tables().features(np.zeros((2, PRODUCTS), np.float32))
    assert np.array_equal(values[0], values[1], equal_nan=True)
    popularity = values[0, :, names.index("popularity_round")]
    liked = world.likes[:, world.cold].sum(axis=0)
    assert np.corrcoef(popularity, liked)[0, 1] > 0.5


def test_arrays_go_and_come_back(world: World) -> None:
    tables = world.tables()
    back = ColdTables.from_arrays(tables.to_arrays())
    had = had_products(world.ever(), PRODUCTS)
    (names, values), (names_back, values_back) = tables.features(had), back.features(had)
    assert sorted(names) == sorted(names_back)
    places = [names_back.index(name) for name in names]
    assert np.array_equal(values, values_back[:, :, places], equal_nan=True)


def test_new_product_that_is_allowed_alone_keeps_its_score(world: World, ranker: ColdRanker) -> None:
    ever = world.ever()[:2]
    scores = np.random.default_rng(3).normal(size=(2, PRODUCTS)).astype(np.float32)
    allowed = np.zeros((2, PRODUCTS), bool)
    allowed[:, [0, WARM + 1]] = True
    np.testing.assert_array_equal(ranker.reorder(ever, scores, allowed), scores)
    allowed[1, WARM + 2] = True  # the second customer has two, the first still one
    mixed = ranker.reorder(ever, scores, allowed)
    np.testing.assert_array_equal(mixed[0], scores[0])
    np.testing.assert_array_equal(np.sort(mixed[1]), np.sort(scores[1]))
