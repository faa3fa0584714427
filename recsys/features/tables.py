"""Feature tables as files: brought to their view's schema, written as a stream, checked before anything reads them."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import FeatureError
from recsys.features.spec import AS_OF, ColumnType, Entity, FeatureManifest, FeatureView
from recsys.schema import CREATED_TIMESTAMP, EVENT_TIMESTAMP

TIME_DTYPE: Final = pl.Datetime("us", "UTC")
ROW_GROUP_ROWS: Final = 50_000
"""Rows that are read together, at most."""
ROW_GROUP_BYTES: Final = 8 << 20
"""Wide rows, such as vectors, are fewer: who reads a range of customers need not read all of a group of 50 MB."""
POLARS_TYPES: Final = MappingProxyType(
    {
        ColumnType.FLOAT: pl.Float32(),
        ColumnType.INT: pl.Int64(),
        ColumnType.STRING: pl.String(),
        ColumnType.STRING_LIST: pl.List(pl.String()),
        ColumnType.INT_LIST: pl.List(pl.Int64()),
        ColumnType.VECTOR: pl.List(pl.Float32()),
    }
)
ARROW_TYPES: Final = MappingProxyType(
    {
        ColumnType.FLOAT: pa.float32(),
        ColumnType.INT: pa.int64(),
        ColumnType.STRING: pa.string(),
        ColumnType.STRING_LIST: pa.list_(pa.string()),
        ColumnType.INT_LIST: pa.list_(pa.int64()),
        ColumnType.VECTOR: pa.list_(pa.float32()),
    }
)


def table_path(folder: Path, view: str) -> Path:
    """Where the table of a view lies."""
    return folder / f"{view}.parquet"


def latest_path(folder: Path, view: str) -> Path:
    """Where the newest row of each customer lies once more: who looks at everybody as he is now need not read all."""
    return folder / "latest" / f"{view}.parquet"


def polars_schema(view: FeatureView) -> dict[str, pl.DataType]:
    """Column name to polars type of a whole table: key, times, `as_of`, then the view's columns."""
    times = {EVENT_TIMESTAMP: TIME_DTYPE, CREATED_TIMESTAMP: TIME_DTYPE, AS_OF: pl.Int64()}
    return {view.entity.value: pl.String(), **times, **{c.name: POLARS_TYPES[c.type] for c in view.columns}}


def arrow_schema(view: FeatureView) -> pa.Schema:
    """The same for the parquet file."""
    time = pa.timestamp("us", tz="UTC")
    fields = [(view.entity.value, pa.string()), (EVENT_TIMESTAMP, time), (CREATED_TIMESTAMP, time), (AS_OF, pa.int64())]
    return pa.schema(fields + [(column.name, ARROW_TYPES[column.type]) for column in view.columns])


def conform(frame: pl.DataFrame, view: FeatureView, source: str) -> pl.DataFrame:
    """Brings rows to the view's schema, sorted by entity and time; of rows of one entity and time the last stays.

    `created_timestamp` is set to `event_timestamp`: a row says what was known from then on, so it was known then.

    Args:
        frame: the entity key, event_timestamp and the view's columns in any order and of castable types.
        view: what to make of it.
        source: the file that the rows came from, for the error.

    Raises:
        FeatureError: a numeric column holds a NaN or an infinite number.
    """
    schema = polars_schema(view)
    rows = frame.with_columns(
        pl.col(EVENT_TIMESTAMP).alias(CREATED_TIMESTAMP), pl.col(EVENT_TIMESTAMP).dt.epoch("us").alias(AS_OF)
    ).select([pl.col(name).cast(dtype) for name, dtype in schema.items()])
    _refuse_non_finite(rows, view, source)
    keys = [view.entity.value, EVENT_TIMESTAMP]
    return rows.sort(keys, maintain_order=True).unique(keys, keep="last", maintain_order=True)


class TableWriter:
    """Writes one feature table as a stream of conformed frames; use it in a `with` block.

    Of customers the newest rows are written a second time, to `latest_path`.

    Args:
        folder: an existing folder.
        view: the table's schema.
    """

    def __init__(self, folder: Path, view: FeatureView) -> None:
        self._schema = arrow_schema(view)
        self._path = table_path(folder, view.name)
        self._writer: pq.ParquetWriter | None = None
        self._latest = _LatestRows(latest_path(folder, view.name), view) if view.entity is Entity.CUSTOMER else None
        self.rows = 0

    def __enter__(self) -> Self:
        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        return self

    def write(self, frame: pl.DataFrame) -> None:
        """Appends rows, already in the view's schema and after all rows written before."""
        assert self._writer is not None, "use TableWriter in a with block"  # noqa: S101
        _append(self._writer, frame, self._schema)
        if self._latest is not None:
            self._latest.write(frame)
        self.rows += frame.height

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._latest is not None:
            self._latest.close()


