"""Fits the bilinear model on the labels, whole and once for each fold of the customers."""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsys.modeling.encoding import EntityRows
from recsys.ranking.affinity import Affinity, AffinityConfig, Learned, customer_blocks, product_basis
from recsys.ranking.features import Columns
from recsys.ranking.interest import Matched
from recsys.ranking.profiles import Profiles
from recsys.ranking.tables import ContentTables
from training.dataset import Prepared

_FEWEST = 500
"""With fewer labels in a fold's rest there is no such model."""


class MatchedFolds(NamedTuple):
    """The model of all customers, and those that have not seen one fold of them."""

    whole: Matched
    folds: list[Matched]

    def unseen(self, customer_ids: Sequence[str], columns: EntityRows, profiles: Profiles) -> Columns:
        """Name to [B, P] float32: each customer by the model that has learned nothing of him."""
        fold = folds_of(customer_ids, len(self.folds))
        found = [model(columns, profiles) for model in self.folds]
        choices = np.arange(len(fold))
        return {name: np.stack([scores[name] for scores in found])[fold, choices] for name in found[0]}


def fit_affinity(prepared: Prepared, profiles: Profiles, config: AffinityConfig, seed: int) -> MatchedFolds | None:
    """The models; None where the catalogue is too large or the labels are too few."""
    training, encoding = prepared.training, prepared.inputs.customers
    labels = training.labels
    known = labels.product >= 0
    if not config.enabled or len(prepared.products.present) > config.most_products or not encoding.groups:
        return None
    fold = folds_of(training.customer_ids, config.folds)[labels.customer]
    if min((known & (fold != held_out)).sum() for held_out in range(config.folds)) < _FEWEST:
        return None
    blocks = customer_blocks(encoding, profiles, training.columns)
    products = product_basis(ContentTables.fit(prepared.inputs.products, prepared.products), config.product_directions)

    def fit(chosen: np.ndarray) -> Matched:
        learned = Learned(labels.row[chosen], labels.product[chosen], labels.weight[chosen])
        return Matched(Affinity.fit(blocks, products, learned, config, seed), encoding)

    return MatchedFolds(fit(known), [fit(known & (fold != held_out)) for held_out in range(config.folds)])


def folds_of(customer_ids: Sequence[str], folds: int) -> np.ndarray:
    """[N] int64: the fold of each customer, the same wherever he is met."""
    return np.array([zlib.crc32(name.encode()) % folds for name in customer_ids], np.int64)
