"""A dataset directory (data-contract.md): what dataset.yaml says, and its tables as lazy scans in canonical types."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import polars as pl
from polars.exceptions import PolarsError
from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer, field_validator, model_validator
from rich.progress import Progress

from recsys.config import BaseConfig
from recsys.data.columns import FEATURE_TYPES, SCHEMAS, ValueType, canonical, misfit
from recsys.errors import DatasetError
from recsys.schema import (
    CUSTOMER_ID,
    DEFAULT_EVENT_WEIGHTS,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    REQUIRED_TABLES,
    FeatureKind,
    PolicyName,
    Table,
)

CONFIG_FILE = "dataset.yaml"
WEIGHT = "weight"
HASH_BLOCK = 1 << 20


def _refuse_numbers(value: Any) -> Any:
    """Pydantic would read a number as seconds since 1970, so that 19980301 became a day in August 1970."""
    if isinstance(value, int | float):
        raise ValueError("must be a time such as 1998-03-01T00:00:00Z, is a number")
    return value


UtcTime = Annotated[AwareDatetime, BeforeValidator(_refuse_numbers), PlainSerializer(lambda time: time.isoformat())]


class SplitConfig(BaseConfig):
    """The one frozen split of a dataset."""

    kind: Literal["global_time", "leave_last_out"] = "global_time"
    """Two points in time, or each customer's last two positive events."""
    validation_start: UtcTime | None = None
    """Everything at or after it is validation; None: the 80 % point of the positive events."""
    test_start: UtcTime | None = None
    """Everything at or after it is test; None: the 90 % point."""

    @field_validator("validation_start", "test_start")
    @classmethod
    def _to_utc(cls, time: datetime | None) -> datetime | None:
        return time.astimezone(UTC) if time else None

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.kind == "leave_last_out" and (self.validation_start or self.test_start):
            raise ValueError("leave_last_out takes no validation_start or test_start: remove them or the kind")
        if self.validation_start and self.test_start and self.validation_start >= self.test_start:
            raise ValueError("validation_start must be before test_start")
        return self


class DatasetConfig(BaseConfig):
    """What dataset.yaml says about the tables."""

    name: str = Field(min_length=1)
    """Names the dataset in reports and in the experiment tracker."""
    description: str = ""
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    """ISO 4217 code of all money columns."""
    policy: PolicyName = PolicyName.BANK
    """Which rules apply; the strict pack where nothing is said."""
    repeatable: bool = False
    """Whether an item that the customer already has may be recommended again."""
    end: UtcTime | None = None
    """When the data was extracted: nothing recorded can be later. None: see `recsys.data.validation`."""
    event_weights: dict[str, float] = Field(
        default_factory=lambda: {str(name): weight for name, weight in DEFAULT_EVENT_WEIGHTS.items()}
    )
    """Event type to weight; a type with a weight above 0 is a positive."""
    features: dict[Table, dict[str, FeatureKind]] = Field(default_factory=dict)
    """Extra columns that become features, by table."""
    split: SplitConfig = SplitConfig()

    @field_validator("event_weights")
    @classmethod
    def _check_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        bad = {name: weight for name, weight in weights.items() if not (math.isfinite(weight) and weight >= 0)}
        if bad:
            raise ValueError(f"weights must be finite and not negative: {bad}")
        if not any(weights.values()):
            raise ValueError("at least one event type needs a weight above 0")
        return weights

    @field_validator("features")
    @classmethod
    def _check_kinds(cls, features: dict[Table, dict[str, FeatureKind]]) -> dict[Table, dict[str, FeatureKind]]:
        bad = [
            f"{table}.{name}" for table, kinds in features.items() for name in kinds if kinds[name] not in FEATURE_TYPES
        ]
        if bad:
            raise ValueError(f"{', '.join(bad)}: the kind must be one of {', '.join(FEATURE_TYPES)}")
        return features


