"""Trained modules as plain functions of numpy arrays.

An answer puts a few rows through many small operations; what torch does around an operation takes ten times as long as
the operation. These functions give the module's numbers in evaluation mode, up to rounding. They keep references to
its weights: train no more. Letters: B rows, T places, D dimension, H heads.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor, nn

from recsys.modeling.fusion import EarlyFusion, LateFusion, MiddleFusion
from recsys.modeling.history import CausalBlock, HistoryEncoder
from recsys.modeling.history_loop import Bias, Entries, Layers, Vectors, last_states

Array = NDArray[np.float32]
Function = Callable[[Array], Array]
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
    """A history encoder; see `HistoryEncoder.last`.

    Args:
        encoder: in evaluation mode.
        vectors: what entries are made of.
    """

    def __init__(self, encoder: HistoryEncoder, vectors: Vectors) -> None:
        self._vectors = Vectors(*(_single(values) for values in vectors))
        self._norm = plain(encoder.norm)
        self._epsilon = encoder.norm.eps
        self._bias = Bias(_single(array(encoder.distance_bias)), _single(array(encoder.time_bias)))
        blocks = [block for block in encoder.blocks if isinstance(block, CausalBlock)]
        self._layers = _layers(blocks) if blocks else None
        if self._layers is not None:
            self.last(Entries(*(np.zeros((1, 1), np.int64),) * 4, np.ones(1, np.int64)))  # compiles it

    def last(self, entries: Entries) -> Array:
        """[U, D]: the state after the whole of each of U histories."""
        entries = Entries(*(np.ascontiguousarray(values, np.int64) for values in entries))
        out = np.empty((len(entries.length), len(self._vectors.start)), np.float32)
        if self._layers is None:
            out[:] = self._mean(entries)
        else:
            last_states(entries, self._vectors, self._layers, self._bias, self._epsilon, out)
        return self._norm(out)

    def _mean(self, entries: Entries) -> Array:
        """[U, D]: without layers, the mean of the start and of all entries."""
        vectors, steps = self._vectors, np.arange(entries.product.shape[1])
        items = vectors.products[entries.product] + vectors.event_types[entries.event_type]
        items = (items + vectors.contents[entries.content]) * (steps < entries.length[:, None])[:, :, None]
        return np.asarray((vectors.start + items.sum(axis=1)) / (entries.length[:, None] + 1), np.float32)


def _layers(blocks: Sequence[CausalBlock]) -> Layers:
    """The weights of all layers as one loop reads them."""

    def stacked(of: Callable[[CausalBlock], Tensor]) -> Array:
        return _single(np.stack([array(of(block)) for block in blocks]))

    def linear(of: Callable[[CausalBlock], nn.Linear]) -> tuple[Array, Array]:
        return stacked(lambda block: of(block).weight.T), stacked(lambda block: of(block).bias)

    return Layers(
        stacked(lambda block: block.norm_attention.weight),
        stacked(lambda block: block.norm_attention.bias),
        *linear(lambda block: block.qkv),
        *linear(lambda block: block.project),
        stacked(lambda block: block.norm_feed.weight),
        stacked(lambda block: block.norm_feed.bias),
        *linear(lambda block: block.feed[0]),  # type: ignore[arg-type, return-value]
        *linear(lambda block: block.feed[3]),  # type: ignore[arg-type, return-value]
    )


def _single(values: Array) -> Array:
    """As a compiled loop takes it."""
    made: Array = np.ascontiguousarray(values, np.float32)
    return made if made.flags.writeable else made.copy()


def _by_head(x: Array, heads: int) -> Array:
    """[B, T, D] to [B, H, T, D / H]."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _attended(qkv: Array, heads: int) -> Array:
    """[B, T, 3 D] to [B, T, D]."""
    dim = qkv.shape[2] // 3
    query, key, value = (_by_head(qkv[:, :, place * dim : (place + 1) * dim], heads) for place in range(3))
    scores = query @ key.swapaxes(2, 3) * np.float32(1 / math.sqrt(query.shape[3]))
    scores -= scores.max(axis=3, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=3, keepdims=True)
    return np.asarray((scores @ value).swapaxes(1, 2).reshape(*qkv.shape[:2], dim), np.float32)


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
        x = x + project(_attended(qkv(before(x)), attention.num_heads))
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
