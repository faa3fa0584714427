"""The networks of the customer tower for many rows at once: the trained module itself, by torch."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from recsys.modeling.batches import history_batch
from recsys.modeling.config import ModelInputs, TwoTowerConfig
from recsys.modeling.reader import HistoryArrays
from recsys.modeling.tables import plain_tables
from recsys.modeling.two_tower import ItemVectors, TwoTower
from recsys.modeling.vectors import CandidateVectors, with_zero_row


def load_model(weights: Mapping[str, np.ndarray], inputs: ModelInputs, config: TwoTowerConfig) -> TwoTower:
    """The trained module in evaluation mode, on plain tables; the weights are copied."""
    model = TwoTower(inputs, config, plain_tables)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in weights.items()})
    return model.eval()


class Torch(NamedTuple):
    """As `inference._Plain`. Letters: B rows, M tokens, D dimension."""

    model: TwoTower
    items: ItemVectors

    @classmethod
    def of(
        cls,
        weights: Mapping[str, np.ndarray],
        inputs: ModelInputs,
        config: TwoTowerConfig,
        candidates: CandidateVectors,
    ) -> "Torch":
        """See `CustomerEncoder`."""
        products, contents = (torch.from_numpy(with_zero_row(vectors)) for vectors in candidates)
        has_contents = inputs.contents is not None
        items = ItemVectors(products, contents if has_contents else None, torch.zeros(()))
        return cls(load_model(weights, inputs, config), items)

    @torch.inference_mode()
    def token(self, name: str, values: np.ndarray) -> np.ndarray:
        """[B, width] to [B, D]."""
        network: nn.Module = self.model.customers.groups[name].network  # type: ignore[assignment]
        return np.asarray(network(torch.from_numpy(values)))

    @torch.inference_mode()
    def states(self, history: HistoryArrays) -> np.ndarray:
        """[B, D]."""
        return np.asarray(self.model.encode_last(self.items, history_batch(history)))

    @torch.inference_mode()
    def fuse(self, tokens: np.ndarray) -> np.ndarray:
        """[B, M, D] to [B, D]."""
        return np.asarray(self.model.customers.fusion(torch.from_numpy(tokens)))
