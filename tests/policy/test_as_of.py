"""What was known when: facts as of each customer's own instant."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.policy.as_of import declined_before, had_before

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def write(folder: Path, policy: str) -> Dataset:
    folder.mkdir(exist_ok=True)
    events = [
        ("e1", 1, "view", "p1"),
        ("e2", 2, "convert", "p2"),
        ("e3", 3, "dismiss", "p3"),
        ("e4", 9, "convert", "p4"),
    ]
    pl.DataFrame(
        {
            "event_id": [row[0] for row in events],
            "customer_id": ["c"] * 4,
            "event_timestamp": [day(row[1]) for row in events],
            "event_type": [row[2] for row in events],
            "product_id": [row[3] for row in events],
        }
    ).write_parquet(folder / "events.parquet")
    pl.DataFrame({"customer_id": ["c"], "event_timestamp": [START]}).write_parquet(folder / "customers.parquet")
    products = [f"p{number}" for number in range(1, 7)]
    pl.DataFrame({"product_id": products, "event_timestamp": [START] * 6, "name": products}).write_parquet(
        folder / "products.parquet"
    )
    pl.DataFrame(
        {
            "customer_id": ["c"] * 3,
            "product_id": ["p2", "p5", "p6"],
            "opened_at": [day(2), day(0), day(8)],
            "closed_at": pl.Series([day(4), None, None], dtype=TIME),
        }
    ).write_parquet(folder / "holdings.parquet")
    (folder / "dataset.yaml").write_text(f"name: d\npolicy: {policy}\n")
    return Dataset.open(folder)


def asked(number: float) -> pl.DataFrame:
    return pl.DataFrame(
        {"customer_id": ["c"], "event_timestamp": [day(number)]}, schema_overrides={"event_timestamp": TIME}
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1.5, ["p5"]), (3.5, ["p2", "p5"]), (5, ["p5"]), (8.5, ["p5", "p6"]), (10, ["p4", "p5", "p6"])],
)
def test_had_before_under_bank_follows_openings_closings_and_conversions(
    tmp_path: Path, number: float, expected: list[str]
) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert sorted(had_before(dataset, asked(number))["product_id"]) == expected


def test_had_before_under_none_counts_every_positive(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "none")
    assert "p1" in had_before(dataset, asked(1.5))["product_id"].to_list()


def test_declined_before_knows_no_later_dismissal(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert declined_before(dataset, asked(2.5)).is_empty()
    assert declined_before(dataset, asked(3.5))["product_id"].to_list() == ["p3"]
