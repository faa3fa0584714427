from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.data.splits import order_timestamps
from recsys.errors import FeatureError
from recsys.features.behaviour import behaviour_rows
from recsys.features.build import BuildReport
from recsys.features.history import history_rows
from recsys.features.updates import (
    EventUpdate,
    apply_event_to_behaviour,
    apply_event_to_history,
    empty_behaviour,
    empty_history,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ("view", "click", "impression")
LENGTH = 6


def draw(seed: int, n: int = 40, *, ties: bool) -> list[EventUpdate]:
    """Events of one customer within a week, in the order of their times."""
    rng = np.random.default_rng(seed)
    minutes = rng.integers(0, 60, n) if ties else rng.permutation(n)
    events = [
        EventUpdate(
            event_id=f"e{number:03}",
            event_timestamp=START + timedelta(minutes=int(minute)),
            event_type=str(rng.choice(TYPES)),
            product_id=None if rng.random() < 0.2 else f"p{rng.integers(5)}",
            content_id=None if rng.random() < 0.5 else f"k{rng.integers(5)}",
        )
        for number, minute in enumerate(minutes)
    ]
    events = [event._replace(positive=event.event_type == "click") for event in events]
    return sorted(events, key=lambda event: (event.event_timestamp, event.event_id))


def ordered(events: list[EventUpdate]) -> pl.DataFrame:
    schema = {"event_timestamp": pl.Datetime("us", "UTC"), "product_id": pl.String, "content_id": pl.String}
    frame = pl.DataFrame(events, schema_overrides=schema).with_columns(customer_id=pl.lit("a"))
    return order_timestamps(frame.lazy()).with_columns(event_timestamp="order_timestamp").collect()


def nightly_history(events: list[EventUpdate]) -> dict[str, object]:
    rows = ordered(events).filter(pl.col("event_type") != "impression")
    assert rows["positive"].any()
    return pl.concat(history_rows(rows, LENGTH)).row(-1, named=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shuffled", [False, True])
def test_history_update_event_by_event_equals_the_build(seed: int, shuffled: bool) -> None:
    events = draw(seed, ties=False)
    arrivals = list(np.random.default_rng(seed).permutation(len(events))) if shuffled else range(len(events))
    row = empty_history("a")
    for place in arrivals:
        row = apply_event_to_history(row, events[place], LENGTH)
    expected = nightly_history(events)
    assert set(row.pop("products_ever")) == set(expected.pop("products_ever"))  # late ones come last
    assert row == expected


def test_history_update_an_old_event_counts_among_the_products_ever() -> None:
    row = empty_history("a")
    for number in range(LENGTH):
        event = EventUpdate(f"e{number}", START + timedelta(minutes=number), "click", "p1", positive=True)
        row = apply_event_to_history(row, event, LENGTH)
    old = EventUpdate("old", START - timedelta(days=9), "click", "p9", positive=True)
    late = apply_event_to_history(row, old, LENGTH)
    assert late == {**row, "products_ever": ["p1", "p9"]}
    assert apply_event_to_history(late, old, LENGTH) is late
    assert apply_event_to_history(late, old._replace(product_id="p8", positive=False), LENGTH) is late


@pytest.mark.parametrize("seed", range(5))
def test_history_update_tied_events_are_in_the_builds_order(seed: int) -> None:
    events = [event for event in draw(seed, ties=True) if event.event_type != "impression"]
    row = empty_history("a")
    for event in events:
        row = apply_event_to_history(row, event, LENGTH)
    assert row == nightly_history(events)


def test_history_update_same_event_again_changes_nothing() -> None:
    row = empty_history("a")
    for event in [*draw(1, ties=False)] * 2:
        before = row
        row = apply_event_to_history(row, event, 100)
    assert row is before
    assert len(row["event_ids"]) == len(set(row["event_ids"]))


def test_history_update_older_than_a_full_history_changes_nothing() -> None:
    row = empty_history("a")
    for event in draw(1, ties=False):
        row = apply_event_to_history(row, event, LENGTH)
    late = EventUpdate("late", START - timedelta(days=1), "click", "p")
    assert apply_event_to_history(row, late, LENGTH) is row


def test_history_update_leaves_the_given_row_alone() -> None:
    row = empty_history("a")
    apply_event_to_history(row, EventUpdate("e", START, "click", "p"), LENGTH)
    assert row == empty_history("a")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shuffled", [False, True])
def test_behaviour_update_event_by_event_equals_the_build(built: BuildReport, seed: int, shuffled: bool) -> None:
    events = draw(seed, ties=False)
    view = built.manifest.view("customer_behaviour")
    row = empty_behaviour("a", view)
    arrivals = np.random.default_rng(seed).permutation(len(events)) if shuffled else range(len(events))
    for place in arrivals:
        row = apply_event_to_behaviour(row, events[place], (7, 30, 90))
    expected = behaviour_rows(ordered(events), TYPES, ["click"], (7, 30, 90)).row(-1, named=True)
    assert {name: row[name] for name in expected} == expected


def test_behaviour_update_late_event_counts_only_where_it_falls(built: BuildReport) -> None:
    row = empty_behaviour("a", built.manifest.view("customer_behaviour"))
    row = apply_event_to_behaviour(row, EventUpdate("e1", START, "click", positive=True), (7, 30, 90))
    late = EventUpdate("e0", START - timedelta(days=10), "click", positive=True)
    row = apply_event_to_behaviour(row, late, (7, 30, 90))
    assert [row[f"n_click_{days}d"] for days in (7, 30, 90)] == [1.0, 2.0, 2.0]
    assert row["n_total"] == 2.0
    assert row["last_event_at"] == row["last_positive_at"] == int(START.timestamp())
    assert row["event_timestamp"] == START


def test_behaviour_update_type_without_a_column_counts_in_the_total(built: BuildReport) -> None:
    row = empty_behaviour("a", built.manifest.view("customer_behaviour"))
    after = apply_event_to_behaviour(row, EventUpdate("e", START, "share"), (7, 30, 90))
    assert after["n_total"] == 1.0
    assert after.keys() == row.keys()


def test_update_time_without_zone_is_refused(built: BuildReport) -> None:
    event = EventUpdate("e", datetime(2026, 1, 1), "click")
    with pytest.raises(FeatureError, match="no time zone"):
        apply_event_to_history(empty_history("a"), event, LENGTH)
    with pytest.raises(FeatureError, match="no time zone"):
        apply_event_to_behaviour(empty_behaviour("a", built.manifest.view("customer_behaviour")), event, (7,))
