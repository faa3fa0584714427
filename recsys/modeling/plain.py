"""Trained networks as plain functions of numpy arrays, from the weights that a bundle keeps.

An answer puts a few rows through many small operations; what torch does around an operation takes ten times as long as
the operation, and its import takes 190 MB. These functions give the trained modules' numbers in evaluation mode, up to
rounding. Letters: B rows, T places, D dimension, H heads.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from recsys.modeling.config import FusionConfig, FusionKind
from recsys.modeling.history_loop import Bias, Entries, Layers, Vectors, last_states

Array = NDArray[np.float32]
Function = Callable[[Array], Array]
_EPSILON: Final = np.float32(1e-5)
"""Torch's, in every normalisation."""
_HALF: Final = np.float32(0.5)
_ROOT_HALF: Final = np.float32(math.sqrt(0.5))


class Part:
    """The weights of one module of a model, by the names that it gives them.

    Args:
        weights: of the whole model, as a `state_dict` names them.
        name: of the module; empty: the model.
    """

    def __init__(self, weights: Mapping[str, Array], name: str = "") -> None:
        self._weights = weights
        self._prefix = f"{name}." if name else ""

    def __getitem__(self, name: str) -> Array:
        """One weight."""
        return self._weights[self._prefix + name]

    def part(self, name: str) -> "Part":
        """A module in it."""
        return Part(self._weights, self._prefix + name)

    def count(self, name: str) -> int:
        """How many modules a list in it has."""
        start = f"{self._prefix}{name}."
        return len({key[len(start) :].partition(".")[0] for key in self._weights if key.startswith(start)})


def perceptron(part: Part) -> Function:
    """A linear layer, GELU, dropout (which does nothing here) and a linear layer: [..., D] to [..., D']."""
    widen, narrow = _linear(part["0.weight"], part["0.bias"]), _linear(part["3.weight"], part["3.bias"])
    return lambda x: narrow(_gelu(widen(x)))


def fusion(part: Part, config: FusionConfig) -> Function:
    """The fusion that `config` names: [B, M, D] to [B, D]."""
    return _FUSIONS[config.kind](part, config)


class PlainHistory:
    """A history encoder; see `HistoryEncoder.last`.

    Args:
        part: its weights.
        vectors: what entries are made of.
    """

    def __init__(self, part: Part, vectors: Vectors) -> None:
        self._vectors = Vectors(*(_single(values) for values in vectors))
        self._norm = _layer_norm(part.part("norm"))
        self._bias = Bias(_single(part["distance_bias"]), _single(part["time_bias"]))
        blocks = [part.part(f"blocks.{place}") for place in range(part.count("blocks"))]
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
            last_states(entries, self._vectors, self._layers, self._bias, float(_EPSILON), out)
        return self._norm(out)

    def _mean(self, entries: Entries) -> Array:
        """[U, D]: without layers, the mean of the start and of all entries."""
        vectors, steps = self._vectors, np.arange(entries.product.shape[1])
        items = vectors.products[entries.product] + vectors.event_types[entries.event_type]
        items = (items + vectors.contents[entries.content]) * (steps < entries.length[:, None])[:, :, None]
        return np.asarray((vectors.start + items.sum(axis=1)) / (entries.length[:, None] + 1), np.float32)


def _layers(blocks: list[Part]) -> Layers:
    """The weights of all layers as one loop reads them."""

    def stacked(name: str) -> Array:
        return _single(np.stack([block[name] for block in blocks]))

    def linear(name: str) -> tuple[Array, Array]:
        return _single(np.stack([block[f"{name}.weight"].T for block in blocks])), stacked(f"{name}.bias")

    def norm(name: str) -> tuple[Array, Array]:
        return stacked(f"{name}.weight"), stacked(f"{name}.bias")

    attention = (*norm("norm_attention"), *linear("qkv"), *linear("project"))
    return Layers(*attention, *norm("norm_feed"), *linear("feed.0"), *linear("feed.3"))


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


def _linear(weight: Array, offset: Array) -> Function:
    across = np.ascontiguousarray(weight.T)

    def apply(x: Array) -> Array:
        flat = x.reshape(-1, x.shape[-1]) @ across
        flat += offset
        return flat.reshape(*x.shape[:-1], -1)

    return apply


def _layer_norm(part: Part) -> Function:
    weight, bias = part["weight"], part["bias"]
    mean = np.full((weight.shape[0], 1), 1 / weight.shape[0], np.float32)

    def apply(x: Array) -> Array:
        centred = x - x @ mean
        return np.asarray(centred / np.sqrt((centred * centred) @ mean + _EPSILON) * weight + bias, np.float32)

    return apply


def _encoder_layer(part: Part, heads: int) -> Function:
    """One that normalises first."""

    def linear(name: str) -> Function:
        return _linear(part[f"{name}.weight"], part[f"{name}.bias"])

    before, after = _layer_norm(part.part("norm1")), _layer_norm(part.part("norm2"))
    qkv = _linear(part["self_attn.in_proj_weight"], part["self_attn.in_proj_bias"])
    project, widen, narrow = linear("self_attn.out_proj"), linear("linear1"), linear("linear2")

    def apply(x: Array) -> Array:
        x = x + project(_attended(qkv(before(x)), heads))
        return x + narrow(_gelu(widen(after(x))))

    return apply


def _middle(part: Part, config: FusionConfig) -> Function:
    kind, norm = part["kind_of_token"], _layer_norm(part.part("norm"))
    layers = [_encoder_layer(part.part(f"encoder.layers.{place}"), config.heads) for place in range(config.layers)]

    def apply(tokens: Array) -> Array:
        x = tokens + kind
        for layer in layers:
            x = layer(x)
        return norm(x.sum(axis=1) / np.float32(x.shape[1]))

    return apply


def _early(part: Part, _: FusionConfig) -> Function:
    network = perceptron(part.part("network"))
    return lambda tokens: network(tokens.reshape(len(tokens), -1))


def _late(part: Part, _: FusionConfig) -> Function:
    share = np.exp(part["weight"] - part["weight"].max())
    share /= share.sum()
    heads = [_linear(part[f"heads.{place}.weight"], part[f"heads.{place}.bias"]) for place in range(len(share))]

    def apply(tokens: Array) -> Array:
        return np.asarray(sum(head(tokens[:, i]) * share[i] for i, head in enumerate(heads)), np.float32)

    return apply


_FUSIONS: Final[Mapping[FusionKind, Callable[[Part, FusionConfig], Function]]] = MappingProxyType(
    {FusionKind.EARLY: _early, FusionKind.MIDDLE: _middle, FusionKind.LATE: _late}
)
