"""Interest: a boosted model of who takes up what, from what customers and products are, learned from earlier questions.

The ranker learns from few answers, those that the towers have not seen. Much more is known of earlier times: what
customers took up then, with the features of just before. Of those the towers and the neighbours have seen the answers,
so this model looks at neither: only at columns, at content and at the customer's own history. Its score is one of the
ranker's features.
"""

from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import ModelError
from recsys.modeling.encoding import EntityEncoding, EntityRows
from recsys.ranking.affinity import Affinity, customer_blocks
from recsys.ranking.boosted import BoostedRanker
from recsys.ranking.features import Asked, Columns, Pairs
from recsys.ranking.forest import Parts
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.spread import Lists, times_transposed
from recsys.ranking.tables import ItemTables

INTEREST = "interest"
"""The name of its score among the ranker's features."""
LEARNED = ("tower", "ease", "knn", "transition", "factors")
"""How the names of the features begin that were fitted on the answers themselves."""
FADES_DAYS = 20.0
"""An entry of the history counts for `exp(-age / FADES_DAYS)` in what the customer did near a product."""
_DAY = 86_400_000_000


class InterestConfig(BaseConfig):
    """What the model reads, as it was fitted."""

    rounds: int = Field(default=400, ge=1)
    features: tuple[str, ...]
    """The names of its features, in order."""
    event_types: tuple[str, ...]
    products: tuple[str, ...]
    """The names of the products' columns."""


class InterestTables(NamedTuple):
    """What it knows of customers and products."""

    customers: Profiles
    products: np.ndarray
    """[P, F] float32: the columns of each product."""
    customer_names: list[str]
    product_names: list[str]

    @classmethod
    def build(
        cls, customers: Profiles, products: np.ndarray, product_names: list[str], encoding: EntityEncoding
    ) -> "InterestTables":
        """With the names of the customers' columns."""
        return cls(customers, products, customers.names(encoding), product_names)

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file; the names are the config's."""
        return {"products": self.products, **self.customers.to_arrays("customers")}


class Matched(NamedTuple):
    """The bilinear model, and how the customers' columns are read for it."""

    affinity: Affinity
    encoding: EntityEncoding

    def __call__(self, columns: EntityRows, customers: Profiles) -> Columns:
        """Name to [B, P] float32."""
        return self.affinity.scores(customer_blocks(self.encoding, customers, columns))


def with_affinity(names: list[str], values: np.ndarray, scores: Columns, pairs: Pairs) -> tuple[list[str], np.ndarray]:
    """The features of the pairs with those [B, P] scores."""
    crossed = [scores[name][pairs.customer, pairs.product][:, None] for name in scores]
    return [*names, *scores], np.concatenate([values, *crossed], axis=1, dtype=np.float32)


class Interest:
    """Scores pairs of customers and products."""

    def __init__(
        self,
        tables: InterestTables,
        items: ItemTables,
        model: BoostedRanker,
        config: InterestConfig,
        matched: "Matched | None" = None,
    ) -> None:
        """`matched` is read where the model was fitted with it."""
        self.tables = tables
        self.matched = matched
        self.items = items
        self.model = model
        self.config = config
        self.reads = frozenset(config.features[column] for column in model.used())
        """The names of the features that any tree asks for: nobody needs the others."""
        known = (*tables.customer_names, *tables.product_names)
        if config.features[: len(known)] != known:
            raise ModelError("the bundle's model of interest was fitted on other columns: train again")
        self._own = config.features[len(known) :]
        """The names of the pairs' own features."""

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file, without the items' tables, which the bundle has."""
        matched = {} if self.matched is None else self.matched.affinity.to_arrays()
        return self.tables.to_arrays() | matched

    def read(self, asked: Asked) -> "InterestRead":
        """What the model sees of customers alone."""
        matched = {}
        if self.matched is not None and asked.columns is not None:
            matched = self.matched(asked.columns, self.tables.customers)
        return read_customers(self.tables, self.items, asked, self.config.event_types)._replace(matched=matched)

    def score(self, asked: Asked, shared: Columns, pairs: Pairs, read: "InterestRead | None" = None) -> np.ndarray:
        """[E] float32 log-odds.

        Args:
            asked: the customers, with their columns.
            shared: features of the pairs that the ranker reads too; those that were fitted on answers are not read.
            pairs: the candidates.
            read: what `read` says, where it is known already.
        """
        if not len(pairs.product):
            return np.zeros(0, np.float32)
        read = self.read(asked) if read is None else read
        crossed, products, column = _crossed(read, self.items, pairs)
        own = np.zeros((len(self._own), len(column)), np.float32)
        for row, name in zip(own, self._own, strict=True):
            if name not in self.reads:
                continue
            if name in crossed:
                row[:] = crossed[name][pairs.customer, column]
            else:
                row[:] = read.matched[name][pairs] if name in read.matched else shared[name]
        parts = Parts(read.columns, self.tables.products[products], own, pairs.customer, column)
        return self.model.predict_parts(parts, self.config.rounds)


