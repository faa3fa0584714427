from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.features.pooling import decayed_sums, group_starts, normalised, orthogonal_projection, pooled_rows


def slow_sums(vectors: np.ndarray, groups: np.ndarray, times: np.ndarray, half_life: float) -> np.ndarray:
    """The definition, one row at a time: every earlier vector of the group, weighted by its age."""
    out = np.zeros_like(vectors, dtype=np.float64)
    for i in range(len(groups)):
        for j in range(i + 1):
            if groups[j] == groups[i]:
                out[i] += vectors[j].astype(np.float64) * 2.0 ** (-(times[i] - times[j]) / half_life)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_decayed_sums_random_groups_equal_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 8, 60))
    times = rng.integers(0, 1000, 60)
    order = np.lexsort((times, groups))
    vectors = rng.standard_normal((60, 5)).astype(np.float32)
    result = decayed_sums(vectors, groups[order], times[order], 100.0)
    np.testing.assert_allclose(result, slow_sums(vectors, groups[order], times[order], 100.0), rtol=1e-4, atol=1e-5)


def test_decayed_sums_no_rows_gives_no_rows() -> None:
    empty = np.zeros(0, np.int64)
    assert decayed_sums(np.zeros((0, 3), np.float32), empty, empty, 1.0).shape == (0, 3)


def test_decayed_sums_leaves_its_input_alone() -> None:
    vectors = np.ones((3, 2), np.float32)
    decayed_sums(vectors, np.zeros(3, np.int64), np.arange(3), 1.0)
    assert (vectors == 1).all()


def test_group_starts_several_groups_points_at_each_first_row() -> None:
    assert group_starts(np.array([7, 7, 2, 2, 2, 9])).tolist() == [0, 0, 2, 2, 2, 5]
    assert group_starts(np.array([], np.int64)).tolist() == []


def test_normalised_zero_row_stays_zero() -> None:
    assert normalised(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        pytest.approx([0.6, 0.8]),
        [0.0, 0.0],
    ]


def test_orthogonal_projection_is_orthonormal_and_always_the_same() -> None:
    matrix = orthogonal_projection(64, 16)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(16), atol=1e-5)
    assert (matrix == orthogonal_projection(64, 16)).all()


def test_orthogonal_projection_of_few_dimensions_changes_nothing() -> None:
    assert (orthogonal_projection(8, 128) == np.eye(8)).all()


def test_pooled_rows_one_half_life_apart_weighs_the_older_half() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {"customer_id": ["a", "a", "b"], "event_timestamp": [start, start + timedelta(days=30), start]},
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
    )
    vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    frame = pl.concat(pooled_rows(rows, vectors, timedelta(days=30), ("v", "n", "at")))
    expected = [[1.0, 0.0], [0.5 / np.hypot(0.5, 1), 1 / np.hypot(0.5, 1)], [0.0, 1.0]]
    np.testing.assert_allclose(np.array(frame["v"].to_list()), expected, rtol=1e-6)
    assert frame["n"].to_list() == [1, 2, 1]
    assert frame["at"].to_list()[1] == int((start + timedelta(days=30)).timestamp())


def test_pooled_rows_of_some_vectors_leave_the_others_out_and_are_null_before_the_first() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(days=day) for day in (0, 30, 60, 0, 1)]
    rows = pl.DataFrame(
        {"customer_id": ["a", "a", "a", "b", "b"], "event_timestamp": times},
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")},
    )
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], np.float32)
    counts = np.array([True, False, True, False, True])
    frame = pl.concat(pooled_rows(rows, vectors, timedelta(days=30), ("v", "n", "at"), counts))
    found = frame["v"].to_list()
    assert found[3] is None
    assert found[1] == [1.0, 0.0]
    np.testing.assert_allclose(found[2], np.array([0.25, 1.0]) / np.hypot(0.25, 1), rtol=1e-6)
    assert found[4] == [0.0, 1.0]
    assert frame["n"].to_list() == [1, 1, 2, 0, 1]
    seconds = [int(time.timestamp()) for time in times]
    assert frame["at"].to_list() == [seconds[0], seconds[0], seconds[2], None, seconds[4]]
