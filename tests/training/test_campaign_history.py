"""What counts as an exposure and as its response, on a history that is small enough to read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from recsys.data.contract import Dataset
from recsys.schema import EventType
from training.campaign_history import WINDOW, ContactLog, read_arms

END = datetime(2026, 7, 1, tzinfo=UTC)
Row = tuple[str, float, str, str, str]
"""Customer, days before the end, event, product, arm."""


def write_history(folder: Path, rows: list[Row]) -> Dataset:
    people, goods = sorted({row[0] for row in rows}), sorted({row[3] for row in rows})
    start = pl.lit(END - timedelta(days=400)).cast(pl.Datetime("us", "UTC")).alias("event_timestamp")
    pl.DataFrame({"customer_id": people}).with_columns(start).write_parquet(folder / "customers.parquet")
    pl.DataFrame({"product_id": goods, "name": goods}).with_columns(start).write_parquet(folder / "products.parquet")
    pl.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(len(rows))],
            "customer_id": [row[0] for row in rows],
            "event_timestamp": [END - timedelta(days=row[1]) for row in rows],
            "event_type": [row[2] for row in rows],
            "product_id": [row[3] for row in rows],
            "channel": ["email"] * len(rows),
            "arm": [row[4] for row in rows],
        }
    ).with_columns(pl.col("event_timestamp").cast(pl.Datetime("us", "UTC"))).write_parquet(folder / "events.parquet")
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "small", "policy": "none"}))
    return Dataset.open(folder)


def test_exposures_count_the_first_of_a_window_and_responses_within_it(tmp_path: Path) -> None:
    dataset = write_history(
        tmp_path,
        [
            ("answers", 50, "impression", "p1", "treatment"),
            ("answers", 49, "impression", "p1", "treatment"),
            ("answers", 45, "convert", "p1", "treatment"),
            ("other", 50, "impression", "p1", "treatment"),
            ("other", 45, "convert", "p2", "treatment"),
            ("late", 55, "impression", "p1", "treatment"),
            ("late", 20, "convert", "p1", "treatment"),
            ("before", 40, "impression", "p1", "treatment"),
            ("before", 41, "convert", "p1", "treatment"),
            ("young", 10, "impression", "p1", "treatment"),
            ("young", 9, "convert", "p1", "treatment"),
        ],
    )
    shown = ContactLog(dataset, END).exposures(EventType.CONVERT)
    assert dict(shown.select("customer_id", "responded").iter_rows()) == {
        "answers": True,
        "other": False,
        "late": False,
        "before": False,
    }
    assert len(shown) == 4
    assert (shown["event_timestamp"] <= END - WINDOW).all()


def test_conversions_per_response_of_clicks_is_the_share_that_ends_in_a_sale(tmp_path: Path) -> None:
    rows: list[Row] = []
    for number in range(8):
        rows += [(f"c{number}", 50, "impression", "p1", "x"), (f"c{number}", 49, "click", "p1", "x")]
    rows += [("c0", 48, "convert", "p1", "x"), ("c1", 48, "convert", "p1", "x")]
    dataset = write_history(tmp_path, rows)
    assert ContactLog(dataset, END).conversions_per_response(EventType.CLICK) == 0.25
    assert ContactLog(dataset, END).conversions_per_response(EventType.CONVERT) == 1.0


def test_arms_compare_customers_and_not_events(tmp_path: Path) -> None:
    rows: list[Row] = []
    for number in range(40):
        arm = "control" if number < 20 else "treatment"
        rows.append((f"c{number}", 20, "view", "p1", arm))
        if number % 20 < (5 if arm == "control" else 10):
            rows += [(f"c{number}", day, "convert", "p1", arm) for day in (3.0, 4.0, 5.0)]
    share = read_arms(write_history(tmp_path, rows), EventType.CONVERT)
    assert share is not None
    assert share.mean == pytest.approx(0.5)
    assert share.low < 0.5 < share.high


def test_arms_of_a_history_without_control_say_nothing(tmp_path: Path) -> None:
    dataset = write_history(tmp_path, [("a", 9, "convert", "p1", "treatment")])
    assert read_arms(dataset, EventType.CONVERT) is None
