"""Bank Marketing, the telephone contacts of a Portuguese bank as UCI distributes them, into the data contract.

Source: UCI Machine Learning Repository, bank-additional-full.csv (Moro, Cortez and Rita 2014, doi
10.1016/j.dss.2014.03.001), 41,188 contacts of May 2008 to November 2010 in time order. Conventions:

- Nobody has an id, so every line is a customer, `k00000`..., whose row becomes true one second before the call.
- There is one product, the term deposit, and one creative for each kind of telephone, its channel.
- Every call is an impression in the first place. A yes is a click, an application and a conversion one, two and three
  seconds later: of what came between nothing is known.
- The year is in no column: it moves on where the month falls back. Calls of one month are spread evenly over it.
- `duration` is known only after the call and is left out. `unknown` is no value, and 999 days since the last contact
  say that there was none.
- The split is in time: the last tenth of the calls is for test, the tenth before for validation. The share of yes rises
  from 6 % to 46 %, so that probabilities learned from the past are too low for the future.
"""

from calendar import monthrange
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import yaml

from recsys.data.columns import TIME_DTYPE
from recsys.data.contract import CONFIG_FILE, Dataset
from recsys.data.output import new_directory
from recsys.errors import RecsysError
from recsys.schema import EventType, FeatureKind, PolicyName, Table

FILE: Final = "bank-additional-full.csv"
NUMBERS: Final = ("age", "campaign", "pdays", "previous")
ECONOMY: Final = ("emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed")
CATEGORIES: Final = ("job", "marital", "education", "default", "housing", "loan", "poutcome")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
TELEPHONES: Final = ("cellular", "telephone")
FIRST_YEAR: Final = 2008
PRODUCT: Final = "deposit"
NEVER: Final = 999
ANSWERS: Final = (EventType.CLICK, EventType.APPLY, EventType.CONVERT)
FEWEST: Final = 10
"""Calls: fewer leave nothing for test."""
_SECOND: Final = 1_000_000


