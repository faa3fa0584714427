"""Trained modules as plain functions of numpy arrays.

An answer puts a few rows through many small operations; what torch does around an operation takes ten times as long as
the operation. These functions give the module's numbers in evaluation mode, up to rounding. They keep references to
its weights: train no more. Letters: B rows, T places, D dimension, H heads.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor, nn

from recsys.modeling.fusion import EarlyFusion, LateFusion, MiddleFusion
from recsys.modeling.history import CausalBlock, HistoryEncoder

Array = NDArray[np.float32]
Function = Callable[[Array], Array]
_SECOND: Final = 1_000_000
_HALF: Final = np.float32(0.5)
_ROOT_HALF: Final = np.float32(math.sqrt(0.5))


def plain(module: nn.Module) -> Function:
    """A linear layer, a normalisation, an activation, a sequence of them, or a fusion: [..., D] to [..., D'].

    Raises:
        TypeError: there is no plain function for such a module.
    """
    for kind, make in _MAKERS.items():
        if isinstance(module, kind):
            made: Function = make(module)
            return made
    raise TypeError(f"{type(module).__name__} has no plain function")


def array(tensor: Tensor) -> Array:
    """The tensor's memory as an array."""
    values: Array = tensor.detach().numpy()
    return values


class PlainHistory:
    """A history encoder; see `HistoryEncoder.last`."""

    def __init__(self, encoder: HistoryEncoder) -> None:
        self._buckets = encoder.config.time_buckets
        self._start = array(encoder.start)
        self._norm = plain(encoder.norm)
        self._blocks = [_Block(block) for block in encoder.blocks if isinstance(block, CausalBlock)]
        self._distance, self._time = array(encoder.distance_bias), array(encoder.time_bias)

    def last(self, items: Array, timestamp: NDArray[np.int64], length: NDArray[np.int64]) -> Array:
        """[B, L, D] entries, [B, L] epoch µs and [B] lengths to [B, D]: the state after the whole of each history."""
        count, steps, dim = items.shape
        x = np.empty((count, steps + 1, dim), np.float32)
        x[:, 0], x[:, 1:] = self._start, items
        if not self._blocks:
            before = np.arange(steps + 1)[None, :] <= length[:, None]
            return self._norm(np.asarray((x * before[:, :, None]).sum(axis=1) / (length[:, None] + 1), np.float32))
        bias = self._bias(timestamp)
        for block in self._blocks[:-1]:
            x = block(x, bias)
        return self._norm(self._blocks[-1].at(x, bias, length))

    def _bias(self, timestamp: NDArray[np.int64]) -> Array:
        """[B, H, L + 1, L + 1]."""
        times = np.concatenate([timestamp[:, :1], timestamp], axis=1)
        position = np.arange(times.shape[1])
        distance = position[:, None] - position[None, :]
        elapsed = np.maximum(times[:, :, None] - times[:, None, :], 0).astype(np.float32) / np.float32(_SECOND)
        bucket = np.minimum(np.log2(elapsed + np.float32(1)).astype(np.int64), self._buckets - 1)
        bias = self._time[:, bucket].swapaxes(0, 1) + self._distance[:, np.maximum(distance, 0)]
        bias[:, :, distance < 0] = -np.inf
        return bias


class _Block:
    """See `CausalBlock`."""

    def __init__(self, block: CausalBlock) -> None:
        self._heads = block.heads
        self._before, self._after = plain(block.norm_attention), plain(block.norm_feed)
        self._qkv, self._project, self._feed = plain(block.qkv), plain(block.project), plain(block.feed)

    def __call__(self, x: Array, bias: Array) -> Array:
        x = x + self._project(_attended(self._qkv(self._before(x)), self._heads, bias))
        return x + self._feed(self._after(x))

    def at(self, x: Array, bias: Array, place: NDArray[np.int64]) -> Array:
        row, dim = np.arange(len(x)), x.shape[2]
        qkv = self._qkv(self._before(x))
        query = qkv[row, place, :dim].reshape(len(x), self._heads, 1, -1)
        key, value = (_by_head(part, self._heads) for part in (qkv[:, :, dim : 2 * dim], qkv[:, :, 2 * dim :]))
        attended = _attend(query, key, value, bias[row, :, place][:, :, None])
        last = x[row, place] + self._project(attended.reshape(len(x), dim))
        return last + self._feed(self._after(last))


def _by_head(x: Array, heads: int) -> Array:
    """[B, T, D] to [B, H, T, D / H]."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _attended(qkv: Array, heads: int, bias: Array | None) -> Array:
    """[B, T, 3 D] to [B, T, D]."""
    query, key, value = (_by_head(part, heads) for part in np.split(qkv, 3, axis=2))
    return _attend(query, key, value, bias).swapaxes(1, 2).reshape(*qkv.shape[:2], -1)


def _attend(query: Array, key: Array, value: Array, bias: Array | None) -> Array:
    scores = query @ key.swapaxes(2, 3) * np.float32(1 / math.sqrt(query.shape[3]))
    if bias is not None:
        scores += bias
    scores -= scores.max(axis=3, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=3, keepdims=True)
    return np.asarray(scores @ value, np.float32)


def _gelu(x: Array) -> Array:
    return np.asarray(x * (_HALF * (1 + erf(x * _ROOT_HALF))), np.float32)


def _linear(weight: Tensor, bias: Tensor) -> Function:
    across, offset = np.ascontiguousarray(array(weight).T), array(bias)

    def apply(x: Array) -> Array:
        flat = x.reshape(-1, x.shape[-1]) @ across
        flat += offset
        return flat.reshape(*x.shape[:-1], -1)

    return apply


def _layer_norm(module: nn.LayerNorm) -> Function:
    weight, bias, epsilon = array(module.weight), array(module.bias), np.float32(module.eps)
    mean = np.full((weight.shape[0], 1), 1 / weight.shape[0], np.float32)

    def apply(x: Array) -> Array:
        centred = x - x @ mean
        return np.asarray(centred / np.sqrt((centred * centred) @ mean + epsilon) * weight + bias, np.float32)

    return apply


def _sequence(module: nn.Sequential) -> Function:
    steps = [plain(step) for step in module if not isinstance(step, nn.Dropout)]

    def apply(x: Array) -> Array:
        for step in steps:
            x = step(x)
        return x

    return apply


def _encoder_layer(layer: nn.TransformerEncoderLayer) -> Function:
    """One that normalises first."""
    attention = layer.self_attn
    before, after = plain(layer.norm1), plain(layer.norm2)
    qkv = _linear(attention.in_proj_weight, attention.in_proj_bias)
    project, widen, narrow = plain(attention.out_proj), plain(layer.linear1), plain(layer.linear2)

    def apply(x: Array) -> Array:
        x = x + project(_attended(qkv(before(x)), attention.num_heads, None))
        return x + narrow(_gelu(widen(after(x))))

    return apply


def _middle(fusion: MiddleFusion) -> Function:
    kind, norm = array(fusion.kind_of_token), plain(fusion.norm)
    layers = [_encoder_layer(layer) for layer in fusion.encoder.layers]

    def apply(tokens: Array) -> Array:
        x = tokens + kind
        for layer in layers:
            x = layer(x)
        return norm(x.sum(axis=1) / np.float32(x.shape[1]))

    return apply


def _early(fusion: EarlyFusion) -> Function:
    network = plain(fusion.network)
    return lambda tokens: network(tokens.reshape(len(tokens), -1))


def _late(fusion: LateFusion) -> Function:
    weight, heads = array(fusion.weight.softmax(dim=0)), [plain(head) for head in fusion.heads]

    def apply(tokens: Array) -> Array:
        return np.asarray(sum(head(tokens[:, i]) * weight[i] for i, head in enumerate(heads)), np.float32)

    return apply


_MAKERS: Final[dict[type[nn.Module], Callable[..., Function]]] = {
    nn.Linear: lambda module: _linear(module.weight, module.bias),
    nn.LayerNorm: _layer_norm,
    nn.GELU: lambda _: _gelu,
    nn.Sequential: _sequence,
    MiddleFusion: _middle,
    EarlyFusion: _early,
    LateFusion: _late,
}
