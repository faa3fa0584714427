"""Counts and ages against a loop over the events."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.activity import Activity
from tests.ranking.worlds import DAY, NOW

PRODUCTS = 4
MOST_BINS = 512

events = st.lists(
    st.tuples(st.integers(0, PRODUCTS - 1), st.integers(0, 40 * DAY)), min_size=1, max_size=30
)  # product, µs since NOW
asked = st.tuples(st.integers(0, PRODUCTS - 1), st.integers(-5 * DAY, 60 * DAY))


def fit(drawn: list[tuple[int, int]]) -> tuple[Activity, np.ndarray, np.ndarray]:
    product = np.array([row for row, _ in drawn], np.int64)
    time = NOW + np.array([offset for _, offset in drawn], np.int64)
    return Activity.fit(product, time, PRODUCTS), product, time


def passed_bins_end(activity: Activity, instant: int) -> int:
    """Where the last whole bin before the instant ends."""
    return activity.start + (instant - activity.start) // activity.width * activity.width


@given(drawn=events, question=asked)
def test_before_equals_a_naive_count_over_whole_bins(drawn: list[tuple[int, int]], question: tuple[int, int]) -> None:
    activity, product, time = fit(drawn)
    row, instant = question[0], NOW + question[1]
    expected = np.sum((product == row) & (time < passed_bins_end(activity, instant)))
    assert activity.before(np.array([row]), np.array([instant])) == [expected]


@given(drawn=events, question=asked)
def test_before_never_counts_an_event_at_or_after_the_instant(
    drawn: list[tuple[int, int]], question: tuple[int, int]
) -> None:
    activity, product, time = fit(drawn)
    row = question[0]
    for instant in (NOW + question[1], int(time[0]), int(time.max())):  # and just when something happens
        counted = activity.before(np.array([row]), np.array([instant]))
        assert counted <= np.sum((product == row) & (time < instant))


@given(drawn=events, question=asked)
def test_ages_are_those_of_the_ends_of_the_bins(drawn: list[tuple[int, int]], question: tuple[int, int]) -> None:
    activity, product, time = fit(drawn)
    row, instant = question[0], NOW + question[1]
    mine = time[(product == row) & (time < passed_bins_end(activity, instant))]
    last, first = activity.ages(np.array([row]), np.array([instant]))
    if not len(mine):
        assert np.isnan(last)
        assert np.isnan(first)
        return
    ends = activity.start + ((mine - activity.start) // activity.width + 1) * activity.width
    np.testing.assert_allclose([last[0], first[0]], [(instant - ends.max()) / DAY, (instant - ends.min()) / DAY])
    assert 0 <= last[0] <= first[0]


def test_before_after_everything_counts_all() -> None:
    activity, product, _ = fit([(0, 0), (0, 3), (1, 17 * DAY), (3, 40 * DAY)])
    later = np.full(PRODUCTS, NOW + 1000 * DAY)
    assert activity.before(np.arange(PRODUCTS), later).tolist() == np.bincount(product, minlength=PRODUCTS).tolist()


def test_bins_of_a_short_span_are_days_and_of_a_long_one_bounded() -> None:
    for days in (1, 100, MOST_BINS, MOST_BINS + 1, 40_000):
        time = NOW + np.array([0, days * DAY - 1])
        activity = Activity.fit(np.array([0, 1]), time, PRODUCTS)
        bins = activity.cumulative.shape[1] - 1
        assert bins <= MOST_BINS
        assert activity.width == DAY * -(-days // MOST_BINS)
        assert activity.cumulative[:, -1].tolist() == [1, 1, 0, 0]


def test_no_events_count_nothing_and_have_no_age() -> None:
    nothing = np.zeros(0, np.int64)
    activity = Activity.fit(nothing, nothing, PRODUCTS)
    rows, instants = np.arange(PRODUCTS), np.full(PRODUCTS, NOW)
    assert activity.before(rows, instants).tolist() == [0.0] * PRODUCTS
    assert np.isnan(activity.ages(rows, instants)).all()
