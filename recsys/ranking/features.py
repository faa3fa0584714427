"""Cross features of customers and candidates: what the second stage ranks by.

All of it comes from what the feature store gives at the time of asking (the history, the instant), the towers' scores
and the bundle's tables; training rows are made by the same code. B customers, P products, E pairs, F features.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays, distinct
from recsys.ranking.activity import Ages
from recsys.ranking.factors import fold_in
from recsys.ranking.tables import ItemTables

_DAY = 86_400_000_000
_WINDOWS = (7, 30, 90)
_RECENT = 3
_DECAY = 0.8
"""Weight of an entry relative to the one after it, in the recency-weighted history."""

Columns = dict[str, np.ndarray]


class Pairs(NamedTuple):
    """E candidates of B customers."""

    customer: np.ndarray
    """[E] int64 row of the customer, ascending."""
    product: np.ndarray
    """[E] int64 row of the catalogue."""


class Asked(NamedTuple):
    """B customers as the second stage reads them."""

    history: HistoryArrays
    now: np.ndarray
    """[B] int64 epoch µs."""
    tower: np.ndarray
    """[B, P] float32 scores of the first stage."""
    columns: EntityRows | None = None
    """B rows of the customers' columns; only the models of interest and of responses read them."""
    channel: np.ndarray | None = None
    """[B] int64, 0 = none; only the model of responses reads it."""

    def take(self, rows: np.ndarray) -> "Asked":
        """Customers `rows`."""
        columns = None if self.columns is None else self.columns.take(rows)
        channel = None if self.channel is None else self.channel[rows]
        return Asked(self.history.take(rows), self.now[rows], self.tower[rows], columns, channel)

    @property
    def valid(self) -> np.ndarray:
        """[B, L] bool: entries of the history that name a product."""
        steps = np.arange(self.history.product.shape[1])[None, :]
        return (steps < self.history.length[:, None]) & (self.history.product >= 0)


def source_scores(tables: ItemTables, asked: Asked) -> Columns:
    """Name to [B, P] float32: the scores of all simple sources."""
    return proposals(tables, asked) | likenesses(tables, asked)


def proposals(tables: ItemTables, asked: Asked) -> Columns:
    """Name to [B, P] float32: the scores of the sources that propose candidates."""
    once = _Once.of(asked)
    weights, rows = _history_weights(once.asked, len(tables)), len(once.asked.now)
    scores: Columns = {}
    for name, matrix in tables.neighbours.items():
        views = len(_VIEWS) if name == "transition" else 2
        reached = _by_view(weights[: views * rows] @ matrix, views)
        scores[name], scores[f"{name}_recent"] = reached["all"], reached["recent"]
        if name == "transition":
            scores |= {f"transition_{step}": reached[f"last_{step}"] for step in range(1, _RECENT + 1)}
    if tables.factors.shape[1]:
        scores["factors"] = fold_in(weights[:rows], tables.factors) @ tables.factors.T
    return {name: once.for_all(np.asarray(values, np.float32)) for name, values in scores.items()}


def likenesses(tables: ItemTables, asked: Asked, products: np.ndarray | None = None) -> Columns:
    """Name to [B, P] float32: how like each product's content is to that of the history.

    Args:
        tables: what products are.
        asked: the customers.
        products: [Q] int64: those that are looked at, ascending; the others read 0. None: all.
    """
    once = _Once.of(asked)
    views, rows = len(_COMPARED), len(once.asked.now)
    weights = _history_weights(once.asked, len(tables))[: views * rows]
    some = slice(None) if products is None else products
    near = {name: _unit_rows(weights @ vectors) @ vectors[some].T for name, vectors in tables.content.vectors.items()}
    labels = tables.content.labels
    near["labels"] = _mean_rows(weights) @ labels @ (labels if products is None else labels[products]).T
    scores: Columns = {}
    for name, values in near.items():
        for view, part in _by_view(values, views).items():
            whole = np.asarray(part, np.float32)
            if products is not None:
                whole = np.zeros((rows, len(tables)), np.float32)
                whole[:, products] = part
            scores[f"{name}_{view}"] = once.for_all(whole)
    return scores


