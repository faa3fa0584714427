"""Columns that become features as they are: canonical ones and those that dataset.yaml declares."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.encoders.cache import Encoded
from recsys.features.spec import ColumnType, FeatureColumn
from recsys.schema import FeatureKind, Table

STORED_AS: Final = MappingProxyType(
    {
        FeatureKind.NUMERIC: ColumnType.FLOAT,
        FeatureKind.CATEGORICAL: ColumnType.STRING,
        FeatureKind.CATEGORICAL_LIST: ColumnType.STRING_LIST,
        FeatureKind.TIMESTAMP: ColumnType.INT,
    }
)
"""The kinds that are stored as they are; texts and images are embedded first."""


def attribute_columns(
    dataset: Dataset, table: Table, canonical: Mapping[str, FeatureKind]
) -> tuple[FeatureColumn, ...]:
    """The feature columns of a table: those of `canonical` that it has, then the declared ones that it has."""
    present = set(dataset.columns(table))
    kinds = {**canonical, **{name: kind for name, kind in dataset.declared(table).items() if kind in STORED_AS}}
    return tuple(
        FeatureColumn(name=name, kind=kind, type=STORED_AS[kind]) for name, kind in kinds.items() if name in present
    )


def declared_columns(dataset: Dataset, table: Table, kind: FeatureKind) -> list[str]:
    """The columns of `table` that dataset.yaml declares as `kind`, as far as they are there."""
    present = set(dataset.columns(table))
    return [name for name, declared in dataset.declared(table).items() if declared is kind and name in present]


def attribute_expressions(columns: Iterable[FeatureColumn]) -> list[pl.Expr]:
    """Raw columns as stored: timestamps as epoch seconds, flags as `true`/`false`, blank categories as null."""
    return [_expression(column).alias(column.name) for column in columns]


def _expression(column: FeatureColumn) -> pl.Expr:
    raw = pl.col(column.name)
    match column.kind:
        case FeatureKind.CATEGORICAL:
            text = raw.cast(pl.String).str.strip_chars()
            return pl.when(text != "").then(text)
        case FeatureKind.CATEGORICAL_LIST:
            return raw.list.drop_nulls()
        case FeatureKind.TIMESTAMP:
            return raw.dt.epoch("s")
        case _:
            return raw.cast(pl.Float32)


def vector_column(name: str, dim: int) -> FeatureColumn:
    """An embedding column."""
    return FeatureColumn(name=name, kind=FeatureKind.EMBEDDING, type=ColumnType.VECTOR, dim=dim)


def vector_series(name: str, encoded: Encoded) -> pl.Series:
    """[N] encodings as a list column, null where missing."""
    present = encoded.index >= 0
    dense = np.zeros((len(present), encoded.vectors.shape[1]), np.float32)
    dense[present] = encoded.vectors[encoded.index[present]]
    return vector_rows(name, dense, present)


def vector_rows(name: str, vectors: np.ndarray, present: np.ndarray | None = None) -> pl.Series:
    """[N, D] float32 as a list column; null where `present`, [N] bool, is false."""
    rows = pl.Series(name, vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).cast(pl.List(pl.Float32))
    if present is None:
        return rows
    return pl.select(pl.when(pl.Series(present)).then(rows).alias(name)).to_series()


def joined_text(columns: Iterable[str]) -> pl.Expr:
    """Text columns as one text, a paragraph each; blank ones left out."""
    parts = [pl.col(name).cast(pl.String).str.strip_chars() for name in columns]
    return pl.concat_str([pl.when(part != "").then(part) for part in parts], separator="\n", ignore_nulls=True)


def image_files(dataset: Dataset, relative: pl.Series) -> list[Path | None]:
    """The files of a column of image paths; each distinct path is looked up once."""
    found = {path: dataset.image_file(path) for path in relative.drop_nulls().unique().to_list()}
    return [found[path] if path is not None else None for path in relative.to_list()]


def slug(text: str) -> str:
    """A name that may be part of a column name.

    >>> slug("Health & Beauty")
    'health_beauty'
    """
    return re.sub(r"\W+", "_", text.strip().lower()).strip("_") or "none"
