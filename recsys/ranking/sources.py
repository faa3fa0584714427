"""What the simple sources say: scores of products from the histories alone.

Explanations ask about one history under many names, and a request asks about its customers twice: so equal histories
are read once, and what was read is kept. B customers of whom U have different histories, V views, P products.
"""

from typing import NamedTuple, Self

import numpy as np

from recsys.modeling.reader import HistoryArrays, distinct
from recsys.ranking.factors import fold_in
from recsys.ranking.spread import Lists, times_transposed
from recsys.ranking.tables import ItemTables

_RECENT = 3
_DECAY = 0.8
"""Weight of an entry relative to the one after it, in the recency-weighted history."""
_VIEWS = ("all", "recent", *(f"last_{step}" for step in range(1, _RECENT + 1)))
"""How a history is summed up: its distinct products, with recency, and the last few one by one."""
_COMPARED = _VIEWS[:3]
"""The views whose content is compared with the candidates'."""
_FEW = 64
"""Up to so many customers it is worth a look whether they share histories."""

Scores = dict[str, np.ndarray]
"""Name of a source to float32 scores of all P products."""


class Sources(NamedTuple):
    """The histories, read."""

    which: np.ndarray
    """[B] int64: whose of the U histories each customer's is."""
    proposals: Scores
    """Name to [U, P]: of the sources that propose candidates."""
    sums: dict[str, np.ndarray]
    """What content is compared with: name of the content to [V, U, D], of unit length or, for labels, a mean."""

    @classmethod
    def of(cls, tables: ItemTables, history: HistoryArrays) -> Self:
        """Reads B histories."""
        count = len(history.length)
        first, which = distinct(history) if count <= _FEW else (np.arange(count), np.arange(count))
        lists = _views(history if len(first) == count else history.take(first), len(tables))
        compared = _first(lists, len(_COMPARED) * len(first))
        sums = {name: _unit_rows(compared.times_dense(values)) for name, values in tables.content.vectors.items()}
        labels = compared.times_sparse(tables.content.labels)
        sums["labels"] = labels / np.maximum(compared.totals(), 1e-9)[:, None].astype(np.float32)
        split = {name: rows.reshape(len(_COMPARED), len(first), rows.shape[1]) for name, rows in sums.items()}
        return cls(which, _proposals(tables, lists, len(first)), split)

    def take(self, rows: np.ndarray | slice) -> Self:
        """Of customers `rows`, and of their histories only."""
        used, which = np.unique(self.which[rows], return_inverse=True)
        return type(self)(
            which,
            {name: values[used] for name, values in self.proposals.items()},
            {name: values[:, used] for name, values in self.sums.items()},
        )

    def likenesses(self, tables: ItemTables, products: np.ndarray | None = None) -> Scores:
        """Name to [U, P]: how like each product's content is to that of the history.

        Args:
            tables: what products are.
            products: [Q] int64: those that are looked at, ascending; the others read 0. None: all.
        """
        some = np.arange(len(tables)) if products is None else products
        scores: Scores = {}
        for name, rows in self.sums.items():
            flat = rows.reshape(-1, rows.shape[2])
            if name == "labels":
                near = times_transposed(flat, tables.content.labels, some)
            else:
                vectors = tables.content.vectors[name]
                near = flat @ (vectors if products is None else vectors[some]).T
            if products is not None:
                whole = np.zeros((len(flat), len(tables)), np.float32)
                whole[:, some] = near
                near = whole
            for view, part in zip(_COMPARED, near.reshape(len(_COMPARED), -1, len(tables)), strict=True):
                scores[f"{name}_{view}"] = part
        return scores

    def scores(self, tables: ItemTables) -> Scores:
        """Name to [U, P]: of all sources."""
        return self.proposals | self.likenesses(tables)

    def for_all(self, scores: Scores) -> Scores:
        """[U, P] to [B, P]."""
        return {name: values[self.which] for name, values in scores.items()}


def _proposals(tables: ItemTables, lists: Lists, count: int) -> Scores:
    scores: Scores = {}
    for name, matrix in tables.neighbours.items():
        views = len(_VIEWS) if name == "transition" else 2
        reached = _first(lists, views * count).times_sparse(matrix).reshape(views, count, len(tables))
        scores[name], scores[f"{name}_recent"] = reached[0], reached[1]
        if name == "transition":
            scores |= {f"transition_{step}": reached[step + 1] for step in range(1, _RECENT + 1)}
    if tables.factors.shape[1]:
        scores["factors"] = fold_in(_first(lists, count), tables.factors) @ tables.factors.T
    return scores


def _views(history: HistoryArrays, products: int) -> Lists:
    """[V * U] lists: the histories in each of the views."""
    valid = named(history)
    row, column = np.nonzero(valid)
    product = history.product[row, column]
    from_end = valid.sum(axis=1)[row] - np.cumsum(valid, axis=1)[row, column]
    once = np.zeros(len(row), np.float32)
    once[np.unique(row * products + product, return_index=True)[1]] = 1
    weight = np.stack([once, _DECAY**from_end, *(from_end == step for step in range(_RECENT))])
    view, entry = np.nonzero(weight)
    begins = np.searchsorted(view * len(valid) + row[entry], np.arange(len(_VIEWS) * len(valid) + 1))
    return Lists(begins, product[entry], weight[view, entry].astype(np.float32))


def named(history: HistoryArrays) -> np.ndarray:
    """[B, L] bool: entries that name a product."""
    steps = np.arange(history.product.shape[1])[None, :]
    return (steps < history.length[:, None]) & (history.product >= 0)


def _first(lists: Lists, count: int) -> Lists:
    return lists._replace(begins=lists.begins[: count + 1])


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))
