"""One customer's row and the same row without parts of it, read at the cost of one: what explanations ask about.

The variants share their values with the whole row, as objects. So each column is read once, and taken out of the arrays
where a variant lacks it; the numbers are those that reading every variant by itself would give.
"""

from collections.abc import Collection, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, EntityRows
from recsys.schema import FeatureKind


class Variant(dict[str, Any]):
    """A row without some of its columns, or with other values in them, that knows which these are.

    Args:
        whole: the row.
        gone: the columns that it has not.
        changed: the columns that have another value.
    """

    def __init__(
        self, whole: Mapping[str, Any], gone: Collection[str] = (), changed: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(whole)
        for key in gone:
            self.pop(key, None)
        self.whole = whole
        self.touched: tuple[str, ...] = (*gone, *(changed or ()))
        if changed:
            self.update(changed)


class VariantReader:
    """Reads the columns of variants.

    Args:
        encoding: of the columns.
    """

    def __init__(self, encoding: EntityEncoding) -> None:
        self._encoding = encoding
        columns = [column for group in encoding.groups for column in group.columns]
        self._keys = [column.key for column in columns]
        self._place = {column.key: position for position, column in enumerate(columns)}
        self._single = self._places(encoding.categorical_columns)
        self._lists = self._places(encoding.list_columns)
        sizes = [len(group.columns) for group in encoding.groups]
        self._begins = np.cumsum([0, *sizes])[:-1]
        self._numbers = self._places([column for group in encoding.groups for column in group.numbers])
        self._widths = {group.name: group.numeric_width for group in encoding.groups}
        self._vectors = {
            group.name: [(self._place[column.key], column.dim) for column in group.of_kind(FeatureKind.EMBEDDING)]
            for group in encoding.groups
        }

    def _places(self, some: Sequence[ColumnEncoding]) -> np.ndarray:
        return np.array([self._place[column.key] for column in some], np.int64)

    def read(self, rows: Sequence[Mapping[str, Any]], now: np.ndarray) -> EntityRows | None:
        """The arrays of B rows; None where a row is not the first one without some of its columns.

        Args:
            rows: the whole one first.
            now: [B] int64 epoch µs, all the same.
        """
        kept = self._kept(rows)
        if kept is None:
            return None
        whole, numbers = self._encoding.transform_one(rows[0], int(now[0]))
        there = kept[:, self._numbers]
        block = np.empty((len(rows), numbers.shape[1]), np.float32)
        block[:, 0::2] = np.where(there, numbers[:, 0::2], np.float32(0))
        block[:, 1::2] = np.where(there, numbers[:, 1::2], np.float32(1))
        return EntityRows(
            categorical=np.where(kept[:, self._single], whole.categorical, 0),
            lists=np.where(kept[:, self._lists, None], whole.lists, -1),
            numeric=split(block, self._widths),
            vectors={name: self._embedded(name, whole.vectors[name], kept) for name in self._vectors},
            present=np.logical_or.reduceat(kept, self._begins, axis=1) if self._keys else whole.present,
        )

    def _embedded(self, name: str, whole: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """[B, D] float32: a group's embeddings, zeros where a row has them not."""
        rows = np.empty((len(kept), whole.shape[1]), np.float32)
        rows[:] = whole
        begin = 0
        for place, dim in self._vectors[name]:
            rows[~kept[:, place], begin : begin + dim] = 0
            begin += dim
        return rows

    def _kept(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
        """[B, K] bool: whether a row has a value in each column, which is then the first row's."""
        values = list(map(rows[0].get, self._keys))
        kept = np.empty((len(rows), len(values)), bool)
        kept[:] = [value is not None for value in values]
        for place, row in enumerate(rows[1:], start=1):
            if isinstance(row, Variant) and row.whole is rows[0]:
                touched = [self._place[key] for key in row.touched if key in self._place]
                if any(row.get(self._keys[column]) is not None for column in touched):
                    return None
                kept[place, touched] = False
                continue
            own = list(map(row.get, self._keys))
            same = list(map(is_, own, values))
            if not all(same) and any(not alike and mine is not None for alike, mine in zip(same, own, strict=True)):
                return None
            kept[place] &= same
        return kept


def split(block: np.ndarray, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """[N, sum of widths] to a part of it for each name."""
    parts, begin = {}, 0
    for name, width in widths.items():
        parts[name] = block[:, begin : begin + width]
        begin += width
    return parts
