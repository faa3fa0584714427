"""What counts as an exposure and as its response, on a history that is small enough to read."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from recsys.campaigns.response import ResponseCurve
from recsys.data.contract import Dataset
from recsys.schema import EventType
from training.campaign_history import (
    BLOCKS,
    MOST_ANSWERED,
    MOST_OTHERS,
    WINDOW,
    ContactLog,
    read_arms,
    sample_customers,
    to_score,
)

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


def test_exposures_that_are_scored_stand_for_all() -> None:
    responded = np.random.default_rng(0).random(50_000) < 0.1
    rows, weight = to_score(responded)
    assert len(rows) == MOST_ANSWERED + MOST_OTHERS
    assert (np.diff(rows) > 0).all()
    assert weight[responded[rows]].sum() == pytest.approx(responded.sum())
    assert weight.sum() == pytest.approx(len(responded))
    few, own = to_score(responded[:300])
    assert few.tolist() == list(range(300))
    assert (own == 1).all()


def test_curve_of_a_sample_is_that_of_all_exposures() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal(60_000)
    responded = rng.random(len(scores)) < 0.06 / (1 + np.exp(-scores))
    channels = np.where(rng.random(len(scores)) < 0.3, "app", "email").astype(object)
    rows, weight = to_score(responded)
    whole = ResponseCurve.fit(scores, responded, channels.tolist())
    part = ResponseCurve.fit(scores[rows], responded[rows], channels[rows].tolist(), weight)
    grid = np.linspace(-2, 2, 50)
    assert np.abs(part(grid) - whole(grid)).mean() < 0.05 * whole(grid).mean()
    assert part(scores).sum() == pytest.approx(responded.sum(), rel=0.06)  # four standard errors of 4,000 others
    assert (part.exposures, part.responses) == (whole.exposures, whole.responses)
    assert part.channels == pytest.approx(whole.channels, rel=0.02)
    unweighted = ResponseCurve.fit(scores[rows], responded[rows], channels[rows].tolist())
    assert unweighted(grid).mean() > 5 * whole(grid).mean()


def test_sampled_customers_are_blocks_of_neighbours_from_all_parts_of_the_bank(tmp_path: Path) -> None:
    rows: list[Row] = [(f"c{number:04}", 50, "impression", "p1", "x") for number in range(1000)]
    dataset = write_history(tmp_path, rows)
    sample = sample_customers(dataset, 80, seed=3)
    numbers = sample["customer_id"].str.slice(1).cast(pl.Int64).to_numpy()
    blocks = sample["block"].to_numpy()
    assert len(set(numbers.tolist())) == 80
    for block in range(BLOCKS):
        mine = numbers[blocks == block]
        assert (np.diff(mine) == 1).all()
        assert block * 125 <= mine[0]
        assert mine[-1] < (block + 1) * 125
    assert sample_customers(dataset, 80, seed=3).equals(sample)
    assert not sample_customers(dataset, 80, seed=4).equals(sample)
    assert len(sample_customers(dataset, 2000, seed=3)) == 1000
    assert ContactLog(dataset, END, most=80).customers == 80
