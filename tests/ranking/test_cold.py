"""New products are ranked by their content, and trade places only among themselves."""

import numpy as np
import pytest
from scipy import sparse

from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables, KnownProducts, content_kernel, had_products
from recsys.ranking.tables import ContentTables
from tests.ranking.worlds import unit_rows
from training.cold import fit_ranker
from training.ranking_config import ColdRecipe

CUSTOMERS, WARM, COLD = 200, 60, 12
PRODUCTS = WARM + COLD


class World:
    """Customers have a direction of taste and take up what points their way; pictures say nothing."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        content = unit_rows(rng.standard_normal((PRODUCTS, 3)))
        taste = unit_rows(rng.standard_normal((CUSTOMERS, 3)))
        self.likes = 1 / (1 + np.exp(-(6 * taste @ content.T - 3)))
        self.matrix = (rng.random(self.likes.shape) < self.likes).astype(np.float32)
        labels = sparse.csr_matrix(np.eye(2, dtype=np.float32)[rng.integers(0, 2, PRODUCTS)])
        numbers = rng.standard_normal((PRODUCTS, 1)).astype(np.float32)
        numbers[3] = np.nan
        vectors = {"image": unit_rows(rng.standard_normal((PRODUCTS, 4))), "text": content}
        self.content = ContentTables(vectors, labels, numbers, np.ones((PRODUCTS, 1), np.float32))
        self.warm, self.cold = np.arange(WARM), np.arange(WARM, PRODUCTS)
        self.config = ColdConfig(sources={"image": 0.3, "text": 1.0})
        self.before = self.matrix * (np.arange(PRODUCTS) < WARM)

    def tables(self, matrix: np.ndarray) -> ColdTables:
        return ColdTables.fit(
            content_kernel(self.content, self.config), KnownProducts.fit(matrix, self.warm), self.cold
        )

    def ever(self) -> np.ndarray:
        """The known products that each customer took up, padded."""
        out = np.full((CUSTOMERS, WARM), -1, np.int64)
        for row, taken in enumerate(self.before):
            found = np.flatnonzero(taken)
            out[row, : len(found)] = found
        return out


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def ranker(world: World) -> ColdRanker:
    return fit_ranker(world.content, world.before, ColdRecipe())


def test_score_orders_new_products_as_their_customers_like_them(world: World, ranker: ColdRanker) -> None:
    score = ranker.score(world.ever())
    alike = [np.corrcoef(mine, truth)[0, 1] for mine, truth in zip(score, world.likes[:, world.cold], strict=True)]
    assert np.mean(alike) > 0.6
    popular = world.likes[:, world.cold].mean(axis=0)
    by_popularity = [np.corrcoef(popular, truth)[0, 1] for truth in world.likes[:, world.cold]]
    assert np.mean(alike) > np.mean(by_popularity) + 0.3


def test_the_drill_hears_that_pictures_and_numbers_say_nothing(ranker: ColdRanker) -> None:
    assert ranker.config.sources["image"] == 0.0
    assert ranker.config.sources["text"] > 0
    assert not ranker.config.numbers
    assert 0.3 < ranker.config.validation <= 1


def test_the_drill_listens_to_numbers_that_say_all(world: World) -> None:
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((PRODUCTS, 1)).astype(np.float32)
    taste = rng.standard_normal((CUSTOMERS, 1))
    matrix = (rng.random((CUSTOMERS, PRODUCTS)) < 0.9 * np.exp(-((numbers.T - taste) ** 2) / 0.1)).astype(np.float32)
    content = world.content._replace(numbers=numbers, vectors={"image": world.content.vectors["image"]})
    found = fit_ranker(content, matrix * (np.arange(PRODUCTS) < WARM), ColdRecipe()).config
    assert found.numbers
    assert found.sources == {"image": 0.0}


def test_tables_do_not_look_at_what_was_done_with_new_products(world: World) -> None:
    other = world.matrix.copy()
    other[:, world.cold] = 1 - other[:, world.cold]
    one, two = world.tables(world.matrix).to_arrays(), world.tables(other).to_arrays()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_carry_is_kernel_ridge_regression_of_what_has_low_rank(world: World) -> None:
    """The guess for a customer is Y V V' (K + I)^-1 k, with numpy's own decomposition and a kernel by hand."""
    text, image = world.content.vectors["text"], world.content.vectors["image"]
    numbers = np.nan_to_num(world.content.numbers)
    apart = (numbers - numbers.T) ** 2
    labels = world.content.labels.toarray()
    alike = np.exp((text @ text.T - 1) / 0.5) + 0.3 * np.exp((image @ image.T - 1) / 0.5) + 0.3 * labels @ labels.T
    kernel = np.exp(-apart / (2 * 0.7**2)) * (1 + alike) + np.exp(-apart / (2 * 0.15**2)) + 0.5 * alike
    known = world.matrix[:, world.warm]
    left, strength, right = np.linalg.svd(known, full_matrices=False)
    smooth = (left[:, :32] * strength[:32]) @ right[:32]
    expected = smooth @ np.linalg.inv(kernel[:WARM, :WARM] + np.eye(WARM)) @ kernel[:WARM, WARM:]
    tables = world.tables(world.matrix)
    np.testing.assert_allclose(known @ tables.carry[world.warm], expected, atol=2e-3)
    np.testing.assert_allclose(tables.popularity, expected.mean(axis=0), atol=1e-3)
    assert not tables.carry[world.cold].any()


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


def test_who_took_up_nothing_is_shown_what_should_be_popular(world: World, ranker: ColdRanker) -> None:
    nobody = ranker.score(np.full((2, 0), -1))
    np.testing.assert_array_equal(nobody, np.tile(ranker.tables.popularity, (2, 1)))
    assert np.corrcoef(nobody[0], world.likes[:, world.cold].sum(axis=0))[0, 1] > 0.5


def test_had_products_counts_each_once_and_no_unknown() -> None:
    assert had_products(np.array([[2, 0, 2], [-1, 1, -1]]), 3).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_arrays_go_and_come_back(world: World, ranker: ColdRanker) -> None:
    back = ColdRanker(ColdTables.from_arrays(ranker.tables.to_arrays()), ranker.config)
    assert np.array_equal(back.score(world.ever()), ranker.score(world.ever()))
