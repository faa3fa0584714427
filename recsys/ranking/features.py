"""Cross features of customers and candidates: what the second stage ranks by.

All of it comes from what the feature store gives at the time of asking (the history, the instant), the towers' scores
and the bundle's tables; training rows are made by the same code. B customers, P products, E pairs, F features.
"""

from typing import NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.activity import Ages
from recsys.ranking.sources import named
from recsys.ranking.tables import ItemTables

_DAY = 86_400_000_000
_WINDOWS = (7, 30, 90)

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
        return named(self.history)


class FeatureBuilder:
    """Makes the features of pairs."""

    def __init__(self, tables: ItemTables, event_types: tuple[str, ...], numbers: tuple[str, ...]) -> None:
        """`event_types` are the codes 1, 2, ... of the histories; `numbers` names the products' numeric attributes."""
        self.tables = tables
        self.event_types = event_types
        self.numbers = numbers
        self._ages = Ages.of(tables.activity)

    def build(
        self,
        asked: Asked,
        sources: Columns,
        pairs: Pairs,
        wanted: frozenset[str] | None = None,
        which: np.ndarray | None = None,
    ) -> Columns:
        """Name to [E] float32; the names and their order depend on the tables only.

        Args:
            asked: the customers.
            sources: the scores of the simple sources, [U, P].
            pairs: the candidates.
            wanted: nobody asks for the others: of `sources` and of the places in them only these are made; None: all.
            which: [B] int64: whose row of `sources` each customer's is; None: each his own.
        """
        customer, product = pairs
        row = customer if which is None else which[customer]
        size = len(self.tables)
        in_tower, in_sources = customer * size + product, row * size + product  # `take` is faster than two indices
        scores = {"tower": (in_tower, asked.tower)} | {name: (in_sources, values) for name, values in sources.items()}
        columns = {
            name: values.take(places) for name, (places, values) in scores.items() if wanted is None or name in wanted
        }
        for name in (name for name in scores if name in _RANKED):
            if wanted is None or f"{name}_rank" in wanted:
                places, values = scores[name]
                columns[f"{name}_rank"] = _log_rank(values).take(places)
        columns |= self._activity(asked.now[customer], product)
        columns |= {name: values[customer] for name, values in _customer(asked).items()}
        columns |= self._attributes(asked, pairs)
        columns |= self._touched(asked, pairs)
        return {
            name: values if values.dtype == np.float32 else values.astype(np.float32)
            for name, values in columns.items()
        }

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
        numbers = self.tables.content.numbers
        touched = np.where(valid[:, :, None], numbers[asked.history.product], np.float32("nan"))  # [B, L, N]
        known = np.isfinite(touched)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, touched, np.float32(0)).sum(axis=1, dtype=np.float64) / known.sum(axis=1)
        own = numbers[pairs.product]
        from_mean = own - mean[pairs.customer]
        from_last = own - touched[np.arange(len(last)), last][pairs.customer]
        for place, number in enumerate(self.numbers):
            name = f"attribute_{number}"
            columns[name] = own[:, place]
            columns[f"{name}_from_mean"], columns[f"{name}_from_last"] = from_mean[:, place], from_last[:, place]
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
