"""Arrays to tensors: what one forward pass reads. Letters: B batch, L history length, D dimension, N candidates."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recsys.modeling.devices import to_device
from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.modeling.tables import Jagged

if TYPE_CHECKING:
    from recsys.modeling.reader import HistoryArrays

ID_KEY = "__id__"


class EntityBatch(NamedTuple):
    """B rows of one entity."""

    categorical: Jagged | None
    """One key per categorical column, list column and, for items, the id."""
    dense: dict[str, Tensor]
    """Group name to [B, numeric + vector width] float32."""
    present: dict[str, Tensor]
    """Group name to [B] bool."""

    def to(self, device: torch.device) -> "EntityBatch":
        """The same batch on `device`."""
        return EntityBatch(
            self.categorical.to(device) if self.categorical is not None else None,
            {name: to_device(values, device) for name, values in self.dense.items()},
            {name: to_device(values, device) for name, values in self.present.items()},
        )


class HistoryBatch(NamedTuple):
    """B histories; fields as in `HistoryArrays`, L the length of the longest."""

    product: Tensor
    content: Tensor
    event_type: Tensor
    timestamp: Tensor
    length: Tensor

    def to(self, device: torch.device) -> "HistoryBatch":
        """The same batch on `device`."""
        return HistoryBatch(*(to_device(values, device) for values in self))

    def take(self, index: Tensor) -> "HistoryBatch":
        """Histories `index`, [B] int64."""
        return HistoryBatch(*(values[index] for values in self))


def history_batch(history: "HistoryArrays") -> HistoryBatch:
    """The tensors of histories, cut to the longest among them (at least one step)."""
    steps = max(1, int(history.length.max(initial=0)))
    product, content, event_type, timestamp = (
        torch.from_numpy(np.ascontiguousarray(values[:, :steps])) for values in history[:4]
    )
    return HistoryBatch(product, content, event_type, timestamp, torch.from_numpy(history.length))


def categorical_keys(encoding: EntityEncoding, with_id: bool) -> list[str]:
    """The keys of `EntityBatch.categorical`, in order."""
    keys = [column.key for column in (*encoding.categorical_columns, *encoding.list_columns)]
    return [*keys, ID_KEY] if with_id else keys


def make_entity_batch(encoding: EntityEncoding, rows: EntityRows, ids: np.ndarray | None = None) -> EntityBatch:
    """Builds the tensors of B rows.

    Args:
        encoding: how `rows` were read.
        rows: B rows.
        ids: [B] int64 id index (0 = unknown) for items, None for customers.
    """
    dense = {
        group.name: torch.from_numpy(np.concatenate([rows.numeric[group.name], rows.vectors[group.name]], axis=1))
        for group in encoding.groups
    }
    present = {
        name: torch.from_numpy(np.ascontiguousarray(rows.present[:, position]))
        for position, name in enumerate(encoding.group_names())
    }
    return EntityBatch(make_categorical(encoding, rows, ids), dense, present)


def make_categorical(encoding: EntityEncoding, rows: EntityRows, ids: np.ndarray | None = None) -> Jagged | None:
    """The categories of B rows, as `make_entity_batch` takes them; None where there are none."""
    values = [rows.categorical[:, position] for position in range(rows.categorical.shape[1])]
    lengths = [np.ones(len(column), np.int64) for column in values]
    for position in range(rows.lists.shape[1]):
        block = rows.lists[:, position]
        values.append(block[block >= 0])
        lengths.append((block >= 0).sum(axis=1))
    if ids is not None:
        values.append(ids)
        lengths.append(np.ones(len(ids), np.int64))
    if not values:
        return None
    return Jagged(
        tuple(categorical_keys(encoding, with_id=ids is not None)),
        torch.from_numpy(np.concatenate(values)),
        torch.from_numpy(np.concatenate(lengths)),
        tuple(map(len, values)),
    )
