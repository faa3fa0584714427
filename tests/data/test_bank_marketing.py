"""UCI's Bank Marketing into the contract: the conventions on lines of our own, and the real file where it lies."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.data.importers.bank_marketing import ECONOMY, FILE, import_bank_marketing
from recsys.data.splits import assign_parts
from recsys.data.validation import validate
from recsys.errors import RecsysError
from recsys.schema import PolicyName, Table

SHARED = Path(__file__).parents[2] / "../shared/data/bank_marketing"
MONTHS = ("nov", "nov", "dec", "mar", "mar", "mar", "apr", "jun", "jun", "may")
"""2008, then 2009; the last one is of 2010."""
YES = (1, 8)


def lines() -> list[dict[str, str]]:
    return [
        {
            "age": str(30 + place),
            "job": "unknown" if place == 2 else "services",
            **dict.fromkeys(("marital", "education", "default", "housing", "loan"), "no"),
            "contact": "telephone" if place < 3 else "cellular",
            "month": month,
            "day_of_week": "mon",
            "duration": "261",
            "campaign": "1",
            "pdays": "6" if place == 4 else "999",
            "previous": "0",
            "poutcome": "nonexistent",
            **dict.fromkeys(ECONOMY, "-1.5"),
            "y": "yes" if place in YES else "no",
        }
        for place, month in enumerate(MONTHS)
    ]


def write(folder: Path, rows: list[dict[str, str]]) -> Path:
    folder.mkdir(exist_ok=True)
    pl.DataFrame(rows).write_csv(folder / FILE, separator=";", quote_style="non_numeric")
    return folder


@pytest.fixture
def imported(tmp_path: Path) -> Dataset:
    return import_bank_marketing(write(tmp_path / "raw", lines()), tmp_path / "out")


def test_each_call_is_a_customer_and_an_impression(imported: Dataset) -> None:
    assert validate(imported.path).ok
    customers, events = (imported.scan(table).collect() for table in (Table.CUSTOMERS, Table.EVENTS))
    shown = events.filter(pl.col("event_type") == "impression")
    assert customers["customer_id"].to_list() == shown["customer_id"].to_list() == [f"k{n:05}" for n in range(10)]
    assert (shown["event_timestamp"] - customers["event_timestamp"]).dt.total_seconds().to_list() == [1] * 10
    assert shown["content_id"].to_list() == shown["channel"].to_list() == ["telephone"] * 3 + ["cellular"] * 7
    assert customers["job"].to_list() == ["services"] * 2 + [None] + ["services"] * 7
    assert customers["pdays"].to_list() == [None] * 4 + [6.0] + [None] * 5
    assert customers["cons_price_idx"].to_list() == [-1.5] * 10
    assert "duration" not in customers.columns
    assert imported.config.policy is PolicyName.NONE


def test_yes_is_all_that_may_follow_a_call(imported: Dataset) -> None:
    events = imported.scan(Table.EVENTS).collect()
    answers = events.filter(pl.col("event_type") != "impression")
    assert answers.select("event_id", "customer_id", "request_id").rows() == [
        (f"e{call:05}-{answer}", f"k{call:05}", f"r{call:05}")
        for call in YES
        for answer in ("click", "apply", "convert")
    ]
    calls = events.filter(pl.col("event_type") == "impression").select("customer_id", at="event_timestamp")
    later = answers.join(calls, on="customer_id").select((pl.col("event_timestamp") - pl.col("at")).dt.total_seconds())
    assert later.to_series().to_list() == [1, 2, 3] * len(YES)


def test_years_follow_from_the_months_and_calls_are_spread_over_them(imported: Dataset) -> None:
    events = imported.scan(Table.EVENTS).filter(pl.col("event_type") == "impression").collect()
    times = events["event_timestamp"].to_list()
    years = [2008] * 3 + [2009] * 6 + [2010]
    assert [(at.year, at.month) for at in times] == list(zip(years, (11, 11, 12, 3, 3, 3, 4, 6, 6, 5), strict=True))
    assert times[:2] == [datetime(2008, 11, 11, tzinfo=UTC), datetime(2008, 11, 21, tzinfo=UTC)]
    assert times == sorted(times)


def test_last_tenth_is_for_test(imported: Dataset) -> None:
    parts = assign_parts(imported).collect()
    assert parts.filter(pl.col("event_id") == "e00008-convert")["part"].to_list() == ["validation"]
    assert parts.filter(pl.col("event_id") == "e00001-convert")["part"].to_list() == ["train"]


def changed(column: str, value: str) -> Callable[[list[dict[str, str]]], None]:
    def change(rows: list[dict[str, str]]) -> None:
        rows[3][column] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("month", "juli"), "line 5: month must be one of jan, feb"),
        (changed("contact", "fax"), "line 5: contact must be one of cellular, telephone, is 'fax'"),
        (changed("y", "maybe"), "line 5: y must be one of yes, no"),
        (changed("euribor3m", "high"), "line 5: euribor3m must be a number, is 'high'"),
        (lambda rows: [row.pop("poutcome") for row in rows], "column poutcome is missing"),
        (lambda rows: rows.__delitem__(slice(1, None)), "has 1 calls, at least 10 are needed"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    tmp_path: Path, change: Callable[[list[dict[str, str]]], None], message: str
) -> None:
    rows = lines()
    change(rows)
    with pytest.raises(RecsysError, match=message):
        import_bank_marketing(write(tmp_path / "raw", rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecsysError, match=f"{FILE}: cannot be read"):
        import_bank_marketing(tmp_path, tmp_path / "out")


def test_real_file_keeps_the_contract(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("Bank Marketing does not lie in ../shared/data")
    dataset = import_bank_marketing(SHARED, tmp_path / "out")
    assert validate(dataset.path).ok
    events = dataset.scan(Table.EVENTS).collect()
    assert events.filter(pl.col("event_type") == "impression").height == 41_188
    assert events.filter(pl.col("event_type") == "convert").height == 4_640
    assert (events["event_timestamp"].min().year, events["event_timestamp"].max().year) == (2008, 2010)
