"""Feature columns to model inputs: the one path by which training rows and serving rows become arrays."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys.compiling import compiled
from recsys.modeling.config import ModelInputs
from recsys.modeling.encoding import Columns, EntityRows, Values
from recsys.modeling.variants import VariantReader

HISTORY_VIEW = "customer_history"
_HISTORY_KEYS = tuple(f"{HISTORY_VIEW}__{name}" for name in ("product_ids", "content_ids", "event_types", "timestamps"))
_EVER_KEY = f"{HISTORY_VIEW}__products_ever"


class HistoryArrays(NamedTuple):
    """N histories, oldest entry first, padded on the right to the model's history length L."""

    product: np.ndarray
    """[N, L] int64 row of the product table, -1 = none."""
    content: np.ndarray
    """[N, L] int64 row of the content table, -1 = none."""
    event_type: np.ndarray
    """[N, L] int64 index into the model's event types, 0 = unknown or padding."""
    timestamp: np.ndarray
    """[N, L] int64 epoch µs."""
    length: np.ndarray
    """[N] int64, 0 = no history."""

    def take(self, index: np.ndarray | slice) -> "HistoryArrays":
        """Histories `index`, a range or [B] int."""
        return HistoryArrays(*(values[index] for values in self))


class CustomerRows(NamedTuple):
    """N customers as the model reads them."""

    columns: EntityRows
    history: HistoryArrays
    channel: np.ndarray
    """[N] int64, 0 = none."""
    now: np.ndarray
    """[N] int64 epoch µs: when each is asked about."""
    ever: np.ndarray
    """[N, K] int64 rows of the products that each ever took up, padded on the right with -1; unknown ones are -1."""

    def take(self, index: np.ndarray) -> "CustomerRows":
        """Customers `index`, [B] int."""
        columns, history = self.columns.take(index), self.history.take(index)
        return CustomerRows(columns, history, self.channel[index], self.now[index], self.ever[index])


class ModelReader:
    """Turns feature columns into what the model reads, with the vocabularies it was trained with."""

    def __init__(self, inputs: ModelInputs, product_ids: Sequence[str], content_ids: Sequence[str]) -> None:
        self.inputs = inputs
        self._variants = VariantReader(inputs.customers)
        self._product_row = {identifier: row for row, identifier in enumerate(product_ids)}
        self._content_row = {identifier: row for row, identifier in enumerate(content_ids)}
        self._event_type = {name: index for index, name in enumerate(inputs.event_types, start=1)}
        self._channel = {name: index for index, name in enumerate(inputs.channels, start=1)}

    @property
    def reads(self) -> frozenset[str]:
        """The columns of customers' features that are looked at."""
        groups = self.inputs.customers.groups
        return frozenset({column.key for group in groups for column in group.columns}) | {*_HISTORY_KEYS, _EVER_KEY}

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
            self._channels(channels),
            np.asarray(now, np.int64),
            self._read_ever(columns, len(now)),
        )

    def read_variants(
        self, rows: Sequence[Mapping[str, Any]], now: np.ndarray, channels: Sequence[str | None]
    ) -> CustomerRows:
        """Reads B rows as `read_customers` does; fast where all are the first one without parts of it.

        Args:
            rows: B feature rows.
            now: [B] int64 epoch µs.
            channels: B channel names or None.
        """
        columns = self._variants.read(rows, now) if len(set(now.tolist())) == 1 else None
        if columns is None:
            keys = sorted({key for row in rows for key in row})
            return self.read_customers({key: [row.get(key) for row in rows] for key in keys}, now, channels)
        first, which = _same_lists(rows)  # most variants share the whole row's history
        history = {key: [row.get(key) for row in first] for key in (*_HISTORY_KEYS, _EVER_KEY)}
        return CustomerRows(
            columns,
            self.read_histories(history, len(first)).take(which),
            self._channels(channels),
            now,
            self._read_ever(history, len(first))[which],
        )

    def read_histories(self, columns: Columns, n: int) -> HistoryArrays:
        """Reads N histories from the columns of `customer_history`."""
        width = self.inputs.history_length
        columns = columns if self.inputs.reads_history else {}
        product, content, event_type, timestamp = (_flatten(columns.get(key), n, width) for key in _HISTORY_KEYS)
        lengths = timestamp.lengths
        return HistoryArrays(
            product=_pad(_rows(product.values, self._product_row, -1), lengths, width, -1),
            content=_pad(_rows(content.values, self._content_row, -1), lengths, width, -1),
            event_type=_pad(_rows(event_type.values, self._event_type, 0), lengths, width, 0),
            timestamp=_pad(np.array(timestamp.values, np.int64), lengths, width, 0),
            length=lengths,
        )

    def _read_ever(self, columns: Columns, n: int) -> np.ndarray:
        """[N, K] int64, K the length of the longest list."""
        flat = _flatten(columns.get(_EVER_KEY), n, None)
        width = int(flat.lengths.max(initial=0))
        return _pad(_rows(flat.values, self._product_row, -1), flat.lengths, width, -1)

    def _channels(self, names: Sequence[str | None]) -> np.ndarray:
        """[N] int64, 0 = none."""
        return np.array([self._channel.get(name or "", 0) for name in names], np.int64)


