"""What the simple sources say: scores of products from the histories alone.

Explanations ask about one history under many names, and a request asks about its customers twice: so equal histories
are read once, and what was read is kept. B customers of whom U have different histories, V views, P products.
"""

from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np

from recsys.compiling import compiled
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
    compared: Lists
    """[V * U]: the histories whose content is compared with the candidates'."""
    lengths: dict[str, np.ndarray]
    """Name of the content to [V, U] float32: by what each sum over a history is divided: its length; of labels, how
    many there are."""

    @classmethod
    def of(cls, tables: ItemTables, history: HistoryArrays, proposals: bool = True) -> Self:
        """Reads B histories; without the proposals where only likenesses will be asked for."""
        count = len(history.length)
        first, which = distinct(history) if count <= _FEW else (np.arange(count), np.arange(count))
        lists = read_views(history if len(first) == count else history.take(first))
        compared = _first(lists, len(_COMPARED) * len(first))
        if tables.likeness is None:
            sums = {name: compared.times_dense(values) for name, values in tables.content.vectors.items()}
            lengths = {name: np.linalg.norm(values, axis=1) for name, values in sums.items()}
        else:
            squares = {name: compared.squares(tables.likeness[name]) for name in tables.content.vectors}
            lengths = {name: np.sqrt(np.maximum(values, 0)) for name, values in squares.items()}
        lengths["labels"] = compared.totals()
        split = {
            name: np.maximum(values, 1e-9).astype(np.float32).reshape(len(_COMPARED), len(first))
            for name, values in lengths.items()
        }
        return cls(which, _proposals(tables, lists, len(first)) if proposals else {}, compared, split)

    def take(self, rows: np.ndarray | slice) -> Self:
        """Of customers `rows`."""
        return self._replace(which=self.which[rows])

    def likenesses(self, tables: ItemTables, products: np.ndarray | None = None) -> Scores:
        """Name to [U, P]: how like each product's content is to that of the history.

        Args:
            tables: what products are.
            products: [Q] int64: those that are looked at, ascending; the others read 0. None: all.
        """
        some = np.arange(len(tables)) if products is None else products
        scores: Scores = {}
        for name, lengths in self.lengths.items():
            near = self._near(tables, name, some)
            near /= lengths.reshape(-1, 1)
            if products is not None:
                whole = np.zeros((len(near), len(tables)), np.float32)
                whole[:, some] = near
                near = whole
            for view, part in zip(_COMPARED, near.reshape(*lengths.shape, len(tables)), strict=True):
                scores[f"{name}_{view}"] = part
        return scores

    def scores(self, tables: ItemTables) -> Scores:
        """Name to [U, P]: of all sources."""
        return self.proposals | self.likenesses(tables)

    def for_all(self, scores: Scores) -> Scores:
        """[U, P] to [B, P]."""
        return {name: values[self.which] for name, values in scores.items()}

    def _near(self, tables: ItemTables, name: str, products: np.ndarray) -> np.ndarray:
        """[V * U, Q]: inner products of the sums over histories with products; 0 for histories that nobody has."""
        if tables.likeness is not None:
            had = np.zeros(self.lengths[name].shape, bool)
            had[:, self.which] = True
            return self.compared.between(tables.likeness[name], products, had.ravel())
        if name == "labels":
            return times_transposed(self.compared.times_sparse(tables.labels), tables.labels, products)
        vectors = tables.content.vectors[name]
        some = vectors if len(products) == len(vectors) else vectors[products]
        return np.asarray(self.compared.times_dense(vectors) @ some.T, np.float32)


def _proposals(tables: ItemTables, lists: Lists, count: int) -> Scores:
    scores: Scores = {}
    for name, matrix in tables.followers.items():
        views = len(_VIEWS) if name == "transition" else 2
        reached = _first(lists, views * count).times_sparse(matrix).reshape(views, count, len(tables))
        scores[name], scores[f"{name}_recent"] = reached[0], reached[1]
        if name == "transition":
            scores |= {f"transition_{step}": reached[step + 1] for step in range(1, _RECENT + 1)}
    if tables.factors.shape[1]:
        scores["factors"] = fold_in(_first(lists, count), tables.factors, tables.factor_gram) @ tables.factors.T
    return scores


def read_views(history: HistoryArrays) -> Lists:
    """[V * U] lists: the histories in each of the views."""
    entries, length = (np.ascontiguousarray(values, np.int64) for values in (history.product, history.length))
    most = len(entries) * (2 * entries.shape[1] + _RECENT)
    begins = np.zeros(len(_VIEWS) * len(entries) + 1, np.int64)
    lists = Lists(begins, np.empty(most, np.int64), np.empty(most, np.float32))
    view_loop()(entries, length, *lists)
    return Lists(begins, lists.product[: begins[-1]], lists.weight[: begins[-1]])


@cache
def view_loop() -> Any:
    """The loop over histories, compiled."""
    from numba import float32, int64, void

    return compiled(_read_views, void(int64[:, ::1], int64[::1], int64[::1], int64[::1], float32[::1]))


def _read_views(
    entries: np.ndarray, length: np.ndarray, begins: np.ndarray, product: np.ndarray, weight: np.ndarray
) -> None:
    """Writes each history's distinct products, all of its entries with recency, and its last entries one by one."""
    count, at = len(entries), 0
    for view in range(2 + _RECENT):
        for row in range(count):
            begins[view * count + row] = at
            mine = entries[row, : length[row]]
            if view == 0:
                for step in range(len(mine)):
                    known = False
                    for before in range(step):
                        known |= mine[before] == mine[step]
                    if mine[step] >= 0 and not known:
                        product[at], weight[at] = mine[step], 1
                        at += 1
                continue
            after = 0
            for step in range(len(mine) - 1, -1, -1):
                if mine[step] >= 0:
                    if view == 1 or after == view - 2:
                        product[at], weight[at] = mine[step], _DECAY**after if view == 1 else 1.0
                        at += 1
                    after += 1
    begins[len(begins) - 1] = at


def named(history: HistoryArrays) -> np.ndarray:
    """[B, L] bool: entries that name a product."""
    steps = np.arange(history.product.shape[1])[None, :]
    return (steps < history.length[:, None]) & (history.product >= 0)


def _first(lists: Lists, count: int) -> Lists:
    return lists._replace(begins=lists.begins[: count + 1])