class _LatestRows:
    """Writes each customer's newest row, of rows that come sorted by customer and time."""

    def __init__(self, path: Path, view: FeatureView) -> None:
        path.parent.mkdir(exist_ok=True)
        self._key = view.entity.value
        self._schema = arrow_schema(view)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._last: pl.DataFrame | None = None  # whose next row may still come

    def write(self, frame: pl.DataFrame) -> None:
        rows = frame if self._last is None else pl.concat([self._last, frame])
        newest = rows.filter(pl.col(self._key) != pl.col(self._key).shift(-1, fill_value=pl.lit("")))
        self._last = rows.tail(1)
        done = newest.filter(pl.col(self._key) != self._last[self._key].first()) if len(rows) else newest
        _append(self._writer, done, self._schema)

    def close(self) -> None:
        if self._last is not None:
            _append(self._writer, self._last, self._schema)
        self._writer.close()


def _append(writer: pq.ParquetWriter, rows: pl.DataFrame, schema: pa.Schema) -> None:
    if rows.is_empty():
        return
    table = rows.to_arrow().cast(schema)
    fitting = ROW_GROUP_BYTES * len(rows) // max(table.nbytes, 1)
    writer.write_table(table, row_group_size=min(max(fitting, 1), ROW_GROUP_ROWS))


def check_tables(folder: Path, manifest: FeatureManifest) -> None:
    """Checks every table against the manifest: what Feast accepts in silence.

    Raises:
        FeatureError: a file is missing or unreadable, lacks a column or has one of another type, has a null key or
            time, or vectors of another length than promised. All findings are named at once.
    """
    findings = [finding for view in manifest.views for finding in _check_table(folder, view)]
    if findings:
        listing = "\n".join(f"  - {finding}" for finding in findings)
        raise FeatureError(
            f"the feature tables in {folder} are not what their manifest promises "
            f"(remedy: remove that folder and run `recsys features DATASET`):\n{listing}"
        )


def _check_table(folder: Path, view: FeatureView) -> list[str]:
    path = table_path(folder, view.name)
    if not path.is_file():
        return [f"{path.name}: the file is missing"]
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        return [f"{path.name}: is not a readable parquet file ({error})"]
    findings = []
    for field in arrow_schema(view):
        index = found.get_field_index(field.name)
        if index < 0:
            findings.append(f"{path.name}: column {field.name} is missing")
        elif found.field(index).type != field.type:
            findings.append(f"{path.name}: column {field.name} is {found.field(index).type}, must be {field.type}")
    return findings or _check_rows(path, view)


def _check_rows(path: Path, view: FeatureView) -> list[str]:
    """Null keys and vector lengths, in one streaming pass."""
    keys = [view.entity.value, EVENT_TIMESTAMP, CREATED_TIMESTAMP, AS_OF]
    checks = {f"column {name} is null": pl.col(name).null_count() for name in keys}
    for column in view.columns:
        if column.dim:
            wrong = (pl.col(column.name).list.len() != column.dim).sum()
            checks[f"column {column.name} is not of dimension {column.dim}"] = wrong
    counts = pl.scan_parquet(path).select([rule.alias(name) for name, rule in checks.items()])
    found = counts.collect(engine="streaming").row(0, named=True)
    return [f"{path.name}: {name} in {count} row(s)" for name, count in found.items() if count]


def _refuse_non_finite(rows: pl.DataFrame, view: FeatureView, source: str) -> None:
    floats = [column.name for column in view.columns if column.type is ColumnType.FLOAT]
    vectors = [column.name for column in view.columns if column.type is ColumnType.VECTOR]
    bad: Sequence[pl.Expr] = [
        *((~pl.col(name).is_finite()).sum().alias(name) for name in floats),
        *((~pl.col(name).list.sum().is_finite()).sum().alias(name) for name in vectors),
    ]
    for name, count in rows.select(bad).row(0, named=True).items() if bad else ():
        if count:
            raise FeatureError(
                f"{source}: column {name} (feature view {view.name}) holds {count} number(s) that are NaN, infinite or "
                "beyond float32: correct them, or leave them null"
            )
