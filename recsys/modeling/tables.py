"""Embedding tables by column: TorchRec's to train with, plain ones to serve with, of the same names and numbers.

TorchRec brings 120 MB and seconds of imports along, which a process that only serves has no use for. Letters: B rows,
K keys.
"""

import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.modeling.devices import to_device

if TYPE_CHECKING:
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor


class Jagged(NamedTuple):
    """Several categories a row under each of K keys, one key after the other."""

    keys: tuple[str, ...]
    values: Tensor
    """[V] int64."""
    lengths: Tensor
    """[K * B] int64: how many values each row has under each key."""
    sizes: tuple[int, ...]
    """K: how many values each key has; known where the rows are made, so that no device is asked for it."""

    def to(self, device: torch.device) -> "Jagged":
        """The same on `device`."""
        return self._replace(values=to_device(self.values, device), lengths=to_device(self.lengths, device))


class TableSize(NamedTuple):
    """One table, which embeds one key."""

    name: str
    key: str
    rows: int
    dim: int


class Tables(NamedTuple):
    """A module that embeds every key, and how it wants what it reads."""

    module: nn.Module
    reads: Callable[[Jagged], Any]

    def embed(self, jagged: Jagged) -> dict[str, Tensor]:
        """Key to [B, dim], the sum of a row's embeddings; read by key, never by position."""
        pooled = self.module(self.reads(jagged))
        return {key: pooled[key] for key in pooled.keys()}  # noqa: SIM118 (a KeyedTensor is no mapping)


TableMaker = Callable[[Sequence[TableSize]], Tables]


def torchrec_tables(sizes: Sequence[TableSize]) -> Tables:
    """TorchRec's collection, which trains, alone or sharded."""
    with warnings.catch_warnings():  # TorchRec imports modules that its own libraries call deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        from torchrec.modules.embedding_configs import EmbeddingBagConfig, PoolingType
        from torchrec.modules.embedding_modules import EmbeddingBagCollection

    configs = [
        EmbeddingBagConfig(
            name=size.name,
            num_embeddings=size.rows,
            embedding_dim=size.dim,
            feature_names=[size.key],
            pooling=PoolingType.SUM,  # one pooling type a collection: mixed ones return wrong labels
            init_fn=_small_normal,
        )
        for size in sizes
    ]
    return Tables(EmbeddingBagCollection(tables=configs), _keyed)


def plain_tables(sizes: Sequence[TableSize]) -> Tables:
    """The same tables without TorchRec, for weights that are loaded."""
    return Tables(PlainTables(sizes), lambda jagged: jagged)


class PlainTables(nn.Module):
    """Tables under the names that TorchRec's `EmbeddingBagCollection` gives them, so that its weights fit."""

    def __init__(self, sizes: Sequence[TableSize]) -> None:
        super().__init__()
        bags = {size.name: nn.EmbeddingBag(size.rows, size.dim, mode="sum") for size in sizes}
        self.embedding_bags = nn.ModuleDict(bags)
        self._names = {size.key: size.name for size in sizes}

    def forward(self, jagged: Jagged) -> dict[str, Tensor]:
        """Key to [B, dim]."""
        lengths = jagged.lengths.view(len(jagged.keys), -1)
        values = jagged.values.split(list(jagged.sizes))
        return {
            key: F.embedding_bag(own, self._weight(key), _begins(length), mode="sum")
            for key, own, length in zip(jagged.keys, values, lengths, strict=True)
        }

    def _weight(self, key: str) -> Tensor:
        weight: Tensor = self.embedding_bags[self._names[key]].weight  # type: ignore[assignment]
        return weight


def _begins(lengths: Tensor) -> Tensor:
    return lengths.cumsum(0) - lengths


def _keyed(jagged: Jagged) -> "KeyedJaggedTensor":
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

    return KeyedJaggedTensor(
        list(jagged.keys),
        values=jagged.values,
        lengths=jagged.lengths,
        length_per_key=list(jagged.sizes),
        offset_per_key=[0, *accumulate(jagged.sizes)],
    )


def _small_normal(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=0.02)
