"""Fits the ranker of new products in a drill: known products are treated as if nobody had touched them."""

import numpy as np
import polars as pl
from scipy import sparse

from recsys.bundle import Bundle
from recsys.data.splits import Part
from recsys.ranking.boosted import BoostedRanker, RankingRows
from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables
from recsys.ranking.neighbours import interaction_matrix
from recsys.ranking.tables import ContentTables
from training.dataset import Catalogue, Prepared
from training.item_tables import read_sequences
from training.ranking_config import ColdRecipe


def fit_cold(
    parts: pl.DataFrame, keep: tuple[Part, ...], catalogue: Catalogue, prepared: Prepared, recipe: ColdRecipe
) -> ColdRanker | None:
    """The ranker of the products that nobody touched in the given parts; None where there are none, or too few others.

    Args:
        parts: positives with part and order_timestamp, of customers who agreed to profiling.
        keep: the parts to learn from.
        catalogue: the P products.
        prepared: their columns.
        recipe: settings.
    """
    sequences, _ = read_sequences(parts, keep, catalogue.product_ids)
    touched = np.bincount(sequences.product, minlength=len(catalogue.product_ids)) > 0
    warm, cold = np.flatnonzero(touched), np.flatnonzero(~touched)
    if not (recipe.enabled and len(cold) and recipe.fewest <= len(warm) and len(touched) <= recipe.most):
        return None
    everybody = interaction_matrix(sequences, int(sequences.customer.max()) + 1, len(touched))
    return fit_ranker(ContentTables.fit(prepared.inputs.products, prepared.products), everybody, recipe)


def fit_ranker(content: ContentTables, everybody: sparse.csr_matrix, recipe: ColdRecipe) -> ColdRanker:
    """The ranker of the products that nobody touched in `everybody`, [U, P] of zeros and ones."""
    who = np.random.default_rng(recipe.seed).permutation(everybody.shape[0])[: recipe.population]
    matrix = everybody[who].toarray()
    touched = matrix.any(axis=0)
    warm, cold = np.flatnonzero(touched), np.flatnonzero(np.asarray(everybody.sum(axis=0)).ravel() == 0)
    models, names = [], list[str]()
    for number in range(recipe.models):
        rows, names = _drill(content, matrix, warm, recipe, number)
        models.append(BoostedRanker.fit(rows, recipe.trees, recipe.seed + number))
    tables = ColdTables.fit(content, matrix, warm, cold)
    config = ColdConfig(rounds=recipe.trees.rounds, models=recipe.models, features=tuple(names))
    return ColdRanker(tables, models, config)


def _drill(
    content: ContentTables, matrix: np.ndarray, warm: np.ndarray, recipe: ColdRecipe, number: int
) -> tuple[RankingRows, list[str]]:
    """Customers' answers about products that are new in one fold each; a question is a customer in a fold."""
    rng = np.random.default_rng([recipe.seed, number])
    fold = rng.permutation(len(warm)) % recipe.folds
    features, labels, questions, names = [], [], [], list[str]()
    for new in range(recipe.folds):
        tables = ColdTables.fit(content, matrix, warm[fold != new], warm[fold == new])
        who = rng.permutation(len(matrix))[: recipe.customers]
        had = matrix[who]
        had[rng.random(len(who)) < recipe.without_history] = 0
        had[:, warm[fold == new]] = 0
        names, values = tables.features(had)
        features.append(values.reshape(-1, len(names)))
        labels.append(matrix[np.ix_(who, warm[fold == new])].ravel())
        questions.append(np.repeat(new * len(matrix) + np.arange(len(who)), (fold == new).sum()))
    label = np.concatenate(labels, dtype=np.float32)
    return RankingRows(np.concatenate(features), label, np.concatenate(questions)), names


def with_cold(bundle: Bundle, ranker: ColdRanker | None) -> Bundle:
    """The bundle with a ranker of new products."""
    if ranker is None:
        return bundle
    return bundle._replace(manifest=bundle.manifest.model_copy(update={"cold": ranker.config}), cold=ranker)