class InterestRead(NamedTuple):
    """What is seen of B customers, whatever they are asked about."""

    columns: np.ndarray
    """[B, F] float32: their columns."""
    near: Columns
    """Type of event to [B, G] float32: how much of it was done lately with products of each label."""
    said: Columns
    """Name of the embedding to [B, D] float32, centred and of unit length: of those that products have too."""
    matched: Columns
    """Name to [B, P] float32: the bilinear model's scores."""

    def take(self, rows: np.ndarray | slice) -> "InterestRead":
        """Of customers `rows`."""
        near, said, matched = ({name: values[rows] for name, values in group.items()} for group in self[1:])
        return InterestRead(self.columns[rows], near, said, matched)


def interest_features(
    tables: InterestTables,
    items: ItemTables,
    asked: Asked,
    shared: Columns,
    pairs: Pairs,
    event_types: tuple[str, ...],
) -> tuple[list[str], np.ndarray]:
    """Names, and [E, F] float32 of the pairs: those of the customers, of the products, and the pairs' own."""
    free = {name: values for name, values in shared.items() if not name.startswith(LEARNED)}
    read = read_customers(tables, items, asked, event_types)
    crossed, products, column = _crossed(read, items, pairs)
    own = free | {name: values[pairs.customer, column] for name, values in crossed.items()}
    rows = np.stack(list(own.values()), axis=0, dtype=np.float32)
    parts = Parts(read.columns, tables.products[products], rows, pairs.customer, column)
    return [*tables.customer_names, *tables.product_names, *own], parts.rows()


def read_customers(
    tables: InterestTables, items: ItemTables, asked: Asked, event_types: tuple[str, ...]
) -> InterestRead:
    """What is seen of customers alone, without a bilinear model."""
    if asked.columns is None:
        raise ValueError("interest is asked for without the customers' columns")
    near, said = _near(asked, items, event_types), _said(asked.columns, tables.customers, items)
    return InterestRead(tables.customers.columns(asked.columns), near, said, {})


def _crossed(read: InterestRead, items: ItemTables, pairs: Pairs) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Name to [B, Q] float32, the Q products that occur, and [E] int64: which of those each pair's is."""
    products, column = np.unique(pairs.product, return_inverse=True)
    near = {f"near_{name}": times_transposed(rows, items.content.labels, products) for name, rows in read.near.items()}
    said = {f"said_{name}": rows @ items.content.vectors[name][products].T for name, rows in read.said.items()}
    return near | said, products, column


def _near(asked: Asked, items: ItemTables, event_types: tuple[str, ...]) -> Columns:
    valid, history = asked.valid, asked.history
    row, step = np.nonzero(valid & (history.event_type > 0))
    ages = (asked.now[row] - history.timestamp[row, step]) / _DAY
    weight, kind = np.exp(-ages / FADES_DAYS), history.event_type[row, step] - 1
    place = kind * len(valid) + row
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(len(event_types) * len(valid) + 1))
    lists = Lists(begins, history.product[row, step][order], weight[order].astype(np.float32))
    near = lists.times_sparse(items.content.labels)
    return dict(zip(event_types, near.reshape(len(event_types), len(valid), near.shape[1]), strict=True))


def _said(columns: EntityRows, customers: Profiles, items: ItemTables) -> Columns:
    units: Columns = {}
    for name, vectors in items.content.vectors.items():
        reduction = customers.reductions.get(name)
        if reduction is None or vectors.shape[1] != len(reduction.mean):
            continue
        own = columns.vectors[name]
        centred = np.where(np.abs(own).sum(axis=1, keepdims=True) > 0, own - reduction.mean, 0.0)
        units[name] = np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9), np.float32)
    return units
