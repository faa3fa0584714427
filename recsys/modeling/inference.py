"""The customer tower as it serves: the same numbers as the module that is trained, with less around them.

Training reads jagged batches through TorchRec and wants the state after every event. An answer wants one vector of a
few rows, many of which share a history: so each distinct history is encoded once, the last layer looks at its last
place only, and categories are looked up in one table. Letters: B rows, L history length, D dimension, F columns.
"""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.modeling.reader import CustomerRows, HistoryArrays, distinct
from recsys.modeling.towers import CustomerTower, EntityEmbeddings
from recsys.modeling.two_tower import ItemVectors, TwoTower
from recsys.schema import Modality

_HISTORY: Final = str(Modality.HISTORY)


class CustomerEncoder:
    """Encodes customers with a trained model. It keeps references to the model's weights: train no more.

    Args:
        model: in evaluation mode.
        encoding: of the customers' columns, as the model was built with.
        items: the candidates, as the history encoder reads them.
    """

    def __init__(self, model: TwoTower, encoding: EntityEncoding, items: ItemVectors) -> None:
        self._model = model
        self._tower: CustomerTower = model.customers
        self._items = items
        self._categories = _Categories.of(self._tower.embeddings, encoding)
        self._columns = {group.name: _positions(encoding, group.name) for group in encoding.groups}
        self._channels = self._tower.context.embedding_bags["channel_table"].weight.detach()

    def encode(self, rows: CustomerRows) -> Tensor:
        """[B, D] vectors, not yet scaled."""
        embedded = self._categories.look_up(rows.columns)
        present = dict(zip(self._columns, torch.from_numpy(rows.columns.present).unbind(dim=1), strict=True))
        present[_HISTORY] = torch.from_numpy(rows.history.length > 0)
        tokens = {_HISTORY: self._states(rows.history)}
        tokens |= {name: self._token(name, rows.columns, embedded) for name in self._columns}
        known = {
            name: torch.where(present[name][:, None], tokens[name], self._tower.missing[name])
            for name in map(str, self._tower.modalities)
        }
        channel = self._channels[torch.from_numpy(rows.channel)]
        return known[_HISTORY] + self._tower.fusion(torch.stack([*known.values(), channel], dim=1))

    def _token(self, name: str, rows: EntityRows, embedded: Tensor) -> Tensor:
        """[B, D] of one group of columns."""
        dense = torch.from_numpy(np.concatenate([rows.numeric[name], rows.vectors[name]], axis=1))
        network: nn.Module = self._tower.groups[name].network  # type: ignore[assignment]
        vectors: Tensor = network(torch.cat([dense, embedded[:, self._columns[name]].flatten(1)], dim=1))
        return vectors

    def _states(self, history: HistoryArrays) -> Tensor:
        """[B, D]: the state after each history; equal ones are encoded once."""
        first, which = distinct(history)
        if len(first) == len(history.length):
            return self._model.encode_last(self._items, history.to_batch())
        return self._model.encode_last(self._items, history.take(first).to_batch())[torch.from_numpy(which)]


class _Categories(NamedTuple):
    """All categorical columns' embeddings in one table."""

    table: Tensor
    """[V, C]: one column's rows after the other's; the last row is zeros."""
    single: np.ndarray
    """[F] int64: where each single-valued column's rows begin."""
    lists: np.ndarray
    """[G] int64: and each list column's."""

    @classmethod
    def of(cls, embeddings: EntityEmbeddings, encoding: EntityEncoding) -> "_Categories":
        columns = [*encoding.categorical_columns, *encoding.list_columns]
        if embeddings.collection is None:
            return cls(torch.zeros(1, 0), np.zeros(0, np.int64), np.zeros(0, np.int64))
        bags = embeddings.collection.embedding_bags
        weights = [bags[f"{column.key}_table"].weight.detach() for column in columns]
        starts = np.cumsum([0, *(len(weight) for weight in weights)])[:-1].astype(np.int64)
        split = len(encoding.categorical_columns)
        return cls(torch.cat([*weights, torch.zeros(1, weights[0].shape[1])]), starts[:split], starts[split:])

    def look_up(self, rows: EntityRows) -> Tensor:
        """[B, F + G, C]; a list is the sum of its entries."""
        own = self.table[torch.from_numpy(rows.categorical + self.single)]
        if not len(self.lists):
            return own
        entries = np.where(rows.lists >= 0, rows.lists + self.lists[:, None], len(self.table) - 1)
        return torch.cat([own, self.table[torch.from_numpy(entries)].sum(dim=2)], dim=1)


def _positions(encoding: EntityEncoding, group: str) -> Tensor:
    """Where a group's categorical columns are in `_Categories.look_up`, in the order that its network reads them."""
    place = {
        column.key: position for position, column in enumerate((*encoding.categorical_columns, *encoding.list_columns))
    }
    keys = next(one for one in encoding.groups if one.name == group).categories
    return torch.tensor([place[column.key] for column in keys], dtype=torch.int64)
