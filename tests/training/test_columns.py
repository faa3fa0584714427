"""The customers' columns as the device that trains gets them."""

import numpy as np
import pytest
import torch

from recsys.modeling.batches import EntityBatch, make_entity_batch
from tests.benchmarks.learnable import make_learnable
from training.columns import CustomerColumns

CPU = torch.device("cpu")


@pytest.mark.parametrize("hold", [True, False, None])
def test_columns_taken_by_row_are_the_batch_of_these_rows(hold: bool | None) -> None:
    prepared = make_learnable(30, 60, 60).prepared
    encoding, rows = prepared.inputs.customers, prepared.training.columns
    columns = CustomerColumns(encoding, rows, CPU, hold)
    index = np.array([4, 4, 29, 0, 17])
    expected = make_entity_batch(encoding, rows.take(index))
    taken = columns.take(index)
    assert expected.categorical is not None
    assert (expected.dense["text"][:, 0] != 0).any()
    assert_same(taken, expected)


def assert_same(found: EntityBatch, expected: EntityBatch) -> None:
    """Every tensor is the same, bit for bit."""
    assert found.categorical is not None
    assert expected.categorical is not None
    assert found.categorical.keys == expected.categorical.keys
    assert found.categorical.sizes == expected.categorical.sizes
    pairs = [(found.categorical.values, expected.categorical.values)]
    pairs += [(found.categorical.lengths, expected.categorical.lengths)]
    for ours, theirs in ((found.dense, expected.dense), (found.present, expected.present)):
        assert list(ours) == list(theirs)
        pairs += [(ours[name], theirs[name]) for name in theirs]
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=0)
