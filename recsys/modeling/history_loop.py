"""The history encoder for a few histories that share their beginnings, compiled by numba.

Explanations ask about one history without some of its entries. The encoder is causal: the state after an entry depends
on nothing that comes later. So what a history has in common with the first one, from the start, is worked out once.

U histories, T entries at most, R places that are worked out, D dimension, H heads, N layers.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from recsys.compiling import compiled

_SECOND = 1_000_000
reordered = partial(compiled, reordered=True)


class Layers(NamedTuple):
    """The weights of all layers: [N, ...], transposed where they multiply from the right."""

    attention_scale: np.ndarray
    attention_shift: np.ndarray
    """[N, D]: the normalisation before attention."""
    qkv: np.ndarray
    """[N, D, 3 D]"""
    qkv_shift: np.ndarray
    project: np.ndarray
    project_shift: np.ndarray
    feed_scale: np.ndarray
    feed_shift: np.ndarray
    """[N, D]: the normalisation before the feed-forward network."""
    widen: np.ndarray
    """[N, D, 2 D]"""
    widen_shift: np.ndarray
    narrow: np.ndarray
    narrow_shift: np.ndarray


class Entries(NamedTuple):
    """U histories."""

    product: np.ndarray
    """[U, T] int64; -1 = none."""
    content: np.ndarray
    event_type: np.ndarray
    timestamp: np.ndarray
    length: np.ndarray
    """[U] int64."""


class Vectors(NamedTuple):
    """What entries are made of; the last row of products and contents is zeros."""

    products: np.ndarray
    contents: np.ndarray
    event_types: np.ndarray
    start: np.ndarray
    """[D]: what stands before the first entry."""


class Bias(NamedTuple):
    """What attention adds."""

    distance: np.ndarray
    """[H, T + 1], by the number of entries between two."""
    time: np.ndarray
    """[H, buckets], by the time between them."""


@compiled
def place(entries: Entries, vectors: Vectors, rows: np.ndarray, x: np.ndarray) -> int:
    """Says which of the R places each history's states are at, into [U, T + 1], and puts the entries there, [R, D].

    Returns:
        How many places there are.
    """
    count = 0
    for one in range(len(entries.length)):
        common = True
        for step in range(entries.length[one] + 1):
            if one > 0 and common and step > 0:
                at = step - 1
                common = (
                    at < entries.length[0]
                    and entries.product[one, at] == entries.product[0, at]
                    and entries.content[one, at] == entries.content[0, at]
                    and entries.event_type[one, at] == entries.event_type[0, at]
                    and entries.timestamp[one, at] == entries.timestamp[0, at]
                )
            if one > 0 and common:
                rows[one, step] = step
                continue
            rows[one, step] = count
            for d in range(x.shape[1]):
                if step == 0:
                    x[count, d] = vectors.start[d]
                else:
                    value = vectors.products[entries.product[one, step - 1], d]
                    value += vectors.event_types[entries.event_type[one, step - 1], d]
                    x[count, d] = value + vectors.contents[entries.content[one, step - 1], d]
            count += 1
    return count


@reordered
def _normalise(x: np.ndarray, scale: np.ndarray, shift: np.ndarray, epsilon: float, out: np.ndarray) -> None:
    for row in range(len(x)):
        mean = np.float32(0)
        for d in range(x.shape[1]):
            mean += x[row, d]
        mean /= np.float32(x.shape[1])
        spread = np.float32(0)
        for d in range(x.shape[1]):
            spread += (x[row, d] - mean) * (x[row, d] - mean)
        spread = np.float32(1) / np.sqrt(spread / np.float32(x.shape[1]) + np.float32(epsilon))
        for d in range(x.shape[1]):
            out[row, d] = (x[row, d] - mean) * spread * scale[d] + shift[d]


@reordered
def _attend(
    query: np.ndarray,
    keys: np.ndarray,
    rows: np.ndarray,
    times: np.ndarray,
    bias: Bias,
    scores: np.ndarray,
    out: np.ndarray,
) -> None:
    """What the last of T places sees of all of them, into [D].

    `keys` are the keys and values of all places, [R, 2 D]; `rows` [T] says which are of this history; `times` [T].
    """
    heads, dim, last = len(bias.time), len(query), len(rows) - 1
    size, buckets = dim // heads, bias.time.shape[1]
    for step in range(last + 1):
        elapsed = np.float32(max(times[last] - times[step], 0)) / np.float32(_SECOND)
        bucket = min(int(np.log2(elapsed + np.float32(1))), buckets - 1)
        for head in range(heads):
            total = np.float32(0)
            for d in range(head * size, (head + 1) * size):
                total += query[d] * keys[rows[step], d]
            total *= np.float32(1 / math.sqrt(size))
            scores[head, step] = total + bias.time[head, bucket] + bias.distance[head, last - step]
    out[:] = 0
    for head in range(heads):
        highest = scores[head, 0]
        for step in range(1, last + 1):
            highest = max(highest, scores[head, step])
        total = np.float32(0)
        for step in range(last + 1):
            scores[head, step] = np.exp(scores[head, step] - highest)
            total += scores[head, step]
        for step in range(last + 1):
            share = scores[head, step] / total
            for d in range(head * size, (head + 1) * size):
                out[d] += share * keys[rows[step], dim + d]


@reordered
def _feed(x: np.ndarray, layers: Layers, layer: int, attended: np.ndarray, epsilon: float) -> None:
    """What follows attention, in place: [M, D]."""
    x += np.dot(attended, layers.project[layer]) + layers.project_shift[layer]
    normed = np.empty_like(x)
    _normalise(x, layers.feed_scale[layer], layers.feed_shift[layer], epsilon, normed)
    wide = np.dot(normed, layers.widen[layer]) + layers.widen_shift[layer]
    for row in range(len(wide)):
        for d in range(wide.shape[1]):
            value = wide[row, d]
            wide[row, d] = np.float32(0.5) * value * (np.float32(1) + math.erf(value * np.float32(math.sqrt(0.5))))
    x += np.dot(wide, layers.narrow[layer]) + layers.narrow_shift[layer]


@compiled
def last_states(
    entries: Entries, vectors: Vectors, layers: Layers, bias: Bias, epsilon: float, out: np.ndarray
) -> None:
    """The state after the whole of each history, before the last normalisation, into [U, D]."""
    count, dim = len(entries.length), len(vectors.start)
    longest = 0
    for one in range(count):
        longest = max(longest, entries.length[one])
    rows = np.empty((count, longest + 1), np.int64)
    x = np.empty((count * (longest + 1), dim), np.float32)
    x = x[: place(entries, vectors, rows, x)]
    times = np.empty((count, longest + 1), np.int64)
    for one in range(count):
        times[one, 0] = entries.timestamp[one, 0] if longest else 0
        times[one, 1:] = entries.timestamp[one, :longest]
    final, depth = np.empty((count, dim), np.float32), len(layers.qkv)
    scores = np.empty((len(bias.time), longest + 1), np.float32)
    normed, attended = np.empty_like(x), np.empty_like(x)
    for layer in range(depth):
        _normalise(x, layers.attention_scale[layer], layers.attention_shift[layer], epsilon, normed)
        mixed = np.dot(normed, layers.qkv[layer]) + layers.qkv_shift[layer]
        keys = mixed[:, dim:]
        done = 0  # places come in the order of the histories: those that a history shares are done
        for one in range(count):
            steps = entries.length[one]
            for step in range(steps if layer == depth - 1 else 0, steps + 1):
                row = rows[one, step]
                if layer == depth - 1:
                    target = final[one]
                elif row < done:
                    continue
                else:
                    target, done = attended[row], row + 1
                _attend(mixed[row, :dim], keys, rows[one, : step + 1], times[one], bias, scores, target)
        if layer < depth - 1:
            _feed(x, layers, layer, attended, epsilon)
    for one in range(count):
        out[one] = x[rows[one, entries.length[one]]]
    _feed(out, layers, depth - 1, final, epsilon)
