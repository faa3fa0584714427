"""The history encoder is causal and sees relative positions and times only."""

import pytest
import torch

from recsys.modeling.batches import HistoryBatch
from recsys.modeling.config import HistoryEncoderConfig
from recsys.modeling.history import HistoryEncoder

DIM, LENGTH = 8, 12


def make_encoder(layers: int = 2) -> HistoryEncoder:
    torch.manual_seed(0)
    encoder = HistoryEncoder(DIM, LENGTH, HistoryEncoderConfig(layers=layers))
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


def make_history(lengths: list[int], steps: int, start: int = 1_000_000) -> HistoryBatch:
    rows = len(lengths)
    gaps = torch.randint(1, 10_000_000_000, (rows, steps), generator=torch.Generator().manual_seed(1))
    nothing = torch.zeros(rows, steps, dtype=torch.int64)
    return HistoryBatch(nothing, nothing, nothing, start + gaps.cumsum(dim=1), torch.tensor(lengths))


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_state_after_p_events_is_the_same_when_more_events_follow(layers: int) -> None:
    encoder = make_encoder(layers)
    items = torch.randn(3, 6, DIM)
    history = make_history([6, 6, 6], 6)
    whole = encoder(items, history)
    for p in range(7):
        cut = max(p, 1)
        part = HistoryBatch(*(values[:, :cut] for values in history[:4]), torch.tensor([p] * 3))
        torch.testing.assert_close(encoder(items[:, :cut], part)[:, p], whole[:, p], rtol=1e-5, atol=1e-5)


def test_state_does_not_depend_on_padding() -> None:
    encoder = make_encoder()
    items, history = torch.randn(2, 6, DIM), make_history([3, 3], 6)
    noisy = items.clone()
    noisy[:, 3:] = 100.0
    torch.testing.assert_close(encoder(items, history)[:, :4], encoder(noisy, history)[:, :4])


def test_state_does_not_depend_on_when_everything_happened() -> None:
    encoder = make_encoder()
    items = torch.randn(2, 6, DIM)
    early, late = make_history([6, 6], 6), make_history([6, 6], 6, start=5_000_000_000_000)
    torch.testing.assert_close(encoder(items, early), encoder(items, late))


def test_state_depends_on_the_order_of_events() -> None:
    encoder = make_encoder()
    items, history = torch.randn(1, 4, DIM), make_history([4], 4)
    assert not torch.allclose(encoder(items, history)[:, 4], encoder(items.flip(1), history)[:, 4], atol=1e-3)


def test_dimension_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        HistoryEncoder(9, LENGTH, HistoryEncoderConfig(heads=2))
