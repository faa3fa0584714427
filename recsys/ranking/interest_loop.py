"""The loops of `interest` and `affinity`, compiled by numba: what is seen of customers, without many small arrays.

B customers, L entries of a history, T types of event, G labels, D dimensions, K directions.
"""

import numpy as np

from recsys.compiling import compiled

FADES_DAYS = 20.0
"""An entry of the history counts for `exp(-age / FADES_DAYS)` in what the customer did near a product."""
_DAY = 86_400_000_000


@compiled
def of_labels(
    entries: np.ndarray,
    types: np.ndarray,
    times: np.ndarray,
    length: np.ndarray,
    now: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    out: np.ndarray,
) -> None:
    """How much of each type of event was done lately with products of each label, added to [T, B, G]."""
    for row in range(len(length)):
        for step in range(length[row]):
            product, kind = entries[row, step], types[row, step] - 1
            if product >= 0 and kind >= 0:
                weight = np.float32(np.exp(-((now[row] - times[row, step]) / _DAY) / FADES_DAYS))
                for at in range(indptr[product], indptr[product + 1]):
                    out[kind, row, indices[at]] += weight * data[at]


@compiled
def of_embedding(vectors: np.ndarray, mean: np.ndarray, out: np.ndarray) -> None:
    """[B, D] centred and of unit length; zeros where the embedding is missing, which is all zeros."""
    for row in range(len(vectors)):
        size, square = np.float32(0), np.float32(0)
        for place in range(len(mean)):
            size += abs(vectors[row, place])
            centred = vectors[row, place] - mean[place]
            square += centred * centred
            out[row, place] = centred
        length = max(np.sqrt(square), np.float32(1e-9))
        for place in range(len(mean)):
            out[row, place] = out[row, place] / length if size > 0 else np.float32(0)


@compiled
def of_group(
    present: np.ndarray,
    numeric: np.ndarray,
    codes: np.ndarray,
    sizes: np.ndarray,
    reduced: np.ndarray,
    scale: float,
    out: np.ndarray,
) -> None:
    """A group's columns for a bilinear model, into [B, D]; zeros where the group is missing.

    That it is there, its numbers ([B, 2 F], a flag behind each), its categories one by one ([B, C] codes of `sizes`
    categories each, 0 = none), and `scale` times its embedding's directions ([B, K], NaN = missing).
    """
    out[:] = 0
    for row in range(len(out)):
        if not present[row]:
            continue
        out[row, 0], at = 1, 1
        for number in range(numeric.shape[1] // 2):
            out[row, at + number] = numeric[row, 2 * number]
        at += numeric.shape[1] // 2
        for column in range(len(sizes)):
            if codes[row, column] > 0:
                out[row, at + codes[row, column] - 1] = 1
            at += sizes[column]
        for direction in range(reduced.shape[1]):
            value = reduced[row, direction]
            out[row, at + direction] = value * scale if value == value else 0


def warm_up() -> None:
    """Compiles the loops, or reads them: whoever loads a model waits for it, not the first who asks."""
    table, row = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)
    single, values = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
    of_labels(table, table, table, row, row, row, row.astype(np.int32), single, np.zeros((0, 0, 0), np.float32))
    of_embedding(values, single, values)
    of_group(np.zeros(0, bool), values, table, row, values, np.float32(1), values)
