"""Lookups and copies that a GPU does in another way: the same numbers."""

import torch

from recsys.modeling.devices import take_rows, to_device


def test_take_rows_reads_the_last_row_for_minus_one_and_sums_gradients() -> None:
    table = torch.arange(12.0).view(4, 3).requires_grad_()
    index = torch.tensor([[0, -1], [2, 2]])
    rows = take_rows(table, index)
    assert rows.tolist() == [[[0, 1, 2], [9, 10, 11]], [[6, 7, 8], [6, 7, 8]]]
    rows.sum().backward()
    assert table.grad is not None
    assert table.grad[:, 0].tolist() == [1, 0, 2, 1]


def test_to_device_of_what_is_there_already_is_the_tensor_itself() -> None:
    values = torch.arange(5)
    assert to_device(values, torch.device("cpu")) is values
