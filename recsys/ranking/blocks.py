"""Many customers in blocks, side by side: each block as it would be alone."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from threadpoolctl import threadpool_limits

AT_ONCE: Final = 512
"""Customers of a block: bounds the memory of scores of every product."""
_MOST_THREADS: Final = 8
"""Each holds a block's features, about 100 MB."""


def in_blocks(count: int, block: Callable[[slice], None]) -> None:
    """Calls `block` with ranges that together are all of `count` customers; where there are several, in threads.

    numpy and the compiled loops let go of the interpreter.
    """
    ranges = [slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    if len(ranges) <= 1:
        for rows in ranges:
            block(rows)
        return
    threads = min(len(ranges), os.cpu_count() or 1, _MOST_THREADS)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:  # else each block wants every core
        list(pool.map(block, ranges))
