"""The two-tower model: customers, products and creatives in one space, scored by inner product over a temperature."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.modeling.batches import EntityBatch, HistoryBatch
from recsys.modeling.config import ModelInputs, TwoTowerConfig
from recsys.modeling.devices import take_rows
from recsys.modeling.history import HistoryEncoder
from recsys.modeling.losses import info_nce
from recsys.modeling.tables import TableMaker, torchrec_tables
from recsys.modeling.towers import CustomerTower, ItemTower


class ItemVectors(NamedTuple):
    """The encoded candidates."""

    products: Tensor
    """[P, D], the last row a zero vector for 'no product'."""
    contents: Tensor | None
    """[C, D], the last row a zero vector for 'no creative'."""
    alignment: Tensor
    """Scalar: the self-supervised loss between the parts of the items."""


class TwoTower(nn.Module):
    """Customer, product and content towers with the history encoder.

    Args:
        inputs: what it is built for.
        config: the whole model.
        make: makes its embedding tables; what only serves takes `plain_tables`.
    """

    def __init__(self, inputs: ModelInputs, config: TwoTowerConfig, make: TableMaker = torchrec_tables) -> None:
        super().__init__()
        dim = config.tower.dim
        self.config = config
        self.products = ItemTower(inputs.products, inputs.product_count, config.tower, make)
        self.contents = None
        if inputs.contents is not None:
            self.contents = ItemTower(inputs.contents, inputs.content_count, config.tower, make)
        self.customers = CustomerTower(inputs.customers, len(inputs.channels), config.tower, config.fusion, make)
        self.event_type = nn.Embedding(len(inputs.event_types) + 1, dim)
        nn.init.normal_(self.event_type.weight, std=0.02)
        self.history = HistoryEncoder(dim, inputs.history_length, config.history)

    def encode_items(
        self, products: EntityBatch, contents: EntityBatch | None, product_of_content: Tensor | None
    ) -> ItemVectors:
        """Encodes the candidates.

        Args:
            products: P products.
            contents: C creatives, or None.
            product_of_content: [C] int64 row of each creative's product, -1 = none among the P.
        """
        vectors, parts = self.products(products)
        vectors = _with_zero_row(vectors)
        alignment = self._alignment(parts, products)
        creative_vectors = None
        if contents is not None and self.contents is not None and product_of_content is not None:
            creative_vectors, creative_parts = self.contents(contents, vectors[product_of_content])
            creative_vectors = _with_zero_row(creative_vectors)
            alignment = alignment + self._alignment(creative_parts, contents)
        return ItemVectors(vectors, creative_vectors, alignment)

    def encode_histories(self, items: ItemVectors, history: HistoryBatch) -> Tensor:
        """[B, L + 1, D] states; history indices are rows of `items`, -1 reads the zero row."""
        return self.history(self._entries(items, history), history)

    def encode_last(self, items: ItemVectors, history: HistoryBatch) -> Tensor:
        """[B, D]: the last of these states only."""
        return self.history.last(self._entries(items, history), history)

    def _entries(self, items: ItemVectors, history: HistoryBatch) -> Tensor:
        """[B, L, D]: every entry's item and type of event."""
        entries = take_rows(items.products, history.product) + self.event_type(history.event_type)
        if items.contents is not None:
            entries = entries + take_rows(items.contents, history.content)
        return entries

    def encode_customers(self, batch: EntityBatch, state: Tensor, has_history: Tensor, channel: Tensor) -> Tensor:
        """[B, D] customer vectors from their columns and the state of their history."""
        return self.customers(batch, state, has_history, channel)

    def scale(self, vectors: Tensor) -> Tensor:
        """Vectors as they are compared: unit length if so configured."""
        return F.normalize(vectors, dim=-1) if self.config.normalise else vectors

    def logits(self, customers: Tensor, items: Tensor) -> Tensor:
        """[B, D] and [N, D] to [B, N]."""
        return self.scale(customers) @ self.scale(items).T / self.config.temperature

    def _alignment(self, parts: dict[str, Tensor], batch: EntityBatch) -> Tensor:
        """Contrastive terms on items alone, without labels: text with image, and id with content (architecture.md)."""
        config = self.config.loss
        total = parts["id"].sum() * 0.0
        if not config.alignment_weight or not self.training:
            return total
        sample = torch.randperm(len(parts["id"]), device=total.device)[: config.alignment_items]
        if "text" in parts and "image" in parts:
            both = sample[(batch.present["text"] & batch.present["image"])[sample]]
            total = total + info_nce(parts["text"][both], parts["image"][both], config.alignment_temperature)
        content = [tokens[sample] for name, tokens in parts.items() if name != "id"]
        if content:
            total = total + info_nce(parts["id"][sample], torch.stack(content).sum(dim=0), config.alignment_temperature)
        return total


def _with_zero_row(vectors: Tensor) -> Tensor:
    """[N, D] to [N + 1, D]: index -1 then reads zeros."""
    return torch.cat([vectors, vectors.new_zeros(1, vectors.shape[1])])