class _Once(NamedTuple):
    """Customers with each history only once: explanations ask about one history under many names."""

    asked: Asked
    which: np.ndarray | None
    """[B] int64: whose of `asked` each customer's history is; None: each his own."""

    @classmethod
    def of(cls, asked: Asked) -> "_Once":
        if len(asked.now) > _FEW:
            return cls(asked, None)
        first, which = distinct(asked.history)
        return cls(asked, None) if len(first) == len(which) else cls(asked.take(first), which)

    def for_all(self, values: np.ndarray) -> np.ndarray:
        """[U, P] to [B, P]."""
        return values if self.which is None else values[self.which]


class FeatureBuilder:
    """Makes the features of pairs."""

    def __init__(self, tables: ItemTables, event_types: tuple[str, ...], numbers: tuple[str, ...]) -> None:
        """`event_types` are the codes 1, 2, ... of the histories; `numbers` names the products' numeric attributes."""
        self.tables = tables
        self.event_types = event_types
        self.numbers = numbers
        self._ages = Ages.of(tables.activity)

    def build(self, asked: Asked, sources: Columns, pairs: Pairs, wanted: frozenset[str] | None = None) -> Columns:
        """Name to [E] float32; the names and their order depend on the tables only.

        Args:
            asked: the customers.
            sources: the scores of the simple sources.
            pairs: the candidates.
            wanted: nobody asks for the others: of `sources` and of the places in them only these are made; None: all.
        """
        customer, product = pairs
        scores = {"tower": asked.tower} | sources
        columns = {
            name: values[customer, product] for name, values in scores.items() if wanted is None or name in wanted
        }
        for name in (name for name in scores if name in _RANKED):
            if wanted is None or f"{name}_rank" in wanted:
                columns[f"{name}_rank"] = _log_rank(scores[name])[customer, product]
        columns |= self._activity(asked.now[customer], product)
        columns |= {name: values[customer] for name, values in _customer(asked).items()}
        columns |= self._attributes(asked, pairs)
        columns |= self._touched(asked, pairs)
        return {name: np.asarray(values, np.float32) for name, values in columns.items()}

    def _activity(self, now: np.ndarray, product: np.ndarray) -> Columns:
        activity = self.tables.activity
        total = activity.before(product, now)
        columns = {"count": np.log1p(total)}
        for days in _WINDOWS:
            columns[f"count_{days}d"] = np.log1p(total - activity.before(product, now - days * _DAY))
        columns["age_last"], columns["age_first"] = self._ages.before(product, now)
        columns["trend"] = columns[f"count_{_WINDOWS[0]}d"] - columns[f"count_{_WINDOWS[-1]}d"]
        return columns

    def _attributes(self, asked: Asked, pairs: Pairs) -> Columns:
        """Each number of the product, and its distance from the mean and the last of the customer's history."""
        columns: Columns = {}
        valid = asked.valid
        last = np.where(valid.any(axis=1), valid.shape[1] - 1 - np.argmax(valid[:, ::-1], axis=1), 0)
        for number, values in zip(self.numbers, self.tables.content.numbers.T, strict=True):
            name = f"attribute_{number}"
            touched = np.where(valid, values[asked.history.product], np.nan)
            known = np.isfinite(touched)
            with np.errstate(invalid="ignore"):
                mean = np.where(known, touched, 0.0).sum(axis=1) / known.sum(axis=1)
            columns[name] = values[pairs.product]
            columns[f"{name}_from_mean"] = columns[name] - mean[pairs.customer]
            columns[f"{name}_from_last"] = columns[name] - touched[np.arange(len(last)), last][pairs.customer]
        return columns

    def _touched(self, asked: Asked, pairs: Pairs) -> Columns:
        """How often the customer touched the candidate himself, by type of event, and how long ago the last time."""
        history, products = asked.history, len(self.tables)
        row, step = np.nonzero(asked.valid)
        of_entry = row * products + history.product[row, step]
        touched, entry = np.unique(of_entry, return_inverse=True)
        own = np.full(len(asked.now) * products, len(touched), np.int32)  # the last place is of what he never touched
        own[touched] = np.arange(len(touched))
        place = own[pairs.customer * products + pairs.product]
        counts = np.zeros((len(self.event_types) + 1, len(touched) + 1), np.float32)
        np.add.at(counts, (history.event_type[row, step], entry), 1)
        latest = np.zeros(len(touched) + 1, np.int64)
        np.maximum.at(latest, entry, history.timestamp[row, step])
        columns = {f"own_{name}": counts[code][place] for code, name in enumerate(self.event_types, start=1)}
        last = latest[place]
        age = np.where(last > 0, _log_seconds(asked.now[pairs.customer] - last), np.nan)
        return columns | {"own_age": age}


