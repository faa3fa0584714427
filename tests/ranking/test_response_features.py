"""Creatives beside those that a customer answered: the same for one customer as for many."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.ranking import response_features
from recsys.ranking.activity import Activity
from recsys.ranking.response_features import CreativeTables, Exposed, _near, _taste, of_creatives, tastes
from recsys.ranking.spread import Lists
from recsys.ranking.tables import ContentTables

NOTHING = Activity(0, 1, np.zeros((0, 2), np.float32))


@pytest.mark.parametrize(("rows", "dimensions"), [(1, 40), (30, 40), (30, 3)])
def test_near_is_the_answered_creatives_likeness_whichever_way_is_cheaper(rows: int, dimensions: int) -> None:
    rng = np.random.default_rng(rows + dimensions)
    done = rng.random((3, rows, 12)).astype(np.float32)
    vectors = rng.standard_normal((12, dimensions)).astype(np.float32)
    wanted = np.einsum("tbc,cd,ed->tbe", done, vectors, vectors)
    np.testing.assert_allclose(_near(done, vectors), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("compared", [True, False])
def test_taste_is_the_clicked_creatives_likeness_with_ten_more_clicks_of_no_taste(
    compared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compared:
        monkeypatch.setattr(response_features, "_COMPARED_UP_TO", 3)
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    pictures = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 0]], np.float32)  # the last has none
    content = ContentTables({"pictures": pictures}, csr_matrix(labels), np.zeros((4, 0)), np.ones((4, 1)))
    tables = CreativeTables(np.zeros((4, 0)), [], content, NOTHING, NOTHING)
    faded = np.array([0.1, 0.5, 0.9], np.float32)
    clicks = Lists(np.array([0, 3, 3]), np.array([0, 0, 1]), faded)  # the second customer clicked nothing
    pairs = Exposed(*(np.array(values) for values in ([0, 0, 0, 1], [0] * 4, [0, 2, 3, 0], [0] * 4, [1.0] * 4)))
    found = _taste(clicks, tables, pairs)
    # three clicks: two on creative 0, one on creative 1; both are of the first label, which half of the creatives have
    half = 3 * 0.5 / 13
    np.testing.assert_allclose(found["creative_taste_labels"], [half, -half, -half, 0], atol=1e-4)
    np.testing.assert_allclose(found["creative_taste_pictures"], [2.6 / 13, 0.8 / 13, 0, 0], atol=1e-4)


def test_what_creatives_of_one_product_differ_in_is_known_by_name() -> None:
    content = ContentTables({}, csr_matrix((0, 0)), np.zeros((0, 0)), np.zeros((0, 0)))
    tables = CreativeTables(np.zeros((0, 1)), ["content_attributes__tone"], content, NOTHING, NOTHING)
    names = ["age", "content_attributes__tone", "creative_rate", "creative_taste_labels", "creative_click", "position"]
    assert of_creatives(names, tables).tolist() == [False, True, True, True, True, False]
    assert tastes(names).tolist() == [False, False, True, True, False, False]
