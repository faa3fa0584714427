"""Creatives beside those that a customer answered: the same for one customer as for many."""

import numpy as np
import pytest

from recsys.ranking.response_features import _near


@pytest.mark.parametrize(("rows", "dimensions"), [(1, 40), (30, 40), (30, 3)])
def test_near_is_the_answered_creatives_likeness_whichever_way_is_cheaper(rows: int, dimensions: int) -> None:
    rng = np.random.default_rng(rows + dimensions)
    done = rng.random((3, rows, 12)).astype(np.float32)
    vectors = rng.standard_normal((12, dimensions)).astype(np.float32)
    wanted = np.einsum("tbc,cd,ed->tbe", done, vectors, vectors)
    np.testing.assert_allclose(_near(done, vectors), wanted, rtol=1e-4, atol=1e-4)
