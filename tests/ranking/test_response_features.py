"""The features of exposures, by name."""

import numpy as np
from scipy.sparse import csr_matrix

from recsys.ranking.activity import Activity
from recsys.ranking.creatives import CreativeTables
from recsys.ranking.response_features import of_creatives, tastes
from recsys.ranking.tables import ContentTables

NOTHING = Activity(0, 1, np.zeros((0, 2), np.float32))


def test_what_creatives_of_one_product_differ_in_is_known_by_name() -> None:
    content = ContentTables({}, csr_matrix((0, 0)), np.zeros((0, 0)), np.zeros((0, 0)))
    tables = CreativeTables(np.zeros((0, 1)), ["content_attributes__tone"], content, NOTHING, NOTHING)
    names = ["age", "content_attributes__tone", "creative_rate", "creative_taste_labels", "creative_click", "position"]
    assert of_creatives(names, tables).tolist() == [False, True, True, True, True, False]
    assert tastes(names).tolist() == [False, False, True, True, False, False]
