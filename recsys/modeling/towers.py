"""The towers. Letters: B batch, D dimension, M tokens. Every id and category is trained in TorchRec's tables."""

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from recsys.modeling.batches import ID_KEY, EntityBatch
from recsys.modeling.config import FusionConfig, TowerConfig, modalities_of
from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, GroupEncoding
from recsys.modeling.fusion import build_fusion
from recsys.modeling.tables import Jagged, TableMaker, TableSize, torchrec_tables
from recsys.schema import Modality

_CHANNEL: Final = "channel"


class GroupEncoder(nn.Module):
    """The columns of one group to one token."""

    def __init__(self, group: GroupEncoding, config: TowerConfig) -> None:
        super().__init__()
        self.keys = [column.key for column in group.categories]
        width = group.numeric_width + group.vector_width + len(self.keys) * config.category_dim
        hidden = 2 * config.dim
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(hidden, config.dim)
        )

    def forward(self, dense: Tensor, categories: dict[str, Tensor]) -> Tensor:
        """[B, width] and the embedded categories [B, category_dim] to [B, D]."""
        return self.network(torch.cat([dense, *(categories[key] for key in self.keys)], dim=1))


class EntityEmbeddings(nn.Module):
    """The tables of one entity: one per categorical column, and one for the id."""

    def __init__(
        self, encoding: EntityEncoding, id_count: int, config: TowerConfig, make: TableMaker = torchrec_tables
    ) -> None:
        super().__init__()
        columns = [*encoding.categorical_columns, *encoding.list_columns]
        sizes = [_size(column, config.category_dim) for column in columns]
        if id_count:
            sizes.append(TableSize(f"{encoding.entity}_table", ID_KEY, id_count + 1, config.dim))
        self._tables = make(sizes) if sizes else None
        self.collection: Any = None if self._tables is None else self._tables.module

    def forward(self, batch: EntityBatch) -> dict[str, Tensor]:
        """Key to [B, dim]; read by key, never by position."""
        if self._tables is None or batch.categorical is None:
            return {}
        return self._tables.embed(batch.categorical)


class ItemTower(nn.Module):
    """A product or creative: the sum of its id's embedding and its content's tokens, then a residual layer."""

    def __init__(
        self, encoding: EntityEncoding, id_count: int, config: TowerConfig, make: TableMaker = torchrec_tables
    ) -> None:
        super().__init__()
        self.config = config
        self.embeddings = EntityEmbeddings(encoding, id_count, config, make)
        self.groups = nn.ModuleDict({group.name: GroupEncoder(group, config) for group in encoding.groups})
        self.missing = nn.ParameterDict(
            {group.name: nn.Parameter(torch.zeros(config.dim)) for group in encoding.groups}
        )
        self.norm = nn.LayerNorm(config.dim)
        self.residual = nn.Sequential(
            nn.Linear(config.dim, 2 * config.dim), nn.GELU(), nn.Linear(2 * config.dim, config.dim)
        )

    def forward(self, batch: EntityBatch, base: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Encodes B items.

        Args:
            batch: their columns, with the id.
            base: [B, D] added to the content, for creatives: the vector of their product.

        Returns:
            [B, D] vectors, and the parts that self-supervision aligns: "id" and every group's token, [B, D].
        """
        categories = self.embeddings(batch)
        parts = {
            name: _or_missing(encoder(batch.dense[name], categories), batch.present[name], self.missing[name])
            for name, encoder in self.groups.items()
        }
        parts["id"] = self._drop_ids(categories[ID_KEY])
        total = torch.stack(list(parts.values())).sum(dim=0)
        if base is not None:
            total = total + base
        return total + self.residual(self.norm(total)), parts

    def _drop_ids(self, embedded: Tensor) -> Tensor:
        if not self.training or not self.config.id_dropout:
            return embedded
        kept = torch.rand(len(embedded), 1, device=embedded.device) >= self.config.id_dropout
        return embedded * kept


class CustomerTower(nn.Module):
    """A customer: one token per modality, a learned token for what is missing, fused into one vector."""

    def __init__(
        self,
        encoding: EntityEncoding,
        contexts: int,
        config: TowerConfig,
        fusion: FusionConfig,
        make: TableMaker = torchrec_tables,
    ) -> None:
        """`contexts` is the number of known channels; index 0 is no channel."""
        super().__init__()
        self.config = config
        self.modalities = modalities_of(encoding)
        self.embeddings = EntityEmbeddings(encoding, 0, config, make)
        self.groups = nn.ModuleDict({group.name: GroupEncoder(group, config) for group in encoding.groups})
        self.missing = nn.ParameterDict({str(m): nn.Parameter(torch.zeros(config.dim)) for m in self.modalities})
        self._channels = make([TableSize("channel_table", _CHANNEL, contexts + 1, config.dim)])
        self.context: Any = self._channels.module
        self.fusion = build_fusion(config.dim, len(self.modalities) + 1, fusion)

    def forward(self, batch: EntityBatch, history: Tensor, has_history: Tensor, channel: Tensor) -> Tensor:
        """Encodes B customers.

        Args:
            batch: profile, behaviour, text and image columns.
            history: [B, D] state of the history encoder.
            has_history: [B] bool.
            channel: [B] int64, 0 = none.

        Returns:
            [B, D] vectors.
        """
        read = self.tokens(batch, history, has_history)
        tokens = [self._drop(token, present, str(modality)) for modality, token, present in read]
        state = tokens[self.modalities.index(Modality.HISTORY)]
        context = Jagged((_CHANNEL,), channel, torch.ones_like(channel), (len(channel),))
        tokens.append(self._channels.embed(context)[_CHANNEL])
        return state + self.fusion(torch.stack(tokens, dim=1))

    def tokens(
        self, batch: EntityBatch, history: Tensor, has_history: Tensor
    ) -> Iterator[tuple[Modality, Tensor, Tensor]]:
        """Each modality with its token before fusion, [B, D], and whether the customer has it, [B] bool."""
        categories = self.embeddings(batch)
        for modality in self.modalities:
            if modality is Modality.HISTORY:
                yield modality, history, has_history
            else:
                yield modality, self.groups[modality](batch.dense[modality], categories), batch.present[modality]

    def _drop(self, token: Tensor, present: Tensor, name: str) -> Tensor:
        """The token, or the learned one where the modality is missing or dropped in training."""
        if self.training and self.config.modality_dropout:
            present = present & (torch.rand(len(present), device=present.device) >= self.config.modality_dropout)
        return _or_missing(token, present, self.missing[name])


def _or_missing(token: Tensor, present: Tensor, missing: Tensor) -> Tensor:
    return torch.where(present[:, None], token, missing[None, :])


def _size(column: ColumnEncoding, dim: int) -> TableSize:
    return TableSize(f"{column.key}_table", column.key, len(column.vocabulary) + 1, dim)
