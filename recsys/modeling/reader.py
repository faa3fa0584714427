"""Feature columns to model inputs: the one path by which training rows and serving rows become arrays."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from recsys.modeling.batches import EntityBatch, HistoryBatch, make_entity_batch
from recsys.modeling.encoding import Columns, EntityRows, Values
from recsys.modeling.two_tower import ModelInputs

HISTORY_VIEW = "customer_history"


class HistoryArrays(NamedTuple):
    """N histories, padded on the right to the model's history length; fields as in `HistoryBatch`."""

    product: np.ndarray
    content: np.ndarray
    event_type: np.ndarray
    timestamp: np.ndarray
    length: np.ndarray

    def take(self, index: np.ndarray) -> "HistoryArrays":
        """Histories `index`, [B] int."""
        return HistoryArrays(*(values[index] for values in self))

    def to_batch(self) -> HistoryBatch:
        """The tensors, cut to the longest history among them (at least one step)."""
        steps = max(1, int(self.length.max(initial=0)))
        product, content, event_type, timestamp = (
            torch.from_numpy(np.ascontiguousarray(values[:, :steps])) for values in self[:4]
        )
        return HistoryBatch(product, content, event_type, timestamp, torch.from_numpy(self.length))


class CustomerRows(NamedTuple):
    """N customers as the model reads them."""

    columns: EntityRows
    history: HistoryArrays
    channel: np.ndarray
    """[N] int64, 0 = none."""
    now: np.ndarray
    """[N] int64 epoch µs: when each is asked about."""

    def take(self, index: np.ndarray) -> "CustomerRows":
        """Customers `index`, [B] int."""
        return CustomerRows(self.columns.take(index), self.history.take(index), self.channel[index], self.now[index])


class ModelReader:
    """Turns feature columns into what the model reads, with the vocabularies it was trained with."""

    def __init__(self, inputs: ModelInputs, product_ids: Sequence[str], content_ids: Sequence[str]) -> None:
        self.inputs = inputs
        self._product_row = {identifier: row for row, identifier in enumerate(product_ids)}
        self._content_row = {identifier: row for row, identifier in enumerate(content_ids)}
        self._event_type = {name: index for index, name in enumerate(inputs.event_types, start=1)}
        self._channel = {name: index for index, name in enumerate(inputs.channels, start=1)}

    def channel_index(self, name: str | None) -> int:
        """The number of a channel; 0 for one that the model does not know."""
        return self._channel.get(name or "", 0)

    def read_customers(self, columns: Columns, now: np.ndarray, channels: Sequence[str | None]) -> CustomerRows:
        """Reads N customers.

        Args:
            columns: the feature service's columns; a missing one is a missing modality.
            now: [N] int64 epoch µs.
            channels: N channel names or None.
        """
        return CustomerRows(
            self.inputs.customers.transform(columns, now),
            self.read_histories(columns, len(now)),
            np.array([self._channel.get(name or "", 0) for name in channels], np.int64),
            np.asarray(now, np.int64),
        )

    def read_histories(self, columns: Columns, n: int) -> HistoryArrays:
        """Reads N histories from the columns of `customer_history`."""
        width = self.inputs.history_length
        product, content, event_type, timestamp = (
            _flatten(columns.get(f"{HISTORY_VIEW}__{name}"), n, width)
            for name in ("product_ids", "content_ids", "event_types", "timestamps")
        )
        lengths = timestamp.lengths
        return HistoryArrays(
            product=_pad(_rows(product.values, self._product_row, -1), lengths, width, -1),
            content=_pad(_rows(content.values, self._content_row, -1), lengths, width, -1),
            event_type=_pad(_rows(event_type.values, self._event_type, 0), lengths, width, 0),
            timestamp=_pad(np.array(timestamp.values, np.int64), lengths, width, 0),
            length=lengths,
        )

    def customer_batch(self, rows: CustomerRows) -> EntityBatch:
        """The tensors of the customers' columns."""
        return make_entity_batch(self.inputs.customers, rows.columns)


class _FlatLists(NamedTuple):
    """N lists, end to end."""

    values: list[Any]
    lengths: np.ndarray
    """[N] int64."""


def _flatten(values: Values | None, n: int, width: int) -> _FlatLists:
    """The last `width` entries of each list; a missing list is empty. Online rows are read without polars."""
    if values is None:
        return _FlatLists([], np.zeros(n, np.int64))
    if isinstance(values, pl.Series):
        tails = values.list.tail(width)
        lengths = tails.list.len().fill_null(0).to_numpy().astype(np.int64)
        return _FlatLists(tails.explode(empty_as_null=False, keep_nulls=False).to_list(), lengths)
    rows = [[] if value is None else list(value)[-width:] for value in values]
    return _FlatLists(list(chain.from_iterable(rows)), np.array([len(row) for row in rows], np.int64))


def _rows(names: list[str], rows: dict[str, int], default: int) -> np.ndarray:
    """Names as row numbers; `default` for the unknown."""
    return np.fromiter((rows.get(name, default) for name in names), np.int64, len(names))


def _pad(flat: np.ndarray, lengths: np.ndarray, width: int, fill: int) -> np.ndarray:
    """Lists laid end to end, of the given lengths, to [N, width] int64, padded on the right."""
    out = np.full((len(lengths), width), fill, np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[row, np.arange(len(flat)) - first] = flat
    return out