def distinct(history: HistoryArrays) -> tuple[np.ndarray, np.ndarray]:
    """The row of each distinct history, [U] int64, and which of them each of B histories is, [B] int64."""
    arrays = (np.ascontiguousarray(values, np.int64) for values in history)
    first, which = np.empty((2, len(history.length)), np.int64)
    count = distinct_loop()(*arrays, first, which)
    return first[:count], which


@cache
def distinct_loop() -> Any:
    """The loop of `distinct`, compiled."""
    from numba import int64

    table, row = int64[:, ::1], int64[::1]
    return compiled(_distinct, int64(table, table, table, table, row, row, row))


def _distinct(
    product: np.ndarray,
    content: np.ndarray,
    event_type: np.ndarray,
    timestamp: np.ndarray,
    length: np.ndarray,
    first: np.ndarray,
    which: np.ndarray,
) -> int:
    count = 0
    for row in range(len(length)):
        place = 0
        while place < count:
            other = first[place]
            same = length[other] == length[row]
            for step in range(length[row] if same else 0):
                if product[other, step] != product[row, step] or timestamp[other, step] != timestamp[row, step]:
                    same = False
                    break
                if content[other, step] != content[row, step] or event_type[other, step] != event_type[row, step]:
                    same = False
                    break
            if same:
                break
            place += 1
        if place == count:
            first[count] = row
            count += 1
        which[row] = place
    return count


def _same_lists(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], np.ndarray]:
    """The first of the rows whose histories are the same objects, and which of them each of B rows is, [B] int64."""
    seen: dict[tuple[int, ...], int] = {}
    first: list[Mapping[str, Any]] = []
    which = []
    for row in rows:
        key = tuple(id(row.get(name)) for name in (*_HISTORY_KEYS, _EVER_KEY))
        if key not in seen:
            seen[key] = len(first)
            first.append(row)
        which.append(seen[key])
    return first, np.array(which, np.int64)


class _FlatLists(NamedTuple):
    """N lists, end to end."""

    values: list[Any] | pl.Series
    lengths: np.ndarray
    """[N] int64."""


def _flatten(values: Values | None, n: int, width: int | None) -> _FlatLists:
    """The last `width` entries of each list (all where None); a missing list is empty.

    Online rows are read without polars.
    """
    if values is None:
        return _FlatLists([], np.zeros(n, np.int64))
    if isinstance(values, pl.Series):
        tails = values if width is None else values.list.tail(width)
        lengths = tails.list.len().fill_null(0).to_numpy().astype(np.int64)
        return _FlatLists(tails.explode(empty_as_null=False, keep_nulls=False), lengths)
    rows = [[] if value is None else list(value)[-(width or 0) :] for value in values]
    return _FlatLists(list(chain.from_iterable(rows)), np.array([len(row) for row in rows], np.int64))


def _rows(names: list[str] | pl.Series, rows: dict[str, int], default: int) -> np.ndarray:
    """Names as row numbers; `default` for the unknown."""
    if isinstance(names, pl.Series):
        return names.replace_strict(rows, default=default, return_dtype=pl.Int64).to_numpy()
    return np.fromiter((rows.get(name, default) for name in names), np.int64, len(names))


def _pad(flat: np.ndarray, lengths: np.ndarray, width: int, fill: int) -> np.ndarray:
    """Lists laid end to end, of the given lengths, to [N, width] int64, padded on the right."""
    out = np.full((len(lengths), width), fill, np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    out[row, np.arange(len(flat)) - first] = flat
    return out
