"""Feature columns to arrays: vocabularies, scalers and presence, fitted once and carried in the bundle.

The same `EntityEncoding.transform` reads training rows (point-in-time join) and serving rows (online store), so that
training and serving cannot differ in how a value becomes a number.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import Field

from recsys.config import BaseConfig
from recsys.features.spec import Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.schema import FeatureKind, Modality

MAX_LIST_LENGTH = 8
"""Values kept of a categorical list; later ones are cut."""
_MICROSECONDS_PER_DAY = 86_400_000_000
_SECONDS_PER_DAY = 86_400.0
_CLIP = 5.0
Values = Sequence[Any] | pl.Series
Columns = Mapping[str, Values]
"""`<view>__<column>` to one value a row."""
GROUP_OF_VIEW = {
    "customer_profile": Modality.PROFILE,
    "customer_behaviour": Modality.BEHAVIOUR,
    "customer_transactions": Modality.BEHAVIOUR,
    "customer_text": Modality.TEXT,
    "customer_images": Modality.IMAGE,
    "product_attributes": "attributes",
    "product_text": "text",
    "product_images": "image",
    "content_attributes": "attributes",
    "content_text": "text",
    "content_images": "image",
}
"""The token that a view's columns feed. `customer_history` is no entry: the history encoder reads it."""


class EncodingConfig(BaseConfig):
    """How columns become numbers."""

    min_count: int = Field(default=3, ge=1)
    """A category seen in fewer training rows is unknown."""
    max_vocabulary: int = Field(default=100_000, ge=1)
    """The most frequent categories that are kept of a column."""
    ignore: tuple[str, ...] = ("product_attributes__status", "content_attributes__status")
    """Columns (`<view>__<column>`) that rules read and models must not."""
    history: bool = True
    """False: the model never sees what a customer did before, only what the other views say; for ablations."""


class ColumnEncoding(BaseConfig):
    """How one column is read."""

    key: str
    """`<view>__<column>`."""
    kind: FeatureKind
    vocabulary: tuple[str, ...] = ()
    """Known categories; index 0 is kept for missing and unknown."""
    mean: float = 0.0
    std: float = 1.0
    dim: int = 0


class GroupEncoding(BaseConfig):
    """The columns that make up one token."""

    name: str
    columns: tuple[ColumnEncoding, ...]

    def of_kind(self, *kinds: FeatureKind) -> list[ColumnEncoding]:
        """The group's columns of the given kinds, in order."""
        return [column for column in self.columns if column.kind in kinds]

    @property
    def categories(self) -> list[ColumnEncoding]:
        """The categorical columns, single-valued and lists, in order."""
        return self.of_kind(FeatureKind.CATEGORICAL, FeatureKind.CATEGORICAL_LIST)

    @property
    def numbers(self) -> list[ColumnEncoding]:
        """The numeric and timestamp columns, in order."""
        return self.of_kind(FeatureKind.NUMERIC, FeatureKind.TIMESTAMP)

    @property
    def numeric_width(self) -> int:
        """Value and missing flag of every numeric and timestamp column."""
        return 2 * len(self.numbers)

    @property
    def vector_width(self) -> int:
        """Total length of the group's embeddings."""
        return sum(column.dim for column in self.of_kind(FeatureKind.EMBEDDING))


class EntityRows(NamedTuple):
    """N rows of one entity as arrays, in group order."""

    categorical: np.ndarray
    """[N, F] int64: vocabulary index of every categorical column, 0 = missing."""
    lists: np.ndarray
    """[N, G, MAX_LIST_LENGTH] int64: indices of the list columns, -1 = no more."""
    numeric: dict[str, np.ndarray]
    """Group name to [N, 2F] float32."""
    vectors: dict[str, np.ndarray]
    """Group name to [N, dim] float32."""
    present: np.ndarray
    """[N, number of groups] bool."""

    def take(self, index: np.ndarray | slice) -> "EntityRows":
        """Rows `index`, a range or [B] int."""
        return EntityRows(
            self.categorical[index],
            self.lists[index],
            {name: values[index] for name, values in self.numeric.items()},
            {name: values[index] for name, values in self.vectors.items()},
            self.present[index],
        )


