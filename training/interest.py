"""Fits the model of interest on questions about earlier times and on those whose answers are known by now."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from recsys.modeling.reader import ModelReader
from recsys.ranking.boosted import BoostedRanker, RankingRows
from recsys.ranking.features import Asked, FeatureBuilder, Pairs
from recsys.ranking.interest import (
    Interest,
    InterestConfig,
    InterestTables,
    interest_features,
    with_affinity,
)
from recsys.ranking.profiles import Profiles
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ItemTables, numeric_names
from training.affinity import MatchedFolds, fit_affinity
from training.dataset import Prepared
from training.interest_config import InterestRecipe
from training.queries import Queries
from training.scoring import read_queries

_AT_ONCE = 512
"""Questions whose features are made at a time: bounds memory."""


class Example(NamedTuple):
    """Questions with the features of some of their candidates."""

    rows: RankingRows
    names: list[str]


class InterestFitter:
    """Fits the model for one catalogue."""

    def __init__(self, prepared: Prepared, reader: ModelReader, recipe: InterestRecipe, seed: int) -> None:
        self._inputs = prepared.inputs
        self._reader = reader
        self._recipe = recipe
        self._seed = seed
        inputs = prepared.inputs
        products = Profiles.fit(prepared.products, recipe.product_directions)
        customers = Profiles.fit(prepared.training.columns, recipe.customer_directions)
        self.tables = InterestTables.build(
            customers, products.columns(prepared.products), products.names(inputs.products), inputs.customers
        )
        self._matched: MatchedFolds | None = fit_affinity(prepared, customers, recipe.affinity, seed)

    def examples(self, asked: Iterable[Queries], items: ItemTables) -> list[Example]:
        """The features of questions; activity in `items` is only looked at before each question's instant."""
        return [
            self._example(queries.take(np.arange(start, min(start + _AT_ONCE, len(queries)))), items)
            for queries in asked
            for start in range(0, len(queries), _AT_ONCE)
        ]

    def fit(
        self, examples: list[Example], items: ItemTables, threads: int, more: Sequence[Example] = ()
    ) -> Interest | None:
        """The model; None where there are too few questions, without those that are asked once `more`."""
        if sum(len(np.unique(example.rows.query)) for example in examples) < self._recipe.fewest:
            return None
        examples = [*examples, *more]
        rows = RankingRows.joined([example.rows for example in examples])
        model = BoostedRanker.fit(rows, self._recipe.trees, self._seed, threads)
        config = InterestConfig(
            rounds=self._recipe.trees.rounds,
            features=tuple(examples[0].names),
            event_types=self._inputs.event_types,
            products=tuple(self.tables.product_names),
        )
        matched = None if self._matched is None else self._matched.whole
        return Interest(self.tables, items, model, config, matched)

    def _example(self, queries: Queries, items: ItemTables) -> Example:
        read = read_queries(self._reader, queries)
        allowed = queries.allowed
        asked = Asked(read.history, read.now, np.zeros_like(allowed, np.float32), read.columns)
        relevant = queries.relevant.mask(np.arange(len(queries)), allowed.shape[1])
        pairs = Pairs(*np.nonzero(self._drawn(allowed, relevant)))
        inputs = self._inputs
        builder = FeatureBuilder(items, inputs.event_types, numeric_names(inputs.products))
        sources = Sources.of(items, asked.history)
        shared = builder.build(asked, sources.likenesses(items), pairs, which=sources.which)
        names, values = interest_features(self.tables, items, asked, shared, pairs, inputs.event_types)
        if self._matched is not None:
            unseen = self._matched.unseen(queries.customer_ids, read.columns, self.tables.customers)
            names, values = with_affinity(names, values, unseen, pairs)
        return Example(RankingRows(values, relevant[pairs].astype(np.float32), pairs.customer), names)

    def _drawn(self, allowed: np.ndarray, relevant: np.ndarray) -> np.ndarray:
        """[Q, P] bool: the answers, and as many other allowed products as the recipe says."""
        dice = np.random.default_rng(self._seed).random(allowed.shape)
        dice[~allowed | relevant] = np.inf
        if allowed.shape[1] > self._recipe.negatives:
            worst = np.partition(dice, self._recipe.negatives - 1, axis=1)[:, self._recipe.negatives - 1, None]
        else:
            worst = np.full((len(dice), 1), np.inf)
        return (np.isfinite(dice) & (dice <= worst)) | relevant
