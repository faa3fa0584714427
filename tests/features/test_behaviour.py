from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.features.activity import ordered_events
from recsys.features.behaviour import behaviour_rows, count_name
from recsys.features.plan import CustomerRange, Sources

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = (7, 30)


def events_of(rows: list[tuple[str, datetime, str]]) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "event_timestamp": pl.Datetime("us", "UTC"), "event_type": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize("seed", range(3))
def test_behaviour_random_events_equal_a_slow_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = sorted(
        {
            (f"c{rng.integers(6)}", START + timedelta(hours=int(rng.integers(0, 2400)))): str(rng.choice(["a", "b"]))
            for _ in range(300)
        }.items()
    )
    events = events_of([(id_, time, kind) for (id_, time), kind in rows])
    result = behaviour_rows(events, ["a", "b"], ["b"], WINDOWS).to_dicts()
    assert len(result) == len(rows)
    for place, ((id_, time), _) in enumerate(rows):
        before = [(t, kind) for (other, t), kind in rows[: place + 1] if other == id_]
        for days in WINDOWS:
            for name in ("a", "b"):
                expected = sum(kind == name and t > time - timedelta(days=days) for t, kind in before)
                assert result[place][count_name(name, days)] == expected
        positives = [int(t.timestamp()) for t, kind in before if kind == "b"]
        assert result[place]["n_total"] == len(before)
        assert result[place]["last_event_at"] == int(time.timestamp())
        assert result[place]["last_positive_at"] == (positives[-1] if positives else None)


def test_behaviour_event_exactly_one_window_old_is_out() -> None:
    events = events_of(
        [
            ("a", START, "x"),
            ("a", START + timedelta(days=7) - timedelta(microseconds=1), "x"),
            ("b", START, "x"),
            ("b", START + timedelta(days=7), "x"),
        ]
    )
    assert behaviour_rows(events, ["x"], [], (7,))["n_x_7d"].to_list() == [1, 2, 1, 1]


def test_behaviour_types_that_read_alike_are_counted_together() -> None:
    events = events_of([("a", START, "Add to cart"), ("a", START + timedelta(1), "add-to-cart")])
    assert behaviour_rows(events, ["Add to cart", "add-to-cart"], [], (7,))["n_add_to_cart_7d"].to_list() == [1, 2]


def test_ordered_events_tied_times_are_strictly_increasing(bank: Dataset, sources: Sources) -> None:
    events = ordered_events(sources, CustomerRange())
    gaps = events.select(pl.col("event_timestamp").diff().over("customer_id").drop_nulls().min()).item()
    assert gaps == timedelta(microseconds=1)