class EntityEncoding(BaseConfig):
    """How all columns of one entity are read."""

    entity: Entity
    groups: tuple[GroupEncoding, ...]

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, now: np.ndarray, manifest: FeatureManifest, entity: Entity, config: EncodingConfig
    ) -> Self:
        """Learns vocabularies and scalers.

        Args:
            frame: N training rows with columns `<view>__<column>`.
            now: [N] int64, epoch µs at which each row is read; timestamps become ages before it.
            manifest: the views to read.
            entity: which of them.
            config: bounds.
        """
        groups: dict[str, list[ColumnEncoding]] = {}
        for view in manifest.views_of(entity):
            if view.name not in GROUP_OF_VIEW:
                continue
            group = groups.setdefault(str(GROUP_OF_VIEW[view.name]), [])
            group.extend(_fit_view(frame, now, view, config))
        return cls(
            entity=entity,
            groups=tuple(
                GroupEncoding(name=name, columns=tuple(columns)) for name, columns in groups.items() if columns
            ),
        )

    @property
    def categorical_columns(self) -> list[ColumnEncoding]:
        """Single-valued categorical columns, in the order of `EntityRows.categorical`."""
        return [column for group in self.groups for column in group.of_kind(FeatureKind.CATEGORICAL)]

    @property
    def list_columns(self) -> list[ColumnEncoding]:
        """Categorical list columns, in the order of `EntityRows.lists`."""
        return [column for group in self.groups for column in group.of_kind(FeatureKind.CATEGORICAL_LIST)]

    def group_names(self) -> list[str]:
        """The groups, in the order of `EntityRows.present`."""
        return [group.name for group in self.groups]

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        """Column key to category to index."""
        columns = (*self.categorical_columns, *self.list_columns)
        return {c.key: {name: index for index, name in enumerate(c.vocabulary, start=1)} for c in columns}

    def transform(self, columns: Columns, now: np.ndarray) -> EntityRows:
        """Reads N rows.

        Args:
            columns: `<view>__<column>` to N values: polars Series from a join, or lists from the online store (read
                without polars: a request has one row, and a Series a column would take most of its time). A missing
                column is all-missing.
            now: [N] int64 epoch µs.
        """
        n = len(now)
        categorical = np.zeros((n, len(self.categorical_columns)), np.int64)
        for position, column in enumerate(self.categorical_columns):
            categorical[:, position] = _indices(columns.get(column.key), self._rows[column.key], n)
        lists = np.full((n, len(self.list_columns), MAX_LIST_LENGTH), -1, np.int64)
        for position, column in enumerate(self.list_columns):
            _fill_lists(lists[:, position], columns.get(column.key), self._rows[column.key])
        present = np.zeros((n, len(self.groups)), bool)
        for position, group in enumerate(self.groups):
            for column in group.columns:
                present[:, position] |= _known(columns.get(column.key), n)
        return EntityRows(
            categorical=categorical,
            lists=lists,
            numeric={group.name: _numeric_block(group, columns, now) for group in self.groups},
            vectors={group.name: _vector_block(group, columns, n) for group in self.groups},
            present=present,
        )

    def transform_one(self, values: Mapping[str, Any], now: int) -> tuple[EntityRows, np.ndarray]:
        """Reads one row as `transform` does, in a twentieth of its time.

        Args:
            values: `<view>__<column>` to a value or None, as the online store gives it.
            now: epoch µs.

        Returns:
            The row, with no numbers in it, and [1, 2F] float32, the numbers of all groups.
        """
        plan = self._plan
        lists = np.full((1, len(plan.several), MAX_LIST_LENGTH), -1, np.int64)
        for position, (key, indices) in enumerate(plan.several):
            _fill_lists(lists[:, position], [values.get(key)], indices)
        row = EntityRows(
            categorical=np.array([[rows.get(values.get(key), 0) for key, rows in plan.single]], np.int64),
            lists=lists,
            numeric={},
            vectors={name: _vectors_of_one(columns, values) for name, columns in plan.vectors.items()},
            present=np.array([[any(values.get(key) is not None for key in keys) for keys in plan.keys]], bool),
        )
        return row, plan.numbers(values, now)

    @cached_property
    def _plan(self) -> "_OneRow":
        return _OneRow(
            single=[(column.key, self._rows[column.key]) for column in self.categorical_columns],
            several=[(column.key, self._rows[column.key]) for column in self.list_columns],
            numbers=_Numbers.of(*self.groups),
            vectors={group.name: group.of_kind(FeatureKind.EMBEDDING) for group in self.groups},
            keys=[[column.key for column in group.columns] for group in self.groups],
        )


