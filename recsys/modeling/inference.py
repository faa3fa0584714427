"""The customer tower as it serves: the same numbers as the module that is trained, with less around them.

Training reads jagged batches through TorchRec and wants the state after every event. An answer wants one vector of a
few rows, many of which share a history: so each distinct history is encoded once, the last layer looks at its last
place only, and categories are looked up in one table. Torch is imported only where many rows are asked about.
Letters: B rows, L history length, D dimension, F columns.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from recsys.modeling.config import ModelInputs, TwoTowerConfig, modalities_of
from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.modeling.history_loop import Entries, Vectors
from recsys.modeling.plain import Function, Part, PlainHistory, fusion, perceptron
from recsys.modeling.reader import CustomerRows, HistoryArrays, distinct
from recsys.modeling.vectors import CandidateVectors, with_zero_row
from recsys.schema import Modality

if TYPE_CHECKING:
    from recsys.modeling.inference_many import Torch

_HISTORY: Final = str(Modality.HISTORY)
_FEW: Final = 64
"""Up to so many rows, plain functions are sooner done than torch's."""
_AT_ONCE: Final = 256
"""Histories of many rows that are encoded together: what is worked on stays in the processor's near memory."""


class CustomerEncoder:
    """Encodes customers with a trained model.

    Args:
        weights: of the model, by the names of its `state_dict`; they are kept, not copied.
        inputs: what it was built for.
        config: the model.
        candidates: as the history encoder reads them.
    """

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        inputs: ModelInputs,
        config: TwoTowerConfig,
        candidates: CandidateVectors,
    ) -> None:
        encoding, tower = inputs.customers, Part(weights, "customers")
        self._model = (weights, inputs, config, candidates)
        self._groups = encoding.group_names()
        self._modalities = [str(modality) for modality in modalities_of(encoding)]
        self._categories = _Categories.of(tower.part("embeddings.collection.embedding_bags"), encoding)
        self._columns = {group.name: _positions(encoding, group.name) for group in encoding.groups}
        self._channels = tower["context.embedding_bags.channel_table.weight"]
        self._missing = {name: tower[f"missing.{name}"] for name in self._modalities}
        self._few = _Plain.of(Part(weights), self._groups, config, candidates)

    def encode(self, rows: CustomerRows) -> np.ndarray:
        """[B, D] float32 vectors, not yet scaled."""
        way: _Plain | Torch = self._few if len(rows.channel) <= _FEW else self._many
        embedded = self._categories.look_up(rows.columns)
        present = {name: rows.columns.present[:, place] for place, name in enumerate(self._groups)}
        present[_HISTORY] = rows.history.length > 0
        tokens = {_HISTORY: _states(way, rows.history)}
        for name, places in self._columns.items():
            categories = embedded[:, places].reshape(len(embedded), -1)
            parts = [rows.columns.numeric[name], rows.columns.vectors[name], categories]
            tokens[name] = way.token(name, np.concatenate(parts, axis=1))
        known = {name: np.where(present[name][:, None], tokens[name], self._missing[name]) for name in self._modalities}
        return known[_HISTORY] + way.fuse(np.stack([*known.values(), self._channels[rows.channel]], axis=1))

    @cached_property
    def _many(self) -> "Torch":
        from recsys.modeling.inference_many import Torch

        return Torch.of(*self._model)


class _Plain(NamedTuple):
    """The networks for a few rows."""

    groups: dict[str, Function]
    fuse: Function
    history: PlainHistory

    @classmethod
    def of(cls, model: Part, groups: list[str], config: TwoTowerConfig, candidates: CandidateVectors) -> "_Plain":
        networks = {name: perceptron(model.part(f"customers.groups.{name}.network")) for name in groups}
        products, contents = (with_zero_row(vectors) for vectors in candidates)
        vectors = Vectors(products, contents, model["event_type.weight"], model["history.start"])
        fuse = fusion(model.part("customers.fusion"), config.fusion)
        return cls(networks, fuse, PlainHistory(model.part("history"), vectors))

    def token(self, name: str, values: np.ndarray) -> np.ndarray:
        """[B, width] to [B, D]; rows that are like the first one are not worked out again."""
        other = (values != values[0]).any(axis=1)
        other[0] = True
        if other.all():
            return self.groups[name](values)
        which = np.where(other, np.cumsum(other) - 1, 0)
        return self.groups[name](values[other])[which]

    def states(self, history: HistoryArrays) -> np.ndarray:
        """[B, D]."""
        return self.history.last(Entries(*history))


def _states(way: "_Plain | Torch", history: HistoryArrays) -> np.ndarray:
    """[B, D]: the state after each history; of few, equal ones are encoded once."""
    if len(history.length) <= _FEW:
        first, which = distinct(history)
        return way.states(history) if len(first) == len(which) else way.states(history.take(first))[which]
    order = np.argsort(history.length, kind="stable")  # as long as their neighbours: little is padded
    parts = [order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE)]
    states = np.concatenate([way.states(history.take(part)) for part in parts])
    out = np.empty_like(states)
    out[order] = states
    return out


class _Categories(NamedTuple):
    """All categorical columns' embeddings in one table."""

    table: np.ndarray
    """[V, C] float32: one column's rows after the other's; the last row is zeros."""
    single: np.ndarray
    """[F] int64: where each single-valued column's rows begin."""
    lists: np.ndarray
    """[G] int64: and each list column's."""

    @classmethod
    def of(cls, tables: Part, encoding: EntityEncoding) -> "_Categories":
        weights = [
            tables[f"{column.key}_table.weight"] for column in (*encoding.categorical_columns, *encoding.list_columns)
        ]
        if not weights:
            return cls(np.zeros((1, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
        starts = np.cumsum([0, *(len(weight) for weight in weights)])[:-1].astype(np.int64)
        split = len(encoding.categorical_columns)
        return cls(with_zero_row(np.concatenate(weights)), starts[:split], starts[split:])

    def look_up(self, rows: EntityRows) -> np.ndarray:
        """[B, F + G, C]; a list is the sum of its entries."""
        own = self.table[rows.categorical + self.single]
        if not len(self.lists):
            return own
        entries = np.where(rows.lists >= 0, rows.lists + self.lists[:, None], len(self.table) - 1)
        return np.concatenate([own, self.table[entries].sum(axis=2)], axis=1)


def _positions(encoding: EntityEncoding, group: str) -> np.ndarray:
    """Where a group's categorical columns are in `_Categories.look_up`, in the order that its network reads them."""
    place = {
        column.key: position for position, column in enumerate((*encoding.categorical_columns, *encoding.list_columns))
    }
    keys = next(one for one in encoding.groups if one.name == group).categories
    return np.array([place[column.key] for column in keys], np.int64)
