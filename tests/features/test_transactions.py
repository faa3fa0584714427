from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.features.build import BuildReport
from recsys.features.plan import CustomerRange, Sources
from recsys.features.transactions import Category, plan_transactions, share_name, transaction_rows
from recsys.privacy.merchants import is_sensitive
from recsys.schema import Table

START = datetime(2026, 1, 1, tzinfo=UTC)
FOOD, FUEL = Category("food", ("food",)), Category("fuel", ("fuel", "Fuel"))


def frame(rows: list[tuple[str, datetime, float, str | None]]) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "event_timestamp": pl.Datetime("us", "UTC"), "amount": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, "merchant_category": pl.String}, orient="row")


@pytest.mark.parametrize("seed", range(3))
def test_transactions_random_rows_equal_a_slow_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (
            f"c{rng.integers(4)}",
            START + timedelta(minutes=int(rng.integers(0, 200 * 1440))),
            round(float(rng.normal(0, 100)), 2),
            str(rng.choice(["food", "fuel", "Fuel", "rent"])),
        )
        for _ in range(400)
    ]
    result = transaction_rows(frame(rows), [FOOD, FUEL])
    for row in result.to_dicts():
        stamp = row["event_timestamp"]
        assert (stamp.hour, stamp.minute, stamp.second) == (0, 0, 0)
        for days in (30, 90):
            window = [r for r in rows if r[0] == row["customer_id"] and stamp - timedelta(days) <= r[1] < stamp]
            assert row[f"n_{days}d"] == len(window)
            assert row[f"sum_in_{days}d"] == pytest.approx(sum(r[2] for r in window if r[2] > 0))
            assert row[f"sum_out_{days}d"] == pytest.approx(-sum(r[2] for r in window if r[2] < 0))
            paid = [r[3] for r in window if r[2] < 0]
            for category in (FOOD, FUEL):
                share = sum(name in category.members for name in paid) / len(paid) if paid else None
                found = row[share_name(category.slug, days)]
                assert found == (None if share is None else pytest.approx(share))


def test_transactions_money_that_left_the_window_leaves_exactly_nothing() -> None:
    rows = [("a", START, -0.1, "food"), ("a", START, -0.2, "food"), ("a", START + timedelta(days=200), 1.0, None)]
    last = transaction_rows(frame(rows), [FOOD]).row(-1, named=True)
    assert (last["sum_out_90d"], last["sum_in_90d"], last["share_food_90d"]) == (0.0, 1.0, None)


def test_transactions_a_day_is_known_only_from_the_next_midnight() -> None:
    row = transaction_rows(frame([("a", START + timedelta(hours=23), -5.0, "food")]), [FOOD]).row(0, named=True)
    assert row["event_timestamp"] == START + timedelta(days=1)
    assert row["last_transaction_at"] == int((START + timedelta(hours=23)).timestamp())


@pytest.mark.parametrize("name", ["health", "Health & Beauty", "GAMBLING", "trade union", "adult-shop", "religion"])
def test_sensitive_category_is_recognised(name: str) -> None:
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ["groceries", "travel", "salary", "unionised oil", "healthy food"])
def test_harmless_category_is_kept(name: str) -> None:
    assert not is_sensitive(name)


def test_transactions_sensitive_merchants_change_nothing(bank: Dataset, sources: Sources) -> None:
    plan = plan_transactions(sources)
    assert plan is not None
    names = [column.name for column in plan.view.columns]
    assert not [name for name in names if "health" in name or "gambling" in name]
    kept = bank.scan(Table.TRANSACTIONS).filter(~pl.col("merchant_category").is_in(["Health & Beauty", "gambling"]))
    last = kept.group_by("customer_id").agg(pl.col("event_timestamp").max().dt.epoch("s")).collect()
    found = pl.concat(plan.frames(CustomerRange())).group_by("customer_id").agg(pl.col("last_transaction_at").max())
    both = found.join(last, on="customer_id")
    assert both.height > 20
    assert (both["last_transaction_at"] == both["event_timestamp"]).all()


def test_transactions_table_has_a_column_a_category(built: BuildReport, tables: Path) -> None:
    shares = [name for name in pl.read_parquet_schema(tables / "customer_transactions.parquet") if "share" in name]
    categories = ("fuel", "groceries", "salary", "travel")
    assert shares == [share_name(category, days) for category in categories for days in (30, 90)]
