"""One customer's row and the same row without parts of it, read at the cost of one: what explanations ask about.

The variants share their values with the whole row, as objects. So each column is read once, and taken out of the arrays
where a variant lacks it; the numbers are those that reading every variant by itself would give.
"""

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, EntityRows
from recsys.schema import FeatureKind


class VariantReader:
    """Reads the columns of variants.

    Args:
        encoding: of the columns.
    """

    def __init__(self, encoding: EntityEncoding) -> None:
        self._encoding = encoding
        columns = [column for group in encoding.groups for column in group.columns]
        self._keys = [column.key for column in columns]
        place = {column.key: position for position, column in enumerate(columns)}

        def places(some: Sequence[ColumnEncoding]) -> np.ndarray:
            return np.array([place[column.key] for column in some], np.int64)

        self._single = places(encoding.categorical_columns)
        self._lists = places(encoding.list_columns)
        self._groups = [(group.name, places(group.columns), places(group.numbers)) for group in encoding.groups]
        embeddings = {group.name: group.of_kind(FeatureKind.EMBEDDING) for group in encoding.groups}
        self._vectors = {
            name: np.repeat(places(some), np.array([column.dim for column in some], np.int64))
            for name, some in embeddings.items()
        }

    def read(self, rows: Sequence[Mapping[str, Any]], now: np.ndarray) -> EntityRows | None:
        """The arrays of B rows; None where a row is not the first one without some of its columns.

        Args:
            rows: the whole one first.
            now: [B] int64 epoch µs, all the same.
        """
        kept = self._kept(rows)
        if kept is None:
            return None
        whole = self._encoding.transform_one(rows[0], int(now[0]))
        present = np.zeros((len(rows), len(self._groups)), bool)
        numeric: dict[str, np.ndarray] = {}
        for position, (name, columns, numbers) in enumerate(self._groups):
            present[:, position] = kept[:, columns].any(axis=1)
            there = kept[:, numbers]
            block = np.empty((len(rows), 2 * len(numbers)), np.float32)
            block[:, 0::2] = np.where(there, whole.numeric[name][:, 0::2], 0.0)
            block[:, 1::2] = np.where(there, whole.numeric[name][:, 1::2], 1.0)
            numeric[name] = block
        return EntityRows(
            categorical=np.where(kept[:, self._single], whole.categorical, 0),
            lists=np.where(kept[:, self._lists, None], whole.lists, -1),
            numeric=numeric,
            vectors={
                name: np.where(kept[:, columns], whole.vectors[name], np.float32(0))
                for name, columns in self._vectors.items()
            },
            present=present,
        )

    def _kept(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
        """[B, K] bool: whether a row has a value in each column, which is then the first row's."""
        values = list(map(rows[0].get, self._keys))
        kept = np.empty((len(rows), len(values)), bool)
        for place, row in enumerate(rows):
            own = list(map(row.get, self._keys))
            same = list(map(is_, own, values))
            if not all(same) and any(not alike and mine is not None for alike, mine in zip(same, own, strict=True)):
                return None
            kept[place] = same
        return kept & np.array([value is not None for value in values], bool)
