"""Cross features of customers and candidates: what the second stage ranks by.

All of it comes from what the feature store gives at the time of asking (the history, the instant), the towers' scores
and the bundle's tables; training rows are made by the same code. B customers, P products, E pairs, F features.
"""

from typing import NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.activity import Ages
from recsys.ranking.feature_loop import ACTIVITY, CUSTOMER, of_activity, of_history, of_ranks, warm_up
from recsys.ranking.sources import named
from recsys.ranking.tables import ItemTables

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

    def take(self, rows: np.ndarray | slice) -> "Asked":
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
        attributes = [f"attribute_{number}{what}" for number in numbers for what in ("", "_from_mean", "_from_last")]
        self._own = (*CUSTOMER, *attributes, *(f"own_{name}" for name in event_types), "own_age")
        activity = tables.activity
        latest, first = (np.ascontiguousarray(values, np.int64) for values in Ages.of(activity)[1:])
        self._activity = (activity.start, activity.width, _single(activity.cumulative), latest, first)
        self._values = _single(tables.content.numbers)
        warm_up()

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
        names, values = self.block(asked, sources, pairs, wanted, which)
        return dict(zip(names, values, strict=True))

    def block(
        self,
        asked: Asked,
        sources: Columns,
        pairs: Pairs,
        wanted: frozenset[str] | None = None,
        which: np.ndarray | None = None,
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """As `build`: the names, and [K, E] float32."""
        customer, product = pairs
        row = customer if which is None else which[customer]
        scores = {"tower": (customer, asked.tower)} | {name: (row, values) for name, values in sources.items()}
        if wanted is None:
            chosen, ranked = tuple(scores), tuple(name for name in scores if name in _RANKED)
        else:
            chosen = tuple(name for name in scores if name in wanted)
            ranked = tuple(name for name in scores if name in _RANKED and f"{name}_rank" in wanted)
        names = (*chosen, *(f"{name}_rank" for name in ranked), *ACTIVITY, *self._own)
        out = np.empty((len(names), len(product)), np.float32)
        size = len(self.tables)
        places = {id(rows): rows * size + product for rows in (customer, row)}  # sooner done than with two indices
        for name, values in zip(chosen, out, strict=False):
            rows, table = scores[name]
            table.take(places[id(rows)], out=values, mode="clip")
        for name, values in zip(ranked, out[len(chosen) :], strict=False):
            rows, table = scores[name]
            of_ranks(_single(table), rows, product, values)
        rest = out[len(chosen) + len(ranked) :]
        of_activity(customer, product, asked.now, *self._activity, rest[: len(ACTIVITY)])
        of_history(customer, product, asked.now, *entries_of(asked.history), self._values, rest[len(ACTIVITY) :])
        return names, out


_RANKED = frozenset({"tower", "ease", "transition_recent", "knn_recent"})
"""Whose place in the customer's list is a feature beside the score."""


def entries_of(history: HistoryArrays) -> tuple[np.ndarray, ...]:
    """Products, types and times, [B, L], and lengths, [B], as the loops read them."""
    arrays = (history.product, history.event_type, history.timestamp, history.length)
    return tuple(np.ascontiguousarray(values, np.int64) for values in arrays)


def _single(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)