class _OneRow(NamedTuple):
    """What reading a row looks up, made once."""

    single: list[tuple[str, Mapping[Any, int]]]
    """Of each categorical column, its key and its categories' indices."""
    several: list[tuple[str, dict[str, int]]]
    """Of each column of lists."""
    numbers: "_Numbers"
    vectors: dict[str, list[ColumnEncoding]]
    keys: list[list[str]]
    """Of each group."""


class _Numbers(NamedTuple):
    """How the F numbers of one or more groups are read."""

    keys: list[str]
    aged: np.ndarray
    """[F] bool: times, which are read as ages."""
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, *groups: GroupEncoding) -> "_Numbers":
        chosen = [column for group in groups for column in group.numbers]
        return cls(
            [column.key for column in chosen],
            np.array([column.kind is FeatureKind.TIMESTAMP for column in chosen], bool),
            np.array([column.mean for column in chosen]),
            np.array([column.std for column in chosen]),
        )

    def __call__(self, values: Mapping[str, Any], now: int) -> np.ndarray:
        """[1, 2F] float32."""
        raw = np.array([math.nan if (value := values.get(key)) is None else value for key in self.keys], np.float64)
        return self.scaled(raw[None, :], np.array([[now]], np.int64))

    def scaled(self, raw: np.ndarray, now: np.ndarray) -> np.ndarray:
        """[N, F] float64 and [N, 1] epoch µs to [N, 2F] float32: each on its scale, and whether it is missing."""
        if not raw.shape[1]:
            return np.zeros((len(raw), 0), np.float32)
        scale = _on_log_scale(np.where(self.aged, _days_before(raw, now), raw) if self.aged.any() else raw)
        scaled = (scale - self.mean) / self.std
        missing = ~np.isfinite(scaled)
        out = np.empty((len(raw), 2 * raw.shape[1]), np.float32)
        out[:, 0::2] = np.where(missing, 0.0, np.minimum(np.maximum(scaled, -_CLIP), _CLIP))
        out[:, 1::2] = missing
        return out


def _fit_view(frame: pl.DataFrame, now: np.ndarray, view: FeatureView, config: EncodingConfig) -> list[ColumnEncoding]:
    columns = []
    for column in view.columns:
        key = f"{view.name}__{column.name}"
        if key not in config.ignore and key in frame.columns:
            columns.append(_fit_column(frame[key], now, key, column, config))
    return [column for column in columns if column is not None]


def _fit_column(
    values: pl.Series, now: np.ndarray, key: str, column: FeatureColumn, config: EncodingConfig
) -> ColumnEncoding | None:
    if column.kind in (FeatureKind.CATEGORICAL, FeatureKind.CATEGORICAL_LIST):
        flat = values.explode() if column.kind is FeatureKind.CATEGORICAL_LIST else values
        counts = flat.drop_nulls().cast(pl.String).value_counts(name="n")
        kept = counts.filter(pl.col("n") >= config.min_count).sort("n", flat.name, descending=[True, False])
        vocabulary = tuple(kept[flat.name].head(config.max_vocabulary).to_list())
        return ColumnEncoding(key=key, kind=column.kind, vocabulary=vocabulary) if vocabulary else None
    if column.kind in (FeatureKind.NUMERIC, FeatureKind.TIMESTAMP):
        number = _floats(values, len(values))
        raw = _on_log_scale(_days_before(number, now) if column.kind is FeatureKind.TIMESTAMP else number)
        known = raw[np.isfinite(raw)]
        if not len(known):
            return None
        return ColumnEncoding(key=key, kind=column.kind, mean=float(known.mean()), std=float(known.std()) or 1.0)
    if column.kind is FeatureKind.EMBEDDING:
        return ColumnEncoding(key=key, kind=column.kind, dim=column.dim)
    return None


