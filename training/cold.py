"""Fits the ranker of new products in a drill: known products are treated as if nobody had touched them."""

import numpy as np
import polars as pl
from scipy import sparse

from recsys.bundle import Bundle
from recsys.data.splits import Part
from recsys.ranking.boosted import BoostedRanker, RankingRows
from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables
from recsys.ranking.neighbours import Sequences, interaction_matrix
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
        prepared: their columns, and how long a history is.
        recipe: settings.
    """
    sequences, _ = read_sequences(parts, keep, catalogue.product_ids)
    touched = np.bincount(sequences.product, minlength=len(catalogue.product_ids)) > 0
    warm, cold = np.flatnonzero(touched), np.flatnonzero(~touched)
    if not (recipe.enabled and len(cold) and recipe.fewest <= len(warm) and len(touched) <= recipe.most):
        return None
    content = ContentTables.fit(prepared.inputs.products, prepared.products)
    customers = int(sequences.customer.max()) + 1
    matrix = interaction_matrix(sequences, customers, len(touched))
    lately = interaction_matrix(_latest(sequences, prepared.inputs.history_length), customers, len(touched))
    rows, names = _drill(content, _sample(matrix, lately, recipe), warm, recipe)
    model = BoostedRanker.fit(rows, recipe.trees, recipe.seed)
    tables = ColdTables.fit(content, matrix.toarray(), warm, cold)
    return ColdRanker(tables, model, ColdConfig(rounds=recipe.trees.rounds, features=tuple(names)))


def _drill(
    content: ContentTables, people: tuple[np.ndarray, np.ndarray], warm: np.ndarray, recipe: ColdRecipe
) -> tuple[RankingRows, list[str]]:
    """Customers' answers about products that are new in one fold each."""
    matrix, lately = people
    rng = np.random.default_rng(recipe.seed)
    fold = rng.permutation(len(warm)) % recipe.folds
    features, labels, names = [], [], list[str]()
    for new in range(recipe.folds):
        tables = ColdTables.fit(content, matrix, warm[fold != new], warm[fold == new])
        who = rng.permutation(len(matrix))[: recipe.customers]
        had = lately[who]
        had[rng.random(len(who)) < recipe.without_history] = 0
        had[:, warm[fold == new]] = 0
        names, values = tables.features(had)
        features.append(values.reshape(-1, len(names)))
        labels.append(matrix[np.ix_(who, warm[fold == new])].ravel())
    label = np.concatenate(labels)
    return RankingRows(np.concatenate(features), label.astype(np.float32), np.zeros(len(label), np.int64)), names


def _sample(matrix: sparse.csr_matrix, lately: sparse.csr_matrix, recipe: ColdRecipe) -> tuple[np.ndarray, np.ndarray]:
    """[U, P] float32 of at most so many customers: all that they touched, and what they touched lately."""
    who = np.random.default_rng(recipe.seed).permutation(matrix.shape[0])[: recipe.population]
    return matrix[who].toarray(), lately[who].toarray()


def _latest(sequences: Sequences, length: int) -> Sequences:
    """The last `length` entries of each customer."""
    counts = np.bincount(sequences.customer)
    from_end = np.cumsum(counts)[sequences.customer] - np.arange(len(sequences.customer))
    kept = from_end <= length
    return Sequences(sequences.customer[kept], sequences.product[kept])


def with_cold(bundle: Bundle, ranker: ColdRanker | None) -> Bundle:
    """The bundle with a ranker of new products."""
    if ranker is None:
        return bundle
    return bundle._replace(manifest=bundle.manifest.model_copy(update={"cold": ranker.config}), cold=ranker)
