"""Feature columns to arrays: vocabularies, scalers and presence, fitted once and carried in the bundle.

The same `EntityEncoding.transform` reads training rows (point-in-time join) and serving rows (online store), so that
training and serving cannot differ in how a value becomes a number.
"""

from collections.abc import Mapping, Sequence
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
_CLIP = 5.0
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
    def numeric_width(self) -> int:
        """Value and missing flag of every numeric and timestamp column."""
        return 2 * len(self.of_kind(FeatureKind.NUMERIC, FeatureKind.TIMESTAMP))

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

    def take(self, index: np.ndarray) -> "EntityRows":
        """Rows `index`, [B] int."""
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

    def transform(self, columns: Mapping[str, Sequence[Any]], now: np.ndarray) -> EntityRows:
        """Reads N rows.

        Args:
            columns: `<view>__<column>` to N values (polars Series, arrays or lists); a missing column is all-missing.
            now: [N] int64 epoch µs.
        """
        n = len(now)
        series = {column.key: _series(columns.get(column.key), n) for group in self.groups for column in group.columns}
        categorical = [_lookup(series[column.key], column.vocabulary) for column in self.categorical_columns]
        lists = [_lookup_lists(series[column.key], column.vocabulary) for column in self.list_columns]
        return EntityRows(
            categorical=np.stack(categorical, axis=1) if categorical else np.zeros((n, 0), np.int64),
            lists=np.stack(lists, axis=1) if lists else np.zeros((n, 0, MAX_LIST_LENGTH), np.int64),
            numeric={group.name: _numeric_block(group, series, now) for group in self.groups},
            vectors={group.name: _vector_block(group, series, n) for group in self.groups},
            present=np.stack([_present(group, series, n) for group in self.groups], axis=1)
            if self.groups
            else np.zeros((n, 0), bool),
        )


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
        raw = _raw_numeric(values, now, column.kind)
        known = raw[np.isfinite(raw)]
        if not len(known):
            return None
        return ColumnEncoding(key=key, kind=column.kind, mean=float(known.mean()), std=float(known.std()) or 1.0)
    if column.kind is FeatureKind.EMBEDDING:
        return ColumnEncoding(key=key, kind=column.kind, dim=column.dim)
    return None


def _series(values: Sequence[Any] | None, n: int) -> pl.Series:
    if values is None:
        return pl.Series([None] * n, dtype=pl.Null)
    return values if isinstance(values, pl.Series) else pl.Series(values, strict=False)


def _lookup(values: pl.Series, vocabulary: tuple[str, ...]) -> np.ndarray:
    """[N] int64: 1 + position in the vocabulary, 0 where missing or unknown."""
    if values.dtype == pl.Null:
        return np.zeros(len(values), np.int64)
    index = values.cast(pl.String).replace_strict(
        list(vocabulary), list(range(1, len(vocabulary) + 1)), default=0, return_dtype=pl.Int64
    )
    return index.fill_null(0).to_numpy().copy()


def _lookup_lists(values: pl.Series, vocabulary: tuple[str, ...]) -> np.ndarray:
    """[N, MAX_LIST_LENGTH] int64: known values first, then -1."""
    out = np.full((len(values), MAX_LIST_LENGTH), -1, np.int64)
    position = {value: index for index, value in enumerate(vocabulary, start=1)}
    for row, entries in enumerate(values.to_list()):
        known = [position[entry] for entry in entries or () if entry in position][:MAX_LIST_LENGTH]
        out[row, : len(known)] = known
    return out


def _raw_numeric(values: pl.Series, now: np.ndarray, kind: FeatureKind) -> np.ndarray:
    """[N] float64 on a signed log scale, NaN where missing. Timestamps (epoch s or datetime) become days before now."""
    if values.dtype == pl.Null:
        return np.full(len(values), np.nan)
    if kind is FeatureKind.TIMESTAMP:
        seconds = values.dt.epoch("s") if values.dtype.is_temporal() else values
        days = now / _MICROSECONDS_PER_DAY - seconds.cast(pl.Float64).to_numpy() / 86_400.0
        number = np.where(np.isfinite(days), np.maximum(days, 0.0), np.nan)
    else:
        number = values.cast(pl.Float64, strict=False).to_numpy().copy()
    return np.sign(number) * np.log1p(np.abs(number))


def _numeric_block(group: GroupEncoding, series: dict[str, pl.Series], now: np.ndarray) -> np.ndarray:
    columns = group.of_kind(FeatureKind.NUMERIC, FeatureKind.TIMESTAMP)
    out = np.zeros((len(now), 2 * len(columns)), np.float32)
    for position, column in enumerate(columns):
        scaled = (_raw_numeric(series[column.key], now, column.kind) - column.mean) / column.std
        missing = ~np.isfinite(scaled)
        out[:, 2 * position] = np.where(missing, 0.0, np.clip(scaled, -_CLIP, _CLIP))
        out[:, 2 * position + 1] = missing
    return out


def _vector_block(group: GroupEncoding, series: dict[str, pl.Series], n: int) -> np.ndarray:
    blocks = []
    for column in group.of_kind(FeatureKind.EMBEDDING):
        values = series[column.key]
        block = np.zeros((n, column.dim), np.float32)
        known = values.is_not_null().to_numpy()
        if known.any():
            flat = values.drop_nulls().explode().cast(pl.Float32).to_numpy()
            block[known] = flat.reshape(int(known.sum()), column.dim)
        blocks.append(block)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((n, 0), np.float32)


def _present(group: GroupEncoding, series: dict[str, pl.Series], n: int) -> np.ndarray:
    """[N] bool: whether any column of the group has a value."""
    present = np.zeros(n, bool)
    for column in group.columns:
        present |= series[column.key].is_not_null().to_numpy()
    return present