def table_files(path: Path, table: Table) -> list[Path]:
    """The parquet files of a table of the dataset directory `path`: one file, or the parts of a folder, in name order.

    Raises:
        DatasetError: the table is there twice, as `<table>.parquet` and as the folder `<table>`.
    """
    file, folder = path / f"{table}.parquet", path / str(table)
    if file.exists() and folder.is_dir():
        raise DatasetError(
            str(path), [f"{table} is there twice, as {file.name} and as the folder {folder.name}: keep one"]
        )
    if file.is_file():
        return [file]
    parts = (file if file.is_dir() else folder).rglob("*.parquet")
    return sorted(part for part in parts if part.is_file() and not part.name.startswith((".", "_")))


def value_type(table: Table, column: str, declared: dict[str, FeatureKind]) -> ValueType | None:
    """What `column` means: by the contract, else by its declaration; None where it is neither."""
    if column in SCHEMAS[table].columns:
        return SCHEMAS[table].columns[column].type
    return FEATURE_TYPES[declared[column]] if column in declared else None


class Exclusion(NamedTuple):
    """Customers whose rows are not read, wherever they are."""

    customers: frozenset[str] = frozenset()
    digest: str = ""
    """Names this exclusion without naming them; equal digests exclude the same customers."""


NOBODY: Final = Exclusion()