_RANKED = frozenset({"tower", "ease", "transition_recent", "knn_recent"})
"""Whose place in the customer's list is a feature beside the score."""


_VIEWS = ("all", "recent", *(f"last_{step}" for step in range(1, _RECENT + 1)))
"""How a history is summed up: its distinct products, with recency, and the last few one by one."""
_COMPARED = _VIEWS[:3]
"""The views whose content is compared with the candidates'."""
_FEW = 64
"""Up to so many customers it is worth a look whether they share histories."""


def _history_weights(asked: Asked, products: int) -> sparse.csr_matrix:
    """[V * B, P]: the histories in each of the views; in one matrix, since a product costs more than its numbers."""
    valid = asked.valid
    row, column = np.nonzero(valid)
    product = asked.history.product[row, column]
    from_end = valid.sum(axis=1)[row] - np.cumsum(valid, axis=1)[row, column]
    weight = np.stack([np.ones(len(row)), _DECAY**from_end, *(from_end == step for step in range(_RECENT))])
    view, entry = np.nonzero(weight)
    places = (view * len(valid) + row[entry], product[entry])
    matrix = sparse.csr_matrix(
        (weight[view, entry].astype(np.float32), places), shape=(len(_VIEWS) * len(valid), products)
    )
    matrix.data[: matrix.indptr[len(valid)]] = 1.0
    return matrix


def _by_view(scores: sparse.csr_matrix | np.ndarray, views: int) -> Columns:
    """[V * B, P] as view to [B, P], of the first V views."""
    dense = np.asarray(scores) if isinstance(scores, np.ndarray) else scores.toarray()
    return dict(zip(_VIEWS[:views], np.split(dense, views), strict=True))


def _customer(asked: Asked) -> Columns:
    """[B]: how long the history is, and when it began and ended."""
    history = asked.history
    length = history.length
    has = length > 0
    last = history.timestamp[np.arange(len(length)), np.maximum(length - 1, 0)]
    return {
        "length": length,
        "since_last": np.where(has, _log_seconds(asked.now - last), np.nan),
        "span": np.where(has, _log_seconds(last - history.timestamp[:, 0]), np.nan),
    }


def _log_seconds(micros: np.ndarray) -> np.ndarray:
    return np.log1p(np.maximum(micros, 0) / 1e6)


def _log_rank(scores: np.ndarray) -> np.ndarray:
    """[B, P] float32: log of each item's place in its row, from 0."""
    rank = np.empty(scores.shape, np.float32)
    places = np.log1p(np.arange(scores.shape[1], dtype=np.float32))
    np.put_along_axis(rank, np.argsort(-scores, axis=1, kind="stable"), places[None, :], axis=1)
    return rank


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def _mean_rows(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    total = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-9)
    mean = weights.copy()
    mean.data /= np.repeat(total, np.diff(weights.indptr)).astype(np.float32)
    return mean
