"""The loop of `linear`, compiled by numba when it is first called."""

import math

import numpy as np

from recsys.compiling import compiled

SHARPNESS = 100.0
"""Of the logarithm of a score: log(1 + SHARPNESS * score), as much below 0."""


@compiled
def add_up(
    values: np.ndarray,
    value: np.ndarray,
    log: np.ndarray,
    missing: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    out: np.ndarray,
) -> None:
    """Adds what [F, E] float32 values say to [E] `out`; the others are [F], see `linear.Curves`."""
    for feature in range(len(values)):
        straight, bent, none = value[feature], log[feature], missing[feature]
        if straight == 0 and bent == 0 and none == 0:
            continue
        for row in range(len(out)):
            if not math.isfinite(values[feature, row]):
                out[row] += none
                continue
            known = min(max(values[feature, row], low[feature]), high[feature])
            out[row] += straight * known
            if bent != 0:
                out[row] += bent * math.copysign(math.log1p(abs(known) * SHARPNESS), known)


def warm_up() -> None:
    """Compiles the loop, or reads it: whoever loads a model waits for it, not the first who asks."""
    nothing = np.zeros(0)
    add_up(np.zeros((0, 0), np.float32), *(nothing,) * 6)
