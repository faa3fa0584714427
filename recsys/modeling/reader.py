"""Feature columns to model inputs: the one path by which training rows and serving rows become arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from recsys.modeling.batches import EntityBatch, HistoryBatch, make_entity_batch
from recsys.modeling.encoding import EntityRows
from recsys.modeling.two_tower import ModelInputs

HISTORY_VIEW = "customer_history"
Columns = Mapping[str, Sequence[Any]]
"""`<view>__<column>` to one value a row."""


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
        return HistoryBatch(
            *(torch.from_numpy(np.ascontiguousarray(values[:, :steps])) for values in self[:4]),
            torch.from_numpy(self.length),
        )


class CustomerRows(NamedTuple):
    """N customers as the model reads them."""

    columns: EntityRows
    history: HistoryArrays
    channel: np.ndarray
    """[N] int64, 0 = none."""

    def take(self, index: np.ndarray) -> "CustomerRows":
        """Customers `index`, [B] int."""
        return CustomerRows(self.columns.take(index), self.history.take(index), self.channel[index])


class ModelReader:
    """Turns feature columns into what the model reads, with the vocabularies it was trained with."""

    def __init__(self, inputs: ModelInputs, product_ids: Sequence[str], content_ids: Sequence[str]) -> None:
        self.inputs = inputs
        self._product_row = {identifier: row for row, identifier in enumerate(product_ids)}
        self._content_row = {identifier: row for row, identifier in enumerate(content_ids)}
        self._event_type = {name: index for index, name in enumerate(inputs.event_types, start=1)}
        self._channel = {name: index for index, name in enumerate(inputs.channels, start=1)}

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
        )

    def read_histories(self, columns: Columns, n: int) -> HistoryArrays:
        """Reads N histories from the columns of `customer_history`."""
        width = self.inputs.history_length
        lists = {name: _lists(columns.get(f"{HISTORY_VIEW}__{name}"), n).list.tail(width) for name in _HISTORY_COLUMNS}
        lengths = lists["timestamps"].list.len().fill_null(0).to_numpy().astype(np.int64)
        return HistoryArrays(
            product=_pad(_rows(lists["product_ids"], self._product_row, -1), lengths, width, -1),
            content=_pad(_rows(lists["content_ids"], self._content_row, -1), lengths, width, -1),
            event_type=_pad(_rows(lists["event_types"], self._event_type, 0), lengths, width, 0),
            timestamp=_pad(_flatten(lists["timestamps"]).cast(pl.Int64).to_numpy(), lengths, width, 0),
            length=lengths,
        )

    def customer_batch(self, rows: CustomerRows) -> EntityBatch:
        """The tensors of the customers' columns."""
        return make_entity_batch(self.inputs.customers, rows.columns)


_HISTORY_COLUMNS = ("product_ids", "content_ids", "event_types", "timestamps")


def _lists(values: Sequence[Any] | None, n: int) -> pl.Series:
    if values is None:
        return pl.Series([None] * n, dtype=pl.List(pl.String))
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    return series if isinstance(series.dtype, pl.List) else series.cast(pl.List(pl.String))


def _flatten(lists: pl.Series) -> pl.Series:
    return lists.explode(empty_as_null=False, keep_nulls=False)


def _rows(lists: pl.Series, rows: dict[str, int], default: int) -> np.ndarray:
    """All entries of all lists, one after another, as row numbers; `default` for the unknown."""
    names = _flatten(lists).cast(pl.String).to_list()
    return np.fromiter((rows.get(name, default) for name in names), np.int64, len(names))


def _pad(flat: np.ndarray, lengths: np.ndarray, width: int, fill: int) -> np.ndarray:
    """Lists laid end to end, of the given lengths, to [N, width] int64, padded on the right."""
    out = np.full((len(lengths), width), fill, np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[row, np.arange(len(flat)) - first] = flat
    return out
