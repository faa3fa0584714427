"""Recency-weighted pooling of a customer's vectors. Letters: N rows, D dimensions."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from recsys.features.attributes import vector_rows
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP

_CHUNK_ROWS = 50_000


def group_starts(groups: np.ndarray) -> np.ndarray:
    """Index of the first row of each row's group, [N] int64, for rows sorted by group.

    >>> group_starts(np.array(["a", "a", "b"])).tolist()
    [0, 0, 2]
    """
    if not len(groups):
        return np.zeros(0, np.int64)
    first = np.concatenate([[True], groups[1:] != groups[:-1]])
    return np.maximum.accumulate(np.where(first, np.arange(len(groups)), 0))


def decayed_sums(vectors: np.ndarray, groups: np.ndarray, times: np.ndarray, half_life: float) -> np.ndarray:
    """Exponentially decayed running sums: `p[i] = p[i-1] * 2**(-(t[i] - t[i-1]) / half_life) + e[i]` per group.

    The loop runs over the position within a group, all groups at once, so its length is that of the longest group.

    Args:
        vectors: [N, D] float32, `e`.
        groups: [N], rows of one group together.
        times: [N] int64, not decreasing within a group; any unit.
        half_life: above 0, in the unit of `times`.

    Returns:
        [N, D] float32, the sum after each row.
    """
    sums = vectors.astype(np.float32, copy=True)
    rank = np.arange(len(groups)) - group_starts(groups)
    order = np.argsort(rank, kind="stable")
    bounds = np.searchsorted(rank[order], np.arange(1, rank.max(initial=0) + 2))
    for start, end in pairwise(bounds):
        rows = order[start:end]
        decay = np.exp2(-(times[rows] - times[rows - 1]) / half_life).astype(np.float32)
        sums[rows] += sums[rows - 1] * decay[:, None]
    return sums


def pooled_rows(
    rows: pl.DataFrame,
    vectors: np.ndarray,
    half_life: timedelta,
    names: tuple[str, str, str],
    counts: np.ndarray | None = None,
) -> Iterator[pl.DataFrame]:
    """The recency-weighted mean direction, the count and the time of the last, after each of N vectors.

    Args:
        rows: [N] customer_id, event_timestamp, sorted by both.
        vectors: [N, D] float32.
        half_life: after so long a vector counts half.
        names: the columns of the vector, the count and the time (epoch seconds).
        counts: [N] bool, which vectors are pooled; None: all. Where there was none yet, the vector and the time are
            null.
    """
    groups = rows[CUSTOMER_ID].rle_id().to_numpy()
    times = rows[EVENT_TIMESTAMP].dt.epoch("us").to_numpy()
    counted = np.ones(len(groups), bool) if counts is None else counts
    sums = decayed_sums(vectors * counted[:, None], groups, times, half_life / timedelta(microseconds=1))
    pooled = normalised(sums)
    so_far = np.cumsum(counted)
    number = so_far - (so_far - counted)[group_starts(groups)]
    last = np.maximum.accumulate(np.where(counted, np.arange(len(groups)), 0))
    seconds = rows[EVENT_TIMESTAMP].dt.epoch("s")
    some = pl.Series(number > 0)
    for first in range(0, len(groups), _CHUNK_ROWS):
        part = slice(first, first + _CHUNK_ROWS)
        yield rows[part].select(
            CUSTOMER_ID,
            EVENT_TIMESTAMP,
            pl.when(some[part]).then(vector_rows(names[0], pooled[part])).alias(names[0]),
            pl.Series(names[1], number[part]),
            pl.when(some[part]).then(seconds.gather(last[part])).alias(names[2]),
        )


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, [N, D] float32; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def orthogonal_projection(dim: int, target: int, seed: int = 0) -> np.ndarray:
    """A fixed [dim, min(dim, target)] float32 matrix with orthonormal columns; the identity where nothing shrinks.

    Random projections keep angles roughly (Johnson and Lindenstrauss 1984).
    """
    if dim <= target:
        return np.eye(dim, dtype=np.float32)
    gaussian = np.random.default_rng(seed).standard_normal((dim, target))
    columns, upper = np.linalg.qr(gaussian)
    return (columns * np.sign(np.diag(upper))).astype(np.float32)