def _known(values: Values | None, n: int) -> np.ndarray:
    """[N] bool: where there is a value."""
    if values is None:
        return np.zeros(n, bool)
    if isinstance(values, pl.Series):
        return values.is_not_null().to_numpy()
    return np.fromiter((value is not None for value in values), bool, n)


def _indices(values: Values | None, rows: dict[str, int], n: int) -> np.ndarray:
    """[N] int64: index of each category, 0 where missing or unknown."""
    if values is None:
        return np.zeros(n, np.int64)
    names = values.cast(pl.String).to_list() if isinstance(values, pl.Series) else values
    return np.fromiter((rows.get(name, 0) for name in names), np.int64, n)


def _fill_lists(out: np.ndarray, values: Values | None, rows: dict[str, int]) -> None:
    """Writes the known entries of every list to [N, MAX_LIST_LENGTH], first ones first."""
    for row, entries in enumerate(() if values is None else values):
        known = [rows[entry] for entry in (() if entries is None else entries) if entry in rows][:MAX_LIST_LENGTH]
        out[row, : len(known)] = known


def _floats(values: Values | None, n: int) -> np.ndarray:
    """[N] float64, NaN where missing; datetimes become epoch seconds."""
    if values is None:
        return np.full(n, np.nan)
    if isinstance(values, pl.Series):
        number = values.dt.epoch("s") if values.dtype.is_temporal() else values
        return number.cast(pl.Float64, strict=False).to_numpy().copy()
    return np.fromiter((math.nan if value is None else value for value in values), np.float64, n)


def _days_before(seconds: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Timestamps (epoch s) as days before now (epoch µs), 0 where they are later."""
    return np.maximum(now / _MICROSECONDS_PER_DAY - seconds / _SECONDS_PER_DAY, 0.0)


def _on_log_scale(number: np.ndarray) -> np.ndarray:
    """Numbers on a signed log scale, NaN where missing."""
    return np.sign(number) * np.log1p(np.abs(number))


def _numeric_block(group: GroupEncoding, columns: Columns, now: np.ndarray) -> np.ndarray:
    numbers = _Numbers.of(group)
    raw = [_floats(columns.get(key), len(now)) for key in numbers.keys]
    return numbers.scaled(np.stack(raw, axis=1) if raw else np.zeros((len(now), 0)), now[:, None])


def _vectors_of_one(columns: list[ColumnEncoding], values: Mapping[str, Any]) -> np.ndarray:
    """[1, D] float32, zeros where missing."""
    parts = [
        np.zeros(column.dim, np.float32) if (value := values.get(column.key)) is None else np.asarray(value, np.float32)
        for column in columns
    ]
    return np.concatenate(parts)[None, :] if parts else np.zeros((1, 0), np.float32)


def _vector_block(group: GroupEncoding, columns: Columns, n: int) -> np.ndarray:
    blocks = [np.zeros((n, 0), np.float32)]
    for column in group.of_kind(FeatureKind.EMBEDDING):
        values = columns.get(column.key)
        block = np.zeros((n, column.dim), np.float32)
        known = _known(values, n)
        if values is not None and known.any():
            if isinstance(values, pl.Series):
                flat = values.drop_nulls().explode().cast(pl.Float32).to_numpy()
            else:
                flat = np.concatenate([np.asarray(value, np.float32) for value in values if value is not None])
            block[known] = flat.reshape(int(known.sum()), column.dim)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
