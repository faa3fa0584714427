from pathlib import Path

import polars as pl
import pytest

from recsys.features import history
from recsys.features.activity import ordered_events
from recsys.features.build import BuildReport
from recsys.features.history import history_rows
from recsys.features.plan import CustomerRange, Sources


@pytest.fixture(scope="module")
def events(sources: Sources) -> pl.DataFrame:
    events = ordered_events(sources, CustomerRange()).filter(pl.col("event_type") != "impression")
    return events.with_columns(positive=pl.col("event_type") == "click")


def slow_history(events: pl.DataFrame, length: int) -> list[dict[str, object]]:
    rows, seen, taken = [], {}, {}
    for event in events.to_dicts():
        entries = seen.setdefault(event["customer_id"], [])
        entries.append(event)
        ever = taken.setdefault(event["customer_id"], [])
        if event["positive"] and event["product_id"] and event["product_id"] not in ever:
            ever.append(event["product_id"])
        last = entries[-length:]
        rows.append(
            {
                "customer_id": event["customer_id"],
                "event_timestamp": event["event_timestamp"],
                "product_ids": [e["product_id"] or "" for e in last],
                "content_ids": [e["content_id"] or "" for e in last],
                "event_types": [e["event_type"] for e in last],
                "event_ids": [e["event_id"] for e in last],
                "products_ever": ever[-history.EVER_LENGTH :],
            }
        )
    return rows


@pytest.mark.parametrize(("length", "ever"), [(1, 500), (4, 2), (1000, 1)])
def test_history_rows_equal_a_slow_window(
    events: pl.DataFrame, length: int, ever: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "EVER_LENGTH", ever)
    result = pl.concat(history_rows(events, length))
    assert result.drop("timestamps").to_dicts() == slow_history(events, length)
    assert (result["timestamps"].list.last() == result["event_timestamp"].dt.epoch("us")).all()


def test_history_rows_in_chunks_are_the_same(events: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pl.concat(history_rows(events, 6))
    monkeypatch.setattr(history, "_CHUNK_ROWS", 17)
    parts = list(history_rows(events, 6))
    assert len(parts) > 5
    assert pl.concat(parts).equals(whole)


def test_history_rows_of_no_events_are_none(events: pl.DataFrame) -> None:
    assert list(history_rows(events.clear(), 5)) == []


def test_products_ever_are_distinct_and_never_lost(built: BuildReport, tables: Path) -> None:
    rows = pl.read_parquet(tables / "customer_history.parquet")
    assert rows["products_ever"].list.len().max() > 1
    assert (rows["products_ever"].list.n_unique() == rows["products_ever"].list.len()).all()
    growing = rows.sort("customer_id", "event_timestamp").with_columns(
        before=pl.col("products_ever").shift(1).over("customer_id")
    )
    lost = growing.drop_nulls("before").select(pl.col("before").list.set_difference("products_ever").list.len().sum())
    assert lost.item() == 0


def test_history_table_has_no_impression(built: BuildReport, tables: Path) -> None:
    types = pl.read_parquet(tables / "customer_history.parquet")["event_types"].explode().unique().to_list()
    assert "click" in types
    assert "impression" not in types
