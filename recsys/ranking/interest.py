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
from recsys.ranking.features import Asked, Columns, Pairs, entries_of
from recsys.ranking.forest import Parts
from recsys.ranking.interest_loop import of_embedding, of_labels, warm_up
from recsys.ranking.profiles import Arrays, Profiles
from recsys.ranking.spread import times_transposed
from recsys.ranking.tables import ItemTables

INTEREST = "interest"
"""The name of its score among the ranker's features."""
LEARNED = ("tower", "ease", "knn", "transition", "factors")
"""How the names of the features begin that were fitted on the answers themselves."""


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

    def __call__(self, columns: EntityRows, customers: Profiles, reduced: Columns | None = None) -> Columns:
        """Name to [B, P] float32; `reduced` is what `customers.reduced` says, where it is known already."""
        return dict(zip(self.affinity.names, self.table(columns, customers, reduced), strict=True))

    def table(self, columns: EntityRows, customers: Profiles, reduced: Columns | None = None) -> np.ndarray:
        """[M, B, P] float32: M scores, `affinity.names`."""
        return self.affinity.table(customer_blocks(self.encoding, customers, columns, reduced))


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
        self._read_rows = [(row, name) for row, name in enumerate(self._own) if name in self.reads]
        warm_up()

    def to_arrays(self) -> Arrays:
        """Flat arrays for a safetensors file, without the items' tables, which the bundle has."""
        matched = {} if self.matched is None else self.matched.affinity.to_arrays()
        return self.tables.to_arrays() | matched

    def read(self, asked: Asked) -> "InterestRead":
        """What the model sees of customers alone."""
        return read_customers(self.tables, self.items, asked, len(self.config.event_types), self.matched)

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
        crossed, products, column = _crossed(read, self.items, pairs, self.config.event_types)
        if self.matched is not None and read.matched is not None:
            crossed |= zip(self.matched.affinity.names, _of_pairs(read.matched, *pairs), strict=True)
        own = np.zeros((len(self._own), len(column)), np.float32)
        for row, name in self._read_rows:
            own[row] = crossed[name] if name in crossed else shared[name]
        parts = Parts(read.columns, self.tables.products[products], own, pairs.customer, column)
        return self.model.predict_parts(parts, self.config.rounds)


class InterestRead(NamedTuple):
    """What is seen of B customers, whatever they are asked about."""

    columns: np.ndarray
    """[B, F] float32: their columns."""
    near: np.ndarray
    """[T, B, G] float32: how much of each type of event was done lately with products of each label."""
    said: Columns
    """Name of the embedding to [B, D] float32, centred and of unit length: of those that products have too."""
    matched: np.ndarray | None
    """[M, B, P] float32: the bilinear model's scores; None: there is none."""

    def take(self, rows: np.ndarray | slice) -> "InterestRead":
        """Of customers `rows`."""
        said = {name: values[rows] for name, values in self.said.items()}
        matched = None if self.matched is None else self.matched[:, rows]
        return InterestRead(self.columns[rows], self.near[:, rows], said, matched)


def interest_features(
    tables: InterestTables,
    items: ItemTables,
    asked: Asked,
    shared: Columns,
    pairs: Pairs,
    event_types: tuple[str, ...],
) -> tuple[list[str], np.ndarray]:
    """Names, and [E, F] float32 of the pairs: those of the customers, of the products, and the pairs' own."""
    customers, own = pair_columns(tables, items, asked, shared, pairs, event_types)
    rows = np.stack(list(own.values()), axis=0, dtype=np.float32)
    parts = Parts(customers, tables.products, rows, pairs.customer, pairs.product)
    return [*tables.customer_names, *tables.product_names, *own], parts.rows()


def pair_columns(
    tables: InterestTables,
    items: ItemTables,
    asked: Asked,
    shared: Columns,
    pairs: Pairs,
    event_types: tuple[str, ...],
) -> tuple[np.ndarray, Columns]:
    """[B, F] float32 of the customers, and name to [E] of the pairs; of `shared`, what was not fitted on answers."""
    free = {name: values for name, values in shared.items() if not name.startswith(LEARNED)}
    read = read_customers(tables, items, asked, len(event_types))
    return read.columns, free | _crossed(read, items, pairs, event_types)[0]


def read_customers(
    tables: InterestTables, items: ItemTables, asked: Asked, types: int, matched: Matched | None = None
) -> InterestRead:
    """What is seen of customers alone.

    Args:
        tables: what is known of customers.
        items: what is known of products.
        asked: the customers.
        types: how many types of event there are.
        matched: a bilinear model that looks at them too.

    Raises:
        ValueError: their columns are not there.
    """
    columns, customers = asked.columns, tables.customers
    if columns is None:
        raise ValueError("interest is asked for without the customers' columns")
    reduced = customers.reduced(columns)
    near = np.zeros((types, len(asked.now), items.labels.shape[1]), np.float32)
    of_labels(*entries_of(asked.history), asked.now, *items.labels[:3], near)
    scores = None if matched is None else matched.table(columns, customers, reduced)
    return InterestRead(
        customers.columns(columns, reduced), near, units(columns, customers, items.content.vectors), scores
    )


def _crossed(
    read: InterestRead, items: ItemTables, pairs: Pairs, event_types: tuple[str, ...]
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Name to [E] float32, the Q products that occur, and [E] int64: which of those each pair's is."""
    occur = np.zeros(len(items), bool)
    occur[pairs.product] = True
    products = np.flatnonzero(occur)
    column = (np.cumsum(occur) - 1)[pairs.product]
    types, count, labels = read.near.shape
    flat = np.ascontiguousarray(read.near).reshape(types * count, labels)
    near = _of_pairs(times_transposed(flat, items.labels, products).reshape(types, count, -1), pairs.customer, column)
    found = {f"near_{name}": values for name, values in zip(event_types, near, strict=True)}
    for name, rows in read.said.items():
        found[f"said_{name}"] = (rows @ items.content.vectors[name][products].T)[pairs.customer, column]
    return found, products, column


def _of_pairs(values: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """[K, E]: of [K, B, Q], what stands at each pair."""
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    return flat.take(row * values.shape[2] + column, axis=1)


def units(columns: EntityRows, customers: Profiles, vectors: Arrays) -> Columns:
    """Name to [B, D] float32: the customers' embeddings, centred and of unit length, that are comparable to others.

    Args:
        columns: the customers.
        customers: how they are read.
        vectors: name to [N, D] float32: the others.
    """
    found: Columns = {}
    for name, others in vectors.items():
        reduction = customers.reductions.get(name)
        if reduction is not None and others.shape[1] == len(reduction.mean):
            own = np.ascontiguousarray(columns.vectors[name], np.float32)
            found[name] = np.empty_like(own)
            of_embedding(own, reduction.mean, found[name])
    return found