@dataclass(frozen=True)
class Dataset:
    """A dataset directory, read lazily and never written."""

    path: Path
    config: DatasetConfig
    excluded: Exclusion = NOBODY
    """Erased customers whom an old copy of the dataset still has (`recsys.privacy.suppression`)."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads dataset.yaml and checks that the required tables are there; `validate` checks their rows.

        Raises:
            DatasetError: `path` is no directory, or a required table is missing.
            ConfigError: dataset.yaml cannot be used.
        """
        if not path.is_dir():
            raise DatasetError(str(path), ["is not a directory: give the directory that holds dataset.yaml"])
        config = DatasetConfig.from_yaml(path / CONFIG_FILE)
        missing = [table for table in REQUIRED_TABLES if not table_files(path, table)]
        if missing:
            raise DatasetError(str(path), [f"{table}.parquet: required table is missing" for table in missing])
        return cls(path=path, config=config)

    def has(self, table: Table) -> bool:
        """Whether the table is there: an optional one that is not is a missing modality."""
        return bool(table_files(self.path, table))

    def declared(self, table: Table) -> dict[str, FeatureKind]:
        """The columns that dataset.yaml declares as features of `table`, whether or not they are there."""
        return dict(self.config.features.get(table, {}))

    def columns(self, table: Table) -> list[str]:
        """The columns that `scan` yields: canonical ones, then declared ones, that at least one part has."""
        present = {name for _, schema in self._parts(table) for name in schema}
        declared = self.declared(table)
        canonical_names = [name for name in SCHEMAS[table].columns if name in present]
        return canonical_names + [name for name in declared if name in present and name not in canonical_names]

    def without(self, excluded: Exclusion) -> Self:
        """The same dataset as if these customers were not in it."""
        return replace(self, excluded=excluded)

    def image_columns(self, table: Table) -> list[str]:
        """The columns of `table` that name pictures: the canonical `image_path` and those declared as images."""
        declared = self.declared(table)
        return [name for name in self.columns(table) if name == "image_path" or declared.get(name) is FeatureKind.IMAGE]

    def scan(self, table: Table) -> pl.LazyFrame:
        """The canonical and declared columns of a table, in canonical types (`recsys.data.columns.DTYPES`).

        Raises:
            DatasetError: the table is missing or unreadable, or a column's type cannot be made canonical.
        """
        columns = self.columns(table)
        groups: dict[tuple[tuple[str, pl.DataType], ...], list[Path]] = {}
        for file, schema in self._parts(table):
            groups.setdefault(tuple(schema.items()), []).append(file)
        frames = [self._scan_group(table, files, dict(schema)) for schema, files in groups.items()]
        rows = (frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")).select(columns)
        if self.excluded.customers and CUSTOMER_ID in columns:
            return rows.filter(~pl.col(CUSTOMER_ID).is_in(sorted(self.excluded.customers)))
        return rows

    def positives(self) -> pl.LazyFrame:
        """The events whose type has a weight above 0, with that weight as the column `weight` (Float32)."""
        return with_weights(self.scan(Table.EVENTS), self.config.event_weights)

    def end(self) -> datetime:
        """The time of the newest event.

        Raises:
            DatasetError: there are no events.
        """
        newest = self.scan(Table.EVENTS).select(pl.col(EVENT_TIMESTAMP).max()).collect(engine="streaming").item()
        if newest is None:
            raise DatasetError(str(self.path), ["events.parquet: has no rows, so the dataset has no end"])
        assert isinstance(newest, datetime)  # noqa: S101 - the canonical type of the column
        return newest

    def image_file(self, relative: str) -> Path | None:
        """The file that an image path names; None where it is not a file inside the dataset directory."""
        root = self.path.resolve()
        try:
            file = (root / relative).resolve()
            return file if not Path(relative).is_absolute() and file.is_relative_to(root) and file.is_file() else None
        except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, a loop of links
            return None

    def image_paths(self) -> list[str]:
        """Every distinct picture that the tables name, sorted."""
        paths: set[str] = set()
        for table in (table for table in Table if self.has(table)):
            for column in self.image_columns(table):
                distinct = self.scan(table).select(pl.col(column).drop_nulls().unique()).collect(engine="streaming")
                paths.update(distinct.to_series().to_list())
        return sorted(paths)

    def fingerprint(self, progress: Progress | None = None) -> str:
        """16 hex digits over names, sizes and bytes of dataset.yaml, of all tables and of the pictures they name."""
        digest = hashlib.blake2b(digest_size=8)
        files = [(CONFIG_FILE, self.path / CONFIG_FILE)]
        files += [(str(file.relative_to(self.path)), file) for table in Table for file in table_files(self.path, table)]
        files += [(name, file) for name in self.image_paths() if (file := self.image_file(name))]
        task = progress.add_task("hashing the dataset", total=len(files)) if progress else None
        for name, file in files:
            digest.update(f"{name}\0{file.stat().st_size}\0".encode())
            for block in _blocks(file):
                digest.update(block)
            if progress and task is not None:
                progress.advance(task)
        return digest.hexdigest()

    def _parts(self, table: Table) -> list[tuple[Path, dict[str, pl.DataType]]]:
        files = table_files(self.path, table)
        if not files:
            raise DatasetError(str(self.path), [f"{table}.parquet: table is missing"])
        return [(file, read_schema(self.path, file)) for file in files]

    def _scan_group(self, table: Table, files: list[Path], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
        """Scans parts that share one schema."""
        expressions, findings = [], []
        for name, dtype in schema.items():
            type_ = value_type(table, name, self.declared(table))
            if type_ is None:
                continue
            if problem := misfit(dtype, type_):
                findings.append(f"{files[0].relative_to(self.path)}: column {name} {problem}")
            else:
                expressions.append(canonical(name, dtype, type_))
        if findings:
            raise DatasetError(str(self.path), findings)
        return pl.scan_parquet(files, glob=False, hive_partitioning=False).select(expressions)


def read_schema(path: Path, file: Path) -> dict[str, pl.DataType]:
    """The columns and types of one parquet file of the dataset `path`.

    Raises:
        DatasetError: the file cannot be read, or is no parquet file.
    """
    try:
        return dict(pl.read_parquet_schema(file))
    except (PolarsError, OSError) as error:
        raise DatasetError(
            str(path), [f"{file.relative_to(path)}: is not a readable parquet file ({error})"]
        ) from error


def with_weights(events: pl.LazyFrame, weights: dict[str, float]) -> pl.LazyFrame:
    """Keeps the events of a type with a weight above 0 and adds that weight as `weight` (Float32)."""
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    weight = pl.col(EVENT_TYPE).replace_strict(positive, default=None, return_dtype=pl.Float32)
    return events.filter(pl.col(EVENT_TYPE).is_in(list(positive))).with_columns(weight.alias(WEIGHT))


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(HASH_BLOCK):
            yield block
