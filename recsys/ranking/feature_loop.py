"""The loops of `features`, compiled by numba: what a pair's features are made of, without an array for each step.

B customers, P products, E pairs in the order of their customers, L entries of a history, N numbers of a product.
"""

import math

import numpy as np

from recsys.compiling import compiled

DAY = 86_400_000_000
WINDOWS = (7, 30, 90)
"""Days before the instant in which a product's events are counted."""
ACTIVITY = ("count", *(f"count_{days}d" for days in WINDOWS), "age_last", "age_first", "trend")
"""What `of_activity` makes, in its order."""
CUSTOMER = ("length", "since_last", "span")
"""What `of_history` makes first."""
_NAN = np.float32(np.nan)


@compiled
def _log_seconds(micros: int) -> float:
    return math.log1p(max(micros, 0) / 1e6)


@compiled
def of_activity(
    customer: np.ndarray,
    product: np.ndarray,
    now: np.ndarray,
    start: int,
    width: int,
    cumulative: np.ndarray,
    latest: np.ndarray,
    first: np.ndarray,
    out: np.ndarray,
) -> None:
    """How often each pair's product was taken up before its instant, and how long ago, into [7, E] (`ACTIVITY`)."""
    end, bin_days = cumulative.shape[1] - 1, width / DAY
    for pair in range(len(product)):
        item, instant = product[pair], now[customer[pair]]
        place = min(max((instant - start) // width, 0), end)
        total = cumulative[item, place]
        out[0, pair] = math.log1p(total)
        for window in range(len(WINDOWS)):
            until = min(max((instant - WINDOWS[window] * DAY - start) // width, 0), end)
            out[1 + window, pair] = math.log1p(total - cumulative[item, until])
        out[4, pair] = out[5, pair] = _NAN
        if total > 0:
            days = (instant - start) / DAY
            out[4, pair] = days - latest[item, place] * bin_days
            out[5, pair] = days - first[item] * bin_days
        out[6, pair] = out[1, pair] - out[3, pair]


@compiled
def _sum_up(entries: np.ndarray, numbers: np.ndarray, mean: np.ndarray, last: np.ndarray) -> None:
    """The mean of each number over a history's products, and the number of the last, NaN where there is none."""
    final = np.int64(-1)
    for step in range(len(entries)):
        if entries[step] >= 0:
            final = entries[step]
    for number in range(len(mean)):
        total, known = 0.0, 0
        for step in range(len(entries)):
            if entries[step] >= 0 and math.isfinite(numbers[entries[step], number]):
                total += numbers[entries[step], number]
                known += 1
        mean[number] = total / known if known else math.nan
        last[number] = numbers[final, number] if final >= 0 else _NAN


@compiled
def of_history(
    customer: np.ndarray,
    product: np.ndarray,
    now: np.ndarray,
    entries: np.ndarray,
    types: np.ndarray,
    times: np.ndarray,
    length: np.ndarray,
    numbers: np.ndarray,
    out: np.ndarray,
) -> None:
    """What a customer's history says of him and of each pair's product.

    Into [3 + 3 N + T + 1, E]: `CUSTOMER`; each number with its distances from the mean and from the last of the
    history; how often he did each of T types of event with the product, and the log of the seconds since.
    """
    count = numbers.shape[1]
    own = len(CUSTOMER) + 3 * count
    mean, last = np.empty(count), np.empty(count, np.float32)
    since, span, row = math.nan, math.nan, np.int64(-1)
    out[own:] = 0
    for pair in range(len(product)):
        item = product[pair]
        if customer[pair] != row:
            row = customer[pair]
            mine, steps = entries[row, : length[row]], length[row]
            _sum_up(mine, numbers, mean, last)
            since = span = math.nan
            if steps:
                since = _log_seconds(now[row] - times[row, steps - 1])
                span = _log_seconds(times[row, steps - 1] - times[row, 0])
        out[0, pair], out[1, pair], out[2, pair] = length[row], since, span
        for number in range(count):
            value = numbers[item, number]
            out[3 + 3 * number, pair] = value
            out[4 + 3 * number, pair] = value - mean[number]
            out[5 + 3 * number, pair] = value - last[number]
        latest = np.int64(0)
        for step in range(length[row]):
            if entries[row, step] == item:
                latest = max(latest, times[row, step])
                if types[row, step] > 0:
                    out[own + types[row, step] - 1, pair] += 1
        out[len(out) - 1, pair] = _log_seconds(now[row] - latest) if latest > 0 else math.nan


@compiled
def of_ranks(scores: np.ndarray, row: np.ndarray, product: np.ndarray, out: np.ndarray) -> None:
    """The log of each pair's place, from 0, in its row of [B, P] scores, into [E]; of equal ones the earlier is first.

    Only the pairs are sorted, as long as their products ascend: each product of the row is then put between them.
    """
    begin = 0
    while begin < len(product):
        end = begin + 1
        while end < len(product) and row[end] == row[begin] and product[end] > product[end - 1]:
            end += 1
        mine, items = scores[row[begin]], product[begin:end]
        order = np.arange(len(items))
        for at in range(1, len(items)):  # there are few, and their products come in order
            while at and mine[items[order[at - 1]]] < mine[items[order[at]]]:
                order[at - 1], order[at] = order[at], order[at - 1]
                at -= 1
        beaten = np.zeros(len(items), np.int64)
        for item in range(len(mine)):
            low, high = 0, len(items)
            while low < high:  # the best of the pairs that this product comes before
                middle = (low + high) // 2
                other = items[order[middle]]
                if mine[item] > mine[other] or (mine[item] == mine[other] and item < other):
                    high = middle
                else:
                    low = middle + 1
            if low < len(items):
                beaten[low] += 1
        place = 0
        for at in range(len(items)):
            place += beaten[at]
            out[begin + order[at]] = math.log1p(place)
        begin = end


def warm_up() -> None:
    """Compiles the loops, or reads them: whoever loads a model waits for it, not the first who asks."""
    place, table, row = np.zeros(0, np.int64), np.zeros((0, 0), np.int64), np.zeros(0, np.float32)
    numbers = np.zeros((0, 0), np.float32)
    of_activity(place, place, place, 0, DAY, np.zeros((0, 1), np.float32), table, place, np.zeros((7, 0), np.float32))
    of_history(place, place, place, table, table, table, place, numbers, np.zeros((4, 0), np.float32))
    of_ranks(numbers, place, place, row)
