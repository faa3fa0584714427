from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.contract import Dataset
from recsys.data.splits import Part, assign_parts, order_timestamps, resolve_split
from recsys.errors import DatasetError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def make_events(rows):
    frame = pl.DataFrame(
        {
            "event_id": [f"e{number:03d}" for number in range(len(rows))],
            "customer_id": [customer for customer, _ in rows],
            "event_timestamp": [NOON + micros * MICRO for _, micros in rows],
            "event_type": ["click"] * len(rows),
            "product_id": ["p"] * len(rows),
        }
    )
    return frame.with_columns(pl.col("event_timestamp").dt.cast_time_unit("us"))


def slow_order(rows):
    """The definition, one event at a time: o[i] = max(t[i], o[i-1] + 1 us)."""
    result, last = {}, {}
    for number, (customer, micros) in sorted(enumerate(rows), key=lambda item: (item[1][1], f"e{item[0]:03d}")):
        last[customer] = max(micros, last[customer] + 1) if customer in last else micros
        result[f"e{number:03d}"] = NOON + last[customer] * MICRO
    return result


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), min_size=1, max_size=40))
def test_order_timestamps_any_ties_equals_the_definition(rows):
    ordered = order_timestamps(make_events(rows).sample(fraction=1.0, shuffle=True, seed=1).lazy()).collect()
    assert dict(ordered.select("event_id", "order_timestamp").iter_rows()) == slow_order(rows)
    steps = ordered.select(pl.col("order_timestamp").diff().over("customer_id").drop_nulls().dt.total_microseconds())
    assert (steps.to_series() >= 1).all()


def test_order_timestamps_streaming_engine_agrees():
    generator = np.random.default_rng(0)
    rows = list(zip(generator.choice(list("abcdef"), 3000), generator.integers(0, 900, 3000).tolist(), strict=True))
    events = order_timestamps(make_events(rows).lazy())
    assert events.collect(engine="streaming").sort("event_id").equals(events.collect().sort("event_id"))


def test_assign_parts_leave_last_out_takes_the_last_two_and_spares_short_histories(tiny):
    rows = [("a", 0), ("a", 5), ("a", 5), ("a", 5), ("b", 1), ("b", 2), ("b", 3), ("c", 1), ("c", 2)]
    tiny.write("events", make_events(rows))
    tiny.configure(split={"kind": "leave_last_out"})
    parts = assign_parts(Dataset.open(tiny.path)).collect().sort("event_id")["part"].to_list()
    train, validation, test = Part
    assert parts == [train, train, validation, test, train, validation, test, train, train]


def test_assign_parts_counts_positives_only_but_orders_among_all_events(tiny):
    events = make_events([("a", 0), ("a", 0), ("a", 0), ("a", 0), ("a", 0)])
    types = pl.Series("event_type", ["click", "impression", "click", "click", "impression"])
    tiny.write("events", events.with_columns(types))
    tiny.configure(split={"kind": "leave_last_out"})
    parts = assign_parts(Dataset.open(tiny.path)).collect().sort("order_timestamp")
    assert parts["part"].to_list() == [Part.TRAIN, Part.VALIDATION, Part.TEST]
    assert parts["order_timestamp"].to_list() == [NOON, NOON + 2 * MICRO, NOON + 3 * MICRO]


def test_assign_parts_global_time_start_belongs_to_its_part(tiny):
    tiny.write("events", make_events([("a", 0), ("a", 1), ("b", 2), ("b", 3)]))
    starts = {"validation_start": (NOON + MICRO).isoformat(), "test_start": (NOON + 3 * MICRO).isoformat()}
    tiny.configure(split=starts)
    parts = assign_parts(Dataset.open(tiny.path)).collect().sort("event_id")["part"].to_list()
    assert parts == [Part.TRAIN, Part.VALIDATION, Part.VALIDATION, Part.TEST]


def test_resolve_split_no_times_gives_eighty_and_ninety_percent_of_positives(tiny):
    tiny.write("events", make_events([("a", micros) for micros in range(100)]))
    dataset = Dataset.open(tiny.path)
    sizes = dict(assign_parts(dataset).collect()["part"].value_counts().iter_rows())
    assert sizes == {Part.TRAIN: 80, Part.VALIDATION: 10, Part.TEST: 10}
    assert resolve_split(dataset).test_start == NOON + 90 * MICRO


def test_resolve_split_no_positives_or_contradiction_is_refused(tiny):
    tiny.write("events", make_events([("a", micros) for micros in range(10)]))
    tiny.configure(split={"test_start": NOON.isoformat()})
    with pytest.raises(DatasetError, match="give both times"):
        resolve_split(Dataset.open(tiny.path))
    tiny.configure(split=None, event_weights={"apply": 1.0})
    with pytest.raises(DatasetError, match="no positive event"):
        resolve_split(Dataset.open(tiny.path))
