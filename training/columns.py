"""Customers' columns on their way to the device that trains."""

import numpy as np
import torch

from recsys.modeling.batches import EntityBatch, make_categorical, make_entity_batch
from recsys.modeling.devices import to_device
from recsys.modeling.encoding import EntityEncoding, EntityRows

_SHARE_OF_MEMORY = 4
"""A GPU holds all numbers and vectors where they take at most this part of what it has free."""


class CustomerColumns:
    """The columns of N states of customers, by row.

    On the CPU, and for more than a GPU may hold, a batch is put together in host memory. A GPU else holds the numbers
    and vectors of all rows, which are nearly all there is to copy, and the batch's are picked there.
    """

    def __init__(
        self, encoding: EntityEncoding, rows: EntityRows, device: torch.device, hold: bool | None = None
    ) -> None:
        """`hold` says whether the device holds them all; None: where a GPU has room."""
        self._encoding = encoding
        self._rows = rows
        self._device = device
        self._held: EntityBatch | None = None
        if _has_room(rows, device) if hold is None else hold:
            self._held = make_entity_batch(encoding, rows)._replace(categorical=None).to(device)
            self._rows = rows._replace(numeric={}, vectors={})

    def take(self, index: np.ndarray) -> EntityBatch:
        """Rows `index`, [B] int64, on the device."""
        rows = self._rows.take(index)
        if self._held is None:
            return make_entity_batch(self._encoding, rows).to(self._device)
        categorical = make_categorical(self._encoding, rows)
        place = to_device(torch.from_numpy(index), self._device)
        return EntityBatch(
            None if categorical is None else categorical.to(self._device),
            {name: values[place] for name, values in self._held.dense.items()},
            {name: values[place] for name, values in self._held.present.items()},
        )


def _has_room(rows: EntityRows, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    blocks = (*rows.numeric.values(), *rows.vectors.values(), rows.present)
    return sum(block.nbytes for block in blocks) * _SHARE_OF_MEMORY <= torch.cuda.mem_get_info(device)[0]
