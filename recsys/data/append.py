"""Adds rows to a table of a dataset directory: each key once, all rows or none, whatever is interrupted when."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

import polars as pl
from polars.exceptions import PolarsError

from recsys.config import read_yaml
from recsys.data.columns import SCHEMAS
from recsys.data.contract import CONFIG_FILE, Dataset, table_files
from recsys.errors import DatasetError
from recsys.schema import Table

_END: Final = re.compile(r"^end:.*$", re.MULTILINE)


def append_rows(dataset: Dataset, table: Table, rows: pl.DataFrame) -> int:
    """Adds the rows whose key the table does not have; a second time adds none.

    A table that is one file is written anew beside it and takes its place; a folder of parts gets one part more. Either
    way a reader sees the table before or after, and what a crash leaves behind is a hidden file that nobody reads.

    Args:
        dataset: is written.
        table: must be there.
        rows: canonical columns in canonical types; no key twice.

    Returns:
        How many rows were new.

    Raises:
        DatasetError: the table is missing, or a value does not fit a column's type in it.
    """
    files = table_files(dataset.path, table)
    if not files:
        raise DatasetError(str(dataset.path), [f"{table}.parquet: table is missing"])
    key = list(SCHEMAS[table].key)
    present = dataset.scan(table).select(key)
    new = rows.lazy().join(present, on=key, how="anti", nulls_equal=True).sort(key).collect(engine="streaming")
    if not len(new):
        return 0
    folder = next(
        (parent for parent in (dataset.path / f"{table}.parquet", dataset.path / table) if parent.is_dir()), None
    )
    try:
        if folder is None:
            old = pl.scan_parquet(files[0], glob=False, hive_partitioning=False)
            _replace(pl.concat([old, _in_types_of(new, files[0]).lazy()], how="diagonal"), files[0])
        else:
            _replace(_in_types_of(new, files[0]).lazy(), folder / f"added-{uuid4().hex}.parquet")
    except (PolarsError, OSError) as error:
        raise DatasetError(str(dataset.path), [f"{table}.parquet: rows cannot be added: {error}"]) from error
    return len(new)


def move_end(dataset: Dataset, end: datetime) -> bool:
    """Makes dataset.yaml say that data was recorded until `end`, where it says an earlier time; comments stay.

    Returns:
        Whether it was changed.

    Raises:
        DatasetError: `end` is not one line of its own in dataset.yaml.
    """
    if dataset.config.end is None or end <= dataset.config.end:
        return False
    file = dataset.path / CONFIG_FILE
    text, count = _END.subn(f"end: {end.astimezone(UTC).isoformat()}", file.read_text(encoding="utf-8"))
    if count != 1:
        raise DatasetError(str(dataset.path), [f"{CONFIG_FILE}: write `end: TIME` on a line of its own, then again"])
    temporary = file.with_name(f".{file.name}.{uuid4().hex}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        _require_same_but_end(file, temporary)
        _settle(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _require_same_but_end(old: Path, new: Path) -> None:
    before, after = ({**read_yaml(file), "end": None} for file in (old, new))
    if before != after:
        raise DatasetError(str(old.parent), [f"{CONFIG_FILE}: write `end: TIME` on a line of its own, then again"])


def _in_types_of(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """The rows with the physical types that the file's columns have; columns that it lacks stay canonical."""
    schema = pl.read_parquet_schema(file)
    return rows.with_columns(pl.col(name).cast(schema[name]) for name in rows.columns if name in schema)


def _replace(rows: pl.LazyFrame, file: Path) -> None:
    temporary = file.with_name(f".{file.stem}.{uuid4().hex}.partial")
    try:
        rows.sink_parquet(temporary)
        _settle(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _settle(temporary: Path, file: Path) -> None:
    """On the disk first, then under its name: a power cut leaves the old file or the new one."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(file)
