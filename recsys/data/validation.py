"""All findings of the data contract at once, before anything is written; nothing in the dataset is changed.

The rule for times: nothing that has happened (`rules.RECORDED_TIMES`) is later than the dataset's end. The end is
`end` in dataset.yaml where it is given. Where it is not, events may be as late as this machine's clock, and the other
tables as late as `SLACK` after the newest event: exports of one day are not all cut at the same second, and a
small dataset may have no event for weeks, but a row far behind the newest event has a wrong date.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import ValidationError
from rich.progress import Progress

from recsys.config import describe_validation_error, read_yaml
from recsys.data.contract import CONFIG_FILE, Dataset, DatasetConfig, table_files, value_type
from recsys.data.pictures import check_pictures
from recsys.data.rules import check_duplicates, check_references, check_rows
from recsys.data.table_view import TableView, load_view
from recsys.errors import ConfigError, DatasetError
from recsys.schema import EVENT_TIMESTAMP, REQUIRED_TABLES, Table

SLACK: Final = timedelta(days=31)
FEATURE_TABLES: Final = (Table.CUSTOMERS, Table.PRODUCTS, Table.CONTENTS)
"""The tables whose declared columns become features."""


@dataclass
class ValidationReport:
    """What validation found."""

    findings: list[str] = field(default_factory=list)
    """One line per broken rule: file, column, rule, up to five offending rows."""
    notes: list[str] = field(default_factory=list)
    """What is allowed but worth knowing: ignored columns, optional tables that are not there."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows by table."""

    @property
    def ok(self) -> bool:
        """Whether the dataset keeps the contract."""
        return not self.findings


def require_valid(path: Path, progress: Progress | None = None) -> Dataset:
    """Opens a dataset that keeps the contract.

    Raises:
        DatasetError: it does not; the error holds all findings.
    """
    report = validate(path, progress)
    if not report.ok:
        raise DatasetError(str(path), report.findings)
    return Dataset.open(path)


def validate(path: Path, progress: Progress | None = None) -> ValidationReport:
    """Checks everything that data-contract.md promises and reports all findings at once.

    Tables are read lazily, in streaming mode, a few passes each; memory does not grow with the number of events.
    """
    report = ValidationReport()
    if not path.is_dir():
        report.findings.append(f"{path}: is not a directory: give the directory that holds {CONFIG_FILE}")
        return report
    config = _load_config(path, report.findings)
    views = _load_views(path, config, report, progress)
    limits = _time_limits(config, views.get(Table.EVENTS))
    task = progress.add_task("checking rows", total=len(views) + 2) if progress else None
    for table, view in views.items():
        limit = limits[0] if table is Table.EVENTS else limits[1]
        report.findings += check_rows(view, config, limit) + check_duplicates(view)
        _advance(progress, task)
    report.findings += check_references(views)
    _advance(progress, task)
    report.findings += check_pictures(path, views, config, progress)
    _advance(progress, task)
    return report


def _load_config(path: Path, findings: list[str]) -> DatasetConfig:
    """dataset.yaml; where keys of it are wrong, a finding and the config of the others, so that tables are checked."""
    try:
        values: dict[str, Any] = read_yaml(path / CONFIG_FILE)
    except ConfigError as error:
        findings.append(str(error))
        return DatasetConfig(name=path.name or "dataset")
    try:
        return DatasetConfig.model_validate(values)
    except ValidationError as error:
        findings.append(f"{CONFIG_FILE}: {describe_validation_error(error)}")
        broken = {str(item["loc"][0]) for item in error.errors()}
    kept = {key: value for key, value in values.items() if key not in broken}
    return DatasetConfig.model_validate({"name": path.name or "dataset", **kept})


def _load_views(
    path: Path, config: DatasetConfig, report: ValidationReport, progress: Progress | None
) -> dict[Table, TableView]:
    views = {}
    for table in Table:
        before = len(report.findings)
        view = load_view(path, table, config, report.findings, progress)
        if view:
            views[table] = view
            report.rows[table.value] = view.rows
            report.notes += _ignored_columns(path, view, config)
            if table in REQUIRED_TABLES and not view.rows:
                report.findings.append(f"{table}.parquet: has no rows; at least one is needed")
        elif table in REQUIRED_TABLES and len(report.findings) == before:
            report.findings.append(f"{table}.parquet: required table is missing")
        elif len(report.findings) == before:
            report.notes.append(f"{table}.parquet: not there; the model is trained and served without it")
        if config.features.get(table) and table not in FEATURE_TABLES:
            report.notes.append(
                f"{CONFIG_FILE}: features.{table}: only {', '.join(FEATURE_TABLES)} have extra features"
            )
    return views


def _ignored_columns(path: Path, view: TableView, config: DatasetConfig) -> list[str]:
    declared = config.features.get(view.table, {})
    names = {name for file in table_files(path, view.table) for name in _column_names(file)}
    ignored = sorted(name for name in names if value_type(view.table, name, declared) is None)
    return [f"{view.table}.parquet: column {name} is neither canonical nor declared: ignored" for name in ignored]


def _column_names(file: Path) -> list[str]:
    try:
        return list(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError):  # has its own finding
        return []


def _time_limits(config: DatasetConfig, events: TableView | None) -> tuple[tuple[datetime, str], tuple[datetime, str]]:
    """The latest recorded time, and why, for events and for the other tables."""
    if config.end:
        limit = (config.end, f"the end of the dataset ({CONFIG_FILE})")
        return limit, limit
    now = (datetime.now(UTC), "the present time")
    if events is None or EVENT_TIMESTAMP not in events.columns:
        return now, now
    time = pl.col(EVENT_TIMESTAMP)
    newest = events.frame.select(time.filter(time <= now[0]).max()).collect(engine="streaming").item()
    if newest is None or newest + SLACK >= now[0]:
        return now, now
    return now, (newest + SLACK, f"{SLACK.days} days after the newest event")


def _advance(progress: Progress | None, task: Any) -> None:
    if progress and task is not None:
        progress.advance(task)
