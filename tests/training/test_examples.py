"""Labels, windows and masks, on events small enough to check by eye."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.data.splits import Part
from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from training.examples import ANCHOR, ROW_ID, Labels, Ragged, TrainingSet, locate_labels, select_labels

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_parts(lengths: dict[str, int], held_out: int = 0) -> pl.DataFrame:
    rows = [
        {
            "customer_id": customer,
            "event_id": f"{customer}{index}",
            "order_timestamp": START + timedelta(minutes=index),
            "part": "test" if index >= length - held_out else "train",
        }
        for customer, length in lengths.items()
        for index in range(length)
    ]
    return pl.DataFrame(rows, schema_overrides={"order_timestamp": pl.Datetime("us", "UTC")})


def test_select_labels_shares_windows_of_at_most_stride_labels() -> None:
    labels = select_labels(make_parts({"a": 7, "b": 2}), (Part.TRAIN,), stride=3)
    assert labels[ROW_ID].to_list() == list(range(9))
    assert labels[ANCHOR].to_list() == [0, 3, 3, 3, 6, 6, 6, 8, 8]


def test_select_labels_reads_features_strictly_before_the_event() -> None:
    labels = select_labels(make_parts({"a": 3}), (Part.TRAIN,), stride=3)
    assert ((labels["order_timestamp"] - labels["event_timestamp"]) == timedelta(microseconds=1)).all()


def test_select_labels_with_a_lead_reads_before_the_first_touch_within_it() -> None:
    """Product x on days 0, 20, 22 and y on day 21, looking 5 days ahead: day 22 is read as of day 20."""
    days, products = [0, 20, 21, 22], ["x", "x", "y", "x"]
    parts = make_parts({"a": 4}).with_columns(
        order_timestamp=pl.Series([START + timedelta(days=day) for day in days], dtype=pl.Datetime("us", "UTC")),
        product_id=pl.Series(products),
    )
    labels = select_labels(parts, (Part.TRAIN,), stride=3, lead=timedelta(days=5))
    read = [START + timedelta(days=day) - timedelta(microseconds=1) for day in (0, 20, 21, 20)]
    assert labels["event_timestamp"].to_list() == read


def test_read_at_cuts_histories_and_drops_what_the_window_does_not_reach() -> None:
    times = np.array([[10, 20, 30], [10, 20, 0]])
    windows = HistoryArrays(*[np.zeros((2, 3), np.int64)] * 3, times, np.array([3, 2]))
    zeros = np.zeros(4, np.int64)
    window, position = np.array([0, 0, 0, 1]), np.array([3, 2, 3, 2])
    labels = Labels(np.arange(4), zeros, np.ones(4, np.float32), zeros, zeros, window, position, zeros)
    read = labels.read_at(np.array([25, 15, 5, 5]), windows)
    assert read.product.tolist() == [0, 1, 3]  # the third reaches back beyond a full window
    assert read.position.tolist() == [2, 1, 0]


def test_select_labels_leaves_the_other_parts_out() -> None:
    labels = select_labels(make_parts({"a": 5}, held_out=2), (Part.TRAIN,), stride=10)
    assert labels["event_id"].to_list() == ["a0", "a1", "a2"]


def test_locate_labels_finds_each_label_behind_exactly_its_own_past() -> None:
    """The state before a label is that of the events before it, wherever the window begins."""
    labels = select_labels(make_parts({"a": 7}), (Part.TRAIN,), stride=3)
    kept = 5  # history length
    anchors = labels.filter(pl.col(ROW_ID) == pl.col(ANCHOR)).select(ROW_ID)
    histories = [[f"a{i}" for i in range(max(0, row - kept), row)] for row in anchors[ROW_ID].to_list()]
    anchors = anchors.with_columns(event_ids=pl.Series(histories, dtype=pl.List(pl.String)))
    places = locate_labels(labels, anchors)
    assert places[ROW_ID].to_list() == list(range(7))
    for row, window, position in places.iter_rows():
        past = histories[window][:position]
        assert past == [f"a{i}" for i in range(row)][-len(past) :] if past else row == 0
        assert len(past) >= min(row, kept - 2)


def test_locate_labels_where_a_history_is_empty_places_the_first_label_at_the_start() -> None:
    labels = select_labels(make_parts({"a": 1}), (Part.TRAIN,), stride=3)
    anchors = pl.DataFrame({ROW_ID: [0], "event_ids": [None]}, schema_overrides={"event_ids": pl.List(pl.String)})
    assert locate_labels(labels, anchors).rows() == [(0, 0, 0)]


def test_ragged_groups_distinct_pairs_and_masks_them() -> None:
    ragged = Ragged.group(np.array([1, 0, 1, 1, 2]), np.array([3, 2, 3, 0, -1]), 3)
    assert [ragged[owner].tolist() for owner in range(3)] == [[2], [0, 3], []]
    expected = [[True, False, False, True], [False] * 4, [True, False, False, True]]
    assert ragged.mask(np.array([1, 2, 1]), 4).tolist() == expected


@pytest.mark.parametrize("size", [1, 4, 100])
def test_batches_hold_every_label_once_and_no_window_twice(size: int) -> None:
    windows = np.repeat(np.arange(6), [1, 3, 2, 4, 0, 5])
    n = len(windows)
    zeros = np.zeros(n, np.int64)
    labels = Labels(zeros, zeros, np.ones(n, np.float32), zeros, zeros, windows, zeros, zeros)
    history = HistoryArrays(*[np.zeros((6, 2), np.int64)] * 4, np.zeros(6, np.int64))
    columns = EntityRows(np.zeros((1, 0), np.int64), np.zeros((1, 0, 8), np.int64), {}, {}, np.zeros((1, 0), bool))
    training = TrainingSet(labels, columns, history, Ragged(np.zeros(2, np.int64), zeros[:0]), np.ones(1), np.ones(0))
    batches = list(training.batches(size, np.random.default_rng(0)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    seen = [set(windows[batch].tolist()) for batch in batches]
    assert sum(len(group) for group in seen) == len(set().union(*seen))
