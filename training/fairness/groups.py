"""The groups that fairness is measured by: the customers' columns that the policy pack keeps from models.

They are read as they lie in customers.parquet, declared or not: what is measured by must not have to be a feature.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from recsys.data.contract import Dataset, read_schema, table_files
from recsys.policy.fair_inputs import ColumnKind, refusal_of
from recsys.policy.pack import CreditPolicy
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, Table

_AGE_ENTRIES: Final = ("age", "birth_date", "date_of_birth")
_AGE_EDGES: Final = (18, 30, 45, 62)
"""A creditor's elderly applicant is 62 or older (12 CFR 1002.2(o))."""
_AGE_BANDS: Final = ("under 18", "18 to 29", "30 to 44", "45 to 61", "62 and over")
_DAYS_A_YEAR: Final = 365.25


class Attribute(NamedTuple):
    """One column as groups of B customers."""

    name: str
    kind: ColumnKind
    labels: np.ndarray
    """[B] object: the group's name; None where it is not known."""

    def take(self, rows: np.ndarray) -> "Attribute":
        """The customers `rows`."""
        return self._replace(labels=self.labels[rows])


class Attributes(NamedTuple):
    """What can be measured by, and what cannot."""

    found: list[Attribute]
    skipped: dict[str, str]
    """Column to the reason."""


def read_attributes(
    dataset: Dataset, customers: Sequence[str], as_of: datetime, credit: CreditPolicy, most_groups: int
) -> Attributes:
    """The groups of B customers at an instant.

    Args:
        dataset: where the customers table is.
        customers: B distinct ids.
        as_of: later rows are not known.
        credit: which columns.
        most_groups: a column with more values than this makes no groups.
    """
    found: list[Attribute] = []
    skipped: dict[str, str] = {}
    rows = _rows(dataset, customers, as_of, credit)
    for name in rows.columns[1:]:
        refusal = refusal_of(name, credit)
        labels = _labels(rows[name], refusal.entry if refusal else "", as_of)
        if refusal is None or labels is None:
            skipped[name] = "a number that is no age: it makes no groups"
            continue
        values = labels.drop_nulls().n_unique()
        if values > most_groups:
            skipped[name] = f"{values} different values: it makes no groups"
        elif values < 2:
            skipped[name] = "the same for everybody" if values else "known of nobody"
        else:
            found.append(Attribute(name, refusal.kind, labels.to_numpy().astype(object)))
    return Attributes(found, skipped)


def _rows(dataset: Dataset, customers: Sequence[str], as_of: datetime, credit: CreditPolicy) -> pl.DataFrame:
    """customer_id and the pack's columns, one row for each of `customers` in that order, the latest known."""
    frames = []
    for file in table_files(dataset.path, Table.CUSTOMERS):
        wanted = [name for name in read_schema(dataset.path, file) if refusal_of(name, credit) is not None]
        frames.append(pl.scan_parquet(file, hive_partitioning=False).select(_key(), _time(), *wanted))
    latest = (
        pl.concat(frames, how="diagonal_relaxed")
        .filter(pl.col(EVENT_TIMESTAMP) <= as_of, pl.col(CUSTOMER_ID).is_in(list(customers)))
        .sort(EVENT_TIMESTAMP)
        .unique(CUSTOMER_ID, keep="last", maintain_order=True)
        .drop(EVENT_TIMESTAMP)
        .collect(engine="streaming")
    )
    asked = pl.DataFrame({CUSTOMER_ID: list(customers)}, schema={CUSTOMER_ID: pl.String})
    return asked.join(latest, on=CUSTOMER_ID, how="left", maintain_order="left")


def _key() -> pl.Expr:
    return pl.col(CUSTOMER_ID).cast(pl.String)


def _time() -> pl.Expr:
    return pl.col(EVENT_TIMESTAMP).dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _labels(values: pl.Series, entry: str, as_of: datetime) -> pl.Series | None:
    """[B] strings; None where the column makes no groups."""
    if values.dtype.is_temporal():
        days = (pl.Series([as_of]).dt.date() - values.dt.date()).dt.total_days()
        return _bands(days / _DAYS_A_YEAR) if entry in _AGE_ENTRIES else None
    if values.dtype.is_numeric() and entry in _AGE_ENTRIES:
        return _bands(values.cast(pl.Float64))
    if values.dtype.is_float() or values.dtype.is_nested():
        return None
    text = values.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _bands(years: pl.Series) -> pl.Series:
    bands = np.array(_AGE_BANDS, object)[np.digitize(years.fill_null(0.0).to_numpy(), _AGE_EDGES)]
    return pl.Series(years.name, bands, pl.String).set(years.is_null() | years.is_nan(), None)