def import_bank_marketing(source: Path, out: Path) -> Dataset:
    """Writes the dataset directory `out` from the directory `source`.

    Args:
        source: holds bank-additional-full.csv.
        out: must not exist, or be empty; it appears complete or not at all.

    Raises:
        RecsysError: the file is missing or malformed (line, column, rule), or `out` is taken.
    """
    calls = _read(source / FILE)
    at = _instants(calls["month"].to_list())
    began = datetime.fromtimestamp(int(at[0]) // _SECOND - 1, UTC)
    with new_directory(out) as folder:
        tables = {
            Table.CUSTOMERS: _customers(calls, at),
            Table.PRODUCTS: pl.DataFrame({"product_id": [PRODUCT], "name": ["Term deposit"], "category": [PRODUCT]}),
            Table.CONTENTS: pl.DataFrame(
                {
                    "content_id": TELEPHONES,
                    "product_id": [PRODUCT] * len(TELEPHONES),
                    "channel": TELEPHONES,
                    "headline": ["A call on the mobile telephone", "A call on the telephone at home"],
                    "status": ["approved"] * len(TELEPHONES),
                }
            ),
            Table.EVENTS: _events(calls, at),
        }
        for table, frame in tables.items():
            if "event_timestamp" not in frame.columns:
                frame = frame.with_columns(pl.lit(began).cast(TIME_DTYPE).alias("event_timestamp"))
            frame.write_parquet(folder / f"{table}.parquet")
        (folder / CONFIG_FILE).write_text(_config(at), encoding="utf-8")
    return Dataset.open(out)


def _read(file: Path) -> pl.DataFrame:
    """The lines of the file, checked; all columns that are read, with numbers as numbers."""
    try:
        lines = pl.read_csv(file, separator=";", infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecsysError(f"{file}: cannot be read as CSV with semicolons; UCI's bank-additional.zip has it") from error
    wanted = (*NUMBERS, *ECONOMY, *CATEGORIES, "contact", "month", "y")
    if missing := [name for name in wanted if name not in lines.columns]:
        raise RecsysError(f"{file}: column {', '.join(missing)} is missing; the file is {FILE} of UCI")
    if len(lines) < FEWEST:
        raise RecsysError(f"{file}: has {len(lines)} calls, at least {FEWEST} are needed")
    for name, allowed in (("month", MONTHS), ("contact", TELEPHONES), ("y", ("yes", "no"))):
        _refuse(file, lines, name, ~pl.col(name).is_in(allowed), f"must be one of {', '.join(allowed)}")
    numbers = [pl.col(name).cast(pl.Float64, strict=False) for name in (*NUMBERS, *ECONOMY)]
    for name, number in zip((*NUMBERS, *ECONOMY), numbers, strict=True):
        _refuse(file, lines, name, ~number.is_finite(), "must be a number")
    return lines.select(*numbers, *CATEGORIES, "contact", "month", "y")


def _refuse(file: Path, lines: pl.DataFrame, name: str, wrong: pl.Expr, rule: str) -> None:
    found = lines.with_row_index("line", offset=2).filter(wrong.fill_null(value=True))
    if len(found):
        line, value = found.select("line", name).row(0)
        raise RecsysError(f"{file}, line {line}: {name} {rule}, is {value!r} (as in {len(found):,} line(s))")


def _instants(months: list[str]) -> np.ndarray:
    """[N] int64 epoch µs of each call, ascending: those of one month evenly over it."""
    number = np.array([MONTHS.index(month) for month in months])
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    years = FIRST_YEAR + np.cumsum(np.diff(number[starts], prepend=0) < 0)
    lengths = np.diff(starts, append=len(number))
    parts = []
    for start, year, length in zip(starts.tolist(), years.tolist(), lengths.tolist(), strict=True):
        month = int(number[start]) + 1
        first = int(datetime(year, month, 1, tzinfo=UTC).timestamp())
        seconds = monthrange(year, month)[1] * 86_400
        parts.append((first + (np.arange(length) + 1) * seconds // (length + 1)) * _SECOND)
    return np.concatenate(parts).astype(np.int64)


def _ids(letter: str, count: int) -> pl.Series:
    return pl.select(pl.lit(letter) + pl.int_range(count).cast(pl.String).str.zfill(5)).to_series()


def _times(at: np.ndarray) -> pl.Series:
    return pl.Series("event_timestamp", at).cast(TIME_DTYPE)


def _customers(calls: pl.DataFrame, at: np.ndarray) -> pl.DataFrame:
    days = pl.when(pl.col("pdays") != NEVER).then("pdays").alias("pdays")
    known = [pl.when(pl.col(name) != "unknown").then(name).alias(name) for name in CATEGORIES]
    economy = [pl.col(name).alias(_named(name)) for name in ECONOMY]
    numbers = [days if name == "pdays" else pl.col(name) for name in NUMBERS]
    ids = _ids("k", len(calls)).alias("customer_id")
    return calls.select(ids, _times(at - _SECOND), *numbers, *economy, *known)


def _events(calls: pl.DataFrame, at: np.ndarray) -> pl.DataFrame:
    """One impression a call, and what follows a yes, in time order."""
    numbers = [_ids(letter, len(calls)).alias(name) for letter, name in (("k", "customer_id"), ("r", "request_id"))]
    call = calls.select(
        _ids("e", len(calls)).alias("event_id"),
        *numbers,
        _times(at),
        pl.lit(str(EventType.IMPRESSION)).alias("event_type"),
        pl.lit(PRODUCT).alias("product_id"),
        pl.col("contact").alias("content_id"),
        pl.col("contact").alias("channel"),
        pl.lit(1, pl.Int64).alias("position"),
        pl.col("y"),
    )
    answers = [
        call.filter(pl.col("y") == "yes").with_columns(
            pl.lit(str(answer)).alias("event_type"),
            pl.col("event_id") + f"-{answer}",
            pl.col("event_timestamp") + pl.duration(seconds=place),
        )
        for place, answer in enumerate(ANSWERS, start=1)
    ]
    return pl.concat([call, *answers]).drop("y").sort("event_timestamp", "event_id")


def _named(column: str) -> str:
    return column.replace(".", "_")


def _config(at: np.ndarray) -> str:
    numbers = dict.fromkeys([*NUMBERS, *map(_named, ECONOMY)], str(FeatureKind.NUMERIC))
    starts = [datetime.fromtimestamp(int(at[len(at) * tenth // 10]) / _SECOND, UTC).isoformat() for tenth in (8, 9)]
    values = {
        "name": "bank-marketing",
        "description": "Bank Marketing (UCI): telephone contacts about a term deposit",
        "policy": PolicyName.NONE.value,
        "repeatable": False,
        "event_weights": {str(EventType.CONVERT): 1.0},
        "features": {str(Table.CUSTOMERS): numbers | dict.fromkeys(CATEGORIES, str(FeatureKind.CATEGORICAL))},
        "split": dict(zip(("validation_start", "test_start"), starts, strict=True)),
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
