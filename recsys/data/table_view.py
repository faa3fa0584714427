"""One table as validation sees it: every column that can be read and typed, and findings for those that cannot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError
from rich.progress import Progress

from recsys.data.columns import FEATURE_TYPES, SCHEMAS, ValueType, canonical, misfit
from recsys.data.contract import DatasetConfig, read_schema, table_files, value_type
from recsys.errors import DatasetError
from recsys.schema import FeatureKind, Table

POSITION: Final = "__position"
ROW_BITS: Final = 40
SHOWN_ROWS: Final = 5
SHOWN_CHARACTERS: Final = 60
CATEGORICAL_STAND_INS: Final = (ValueType.ID, ValueType.CATEGORY, ValueType.FLAG)


class Part(NamedTuple):
    """One parquet file of a table."""

    file: Path
    schema: dict[str, pl.DataType]


@dataclass(frozen=True)
class TableView:
    """The usable columns of a table in canonical types, and `POSITION`: part number and row in one integer."""

    table: Table
    names: tuple[str, ...]
    """The files, relative to the dataset, by part number."""
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    rows: int

    def describe(self, rule: str, column: str, count: int, rows: pl.DataFrame, unit: str = "row") -> str:
        """The finding: file, column, rule, how many rows break it and which; `rows` holds POSITION and values."""
        shown = [self._describe_row(row) for row in rows.sort(POSITION).head(SHOWN_ROWS).to_dicts()]
        first = min(rows[POSITION].to_list()) >> ROW_BITS
        more = ", ..." if count > len(shown) else ""
        how_many = f"{count} {unit if count == 1 else unit + 's'}"
        listing = ", ".join(shown) + more
        return f"{self.names[first]}: column {column} {rule} ({how_many}; rows counted from 0): {listing}"

    def offending(self, violation: pl.Expr, columns: list[str]) -> pl.DataFrame:
        """The first rows for which `violation` holds: POSITION, the key and `columns`."""
        return first_rows(self.frame.filter(violation), self.evidence(columns))

    def evidence(self, columns: list[str]) -> list[str]:
        """The columns that show a reader which row is meant and what it holds."""
        names = dict.fromkeys([*SCHEMAS[self.table].key, *columns])
        return [name for name in names if name in self.columns]

    def _describe_row(self, row: dict[str, object]) -> str:
        position = row.pop(POSITION)
        assert isinstance(position, int)  # noqa: S101 - made by `load_view`
        part, number = position >> ROW_BITS, position & ((1 << ROW_BITS) - 1)
        where = f"{number}" if len(self.names) == 1 else f"{number} of {self.names[part]}"
        return f"{where} ({', '.join(f'{name}={_shorten(value)}' for name, value in row.items())})"


def first_rows(frame: pl.LazyFrame, columns: list[str]) -> pl.DataFrame:
    """The `SHOWN_ROWS` first rows of `frame` in file order."""
    return frame.select(POSITION, *columns).sort(POSITION).head(SHOWN_ROWS).collect(engine="streaming")


def load_view(
    path: Path, table: Table, config: DatasetConfig, findings: list[str], progress: Progress | None = None
) -> TableView | None:
    """Reads a table as far as it goes, appending to `findings` what cannot be used; None where nothing can.

    Every byte of every used column is decoded once, in batches, so that a later pass cannot fail.
    """
    try:
        files = table_files(path, table)
    except DatasetError as error:
        findings.extend(error.findings)
        return None
    parts = [part for file in files if (part := _open_part(path, file, findings))]
    declared = config.features.get(table, {})
    unusable = _check_types(path, table, declared, parts, findings)
    if not parts:
        return None
    task = progress.add_task(f"reading {table}", total=len(parts)) if progress else None
    for part in parts:
        names = [name for name in part.schema if name not in unusable and value_type(table, name, declared)]
        unusable |= _check_decodable(path, part, names, findings)
        if progress and task is not None:
            progress.advance(task)
    return _build_view(path, table, declared, parts, unusable)


def _open_part(path: Path, file: Path, findings: list[str]) -> Part | None:
    try:
        return Part(file, read_schema(path, file))
    except DatasetError as error:
        findings.extend(error.findings)
        return None


def _build_view(
    path: Path, table: Table, declared: dict[str, FeatureKind], parts: list[Part], unusable: set[str]
) -> TableView:
    frames = []
    for number, part in enumerate(parts):
        scan = pl.scan_parquet(part.file, glob=False, hive_partitioning=False, row_index_name=POSITION)
        position = pl.col(POSITION).cast(pl.Int64) + (number << ROW_BITS)
        typed = [
            canonical(name, dtype, type_)
            for name, dtype in part.schema.items()
            if name not in unusable and (type_ := value_type(table, name, declared))
        ]
        frames.append(scan.select(position, *typed))
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
    columns = tuple(dict.fromkeys(name for part in parts for name in part.schema if name not in unusable))
    usable = tuple(name for name in columns if value_type(table, name, declared))
    rows = sum(pq.read_metadata(part.file).num_rows for part in parts)
    return TableView(table, tuple(str(part.file.relative_to(path)) for part in parts), frame, usable, rows)


def _check_types(
    path: Path, table: Table, declared: dict[str, FeatureKind], parts: list[Part], findings: list[str]
) -> set[str]:
    """Findings for missing required columns and for types that do not fit; returns the columns that cannot be used."""
    unusable: set[str] = set()
    for part in parts:
        file = part.file.relative_to(path)
        for name, column in SCHEMAS[table].columns.items():
            if column.required and name not in part.schema:
                findings.append(f"{file}: column {name} is required ({column.type}) and missing")
        for name, dtype in part.schema.items():
            type_ = value_type(table, name, declared)
            if type_ and (problem := misfit(dtype, type_)):
                unusable.add(name)
                said = f" (dataset.yaml declares it {declared[name]})" if name in declared else ""
                findings.append(f"{file}: column {name} {problem}{said}")
    findings.extend(_check_declared(table, declared, parts))
    return unusable


def _check_declared(table: Table, declared: dict[str, FeatureKind], parts: list[Part]) -> list[str]:
    findings = []
    for name, kind in declared.items():
        if parts and not any(name in part.schema for part in parts):
            findings.append(f"dataset.yaml: features.{table}.{name}: {table}.parquet has no column {name}")
        column = SCHEMAS[table].columns.get(name)
        if column and not _kind_fits(column.type, kind):
            findings.append(f"dataset.yaml: features.{table}.{name}: {kind} does not fit the contract's {column.type}")
    return findings


def _kind_fits(type_: ValueType, kind: FeatureKind) -> bool:
    """Whether a canonical column of `type_` may be declared as `kind`."""
    wanted = FEATURE_TYPES[kind]
    text = wanted is ValueType.ID and type_ is ValueType.CATEGORY
    return wanted is type_ or text or (wanted is ValueType.CATEGORY and type_ in CATEGORICAL_STAND_INS)


def _check_decodable(path: Path, part: Part, names: list[str], findings: list[str]) -> set[str]:
    """Decodes all of `names` in batches; returns those that cannot be, after findings with the rows."""
    try:
        for _ in pl.scan_parquet(part.file, glob=False, hive_partitioning=False).select(names).collect_batches():
            pass
    except PolarsError:
        problems = {name: problem for name in names if (problem := _decoding_problem(part.file, name))}
        file = part.file.relative_to(path)
        findings.extend(f"{file}: column {name} {problem}" for name, problem in problems.items())
        return set(problems)
    return set()


def _decoding_problem(file: Path, name: str) -> str | None:
    """Why polars cannot decode a column: rows that are not UTF-8 (pyarrow reads them as they are), or damage."""
    try:
        for _ in pl.scan_parquet(file, glob=False, hive_partitioning=False).select(name).collect_batches():
            pass
        return None
    except PolarsError as error:
        if "UTF-8" not in str(error):
            return f"cannot be read: {error}"
    rows: list[int] = []
    start = 0
    for batch in pq.ParquetFile(file).iter_batches(columns=[name]):
        rows += [start + row for row, value in enumerate(batch.column(0)) if not _is_utf8(value)]
        start += batch.num_rows
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS]) + (", ..." if len(rows) > SHOWN_ROWS else "")
    return f"holds text that is not valid UTF-8 ({len(rows)} rows; rows counted from 0): {shown}"


def _is_utf8(value: pa.Scalar) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _shorten(value: object) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
