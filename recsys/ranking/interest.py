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

    def score(self, asked: Asked, shared: Columns, pairs: Pairs) -> np.ndarray:
        """[E] float32 log-odds.

        Args:
            asked: the customers, with their columns.
            shared: features of the pairs that the ranker reads too; those that were fitted on answers are not read.
            pairs: the candidates.
        """
        if not len(pairs.product):
            return np.zeros(0, np.float32)
        matched = {}
        if self.matched is not None and asked.columns is not None:
            matched = self.matched(asked.columns, self.tables.customers)
        crossed, products, column = _crossed(self.tables, self.items, asked, pairs, self.config.event_types)
        own = np.zeros((len(self._own), len(column)), np.float32)
        for row, name in zip(own, self._own, strict=True):
            if name not in self.reads:
                continue
            if name in crossed:
                row[:] = crossed[name][pairs.customer, column]
            else:
                row[:] = matched[name][pairs] if name in matched else shared[name]
        customers = self.tables.customers.columns(_columns(asked))
        parts = Parts(customers, self.tables.products[products], own, pairs.customer, column)
        return self.model.predict_parts(parts, self.config.rounds)


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
    crossed, products, column = _crossed(tables, items, asked, pairs, event_types)
    own = free | {name: values[pairs.customer, column] for name, values in crossed.items()}
    customers = tables.customers.columns(_columns(asked))
    rows = np.stack(list(own.values()), axis=0, dtype=np.float32)
    parts = Parts(customers, tables.products[products], rows, pairs.customer, column)
    return [*tables.customer_names, *tables.product_names, *own], parts.rows()


def _crossed(
    tables: InterestTables, items: ItemTables, asked: Asked, pairs: Pairs, event_types: tuple[str, ...]
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """Name to [B, Q] float32, the Q products that occur, and [E] int64: which of those each pair's is."""
    products, column = np.unique(pairs.product, return_inverse=True)
    said = _said(_columns(asked), tables.customers, items, products)
    return _near(asked, items, event_types, products) | said, products, column


def _columns(asked: Asked) -> EntityRows:
    if asked.columns is None:
        raise ValueError("interest is asked for without the customers' columns")
    return asked.columns


def _near(asked: Asked, items: ItemTables, event_types: tuple[str, ...], products: np.ndarray) -> Columns:
    """[B, Q] for each type of event: how much of it the customer did lately with products of the same labels."""
    valid, history = asked.valid, asked.history
    weight = np.where(valid, np.exp(-(asked.now[:, None] - history.timestamp) / (FADES_DAYS * _DAY)), 0.0)
    done = np.zeros((len(event_types), len(valid), len(items)), np.float32)
    row, step = np.nonzero(valid & (history.event_type > 0))
    np.add.at(done, (history.event_type[row, step] - 1, row, history.product[row, step]), weight[row, step])
    labels = items.content.labels
    near = (done.reshape(-1, len(items)) @ labels) @ labels[products].T.toarray()
    shape = (len(event_types), len(valid), len(products))
    return {f"near_{name}": part for name, part in zip(event_types, near.reshape(shape), strict=True)}


def _said(columns: EntityRows, customers: Profiles, items: ItemTables, products: np.ndarray) -> Columns:
    """[B, Q] for each kind of embedding that customers and products share: their cosine."""
    scores: Columns = {}
    for name, vectors in items.content.vectors.items():
        reduction = customers.reductions.get(name)
        if reduction is None or vectors.shape[1] != len(reduction.mean):
            continue
        own = columns.vectors[name]
        centred = np.where(np.abs(own).sum(axis=1, keepdims=True) > 0, own - reduction.mean, 0.0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
        scores[f"said_{name}"] = np.asarray(unit @ vectors[products].T, np.float32)
    return scores
