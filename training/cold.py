"""Fits the ranker of new products, with settings from a drill.

In the drill some of the known products are taken as if nobody had touched them, and customers are asked about those.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from recsys.bundle import Bundle
from recsys.data.splits import Part
from recsys.metrics.ranking import ranking_metrics, top_k
from recsys.ranking.cold import ColdConfig, ColdRanker, ColdTables, KnownProducts, content_kernel
from recsys.ranking.neighbours import interaction_matrix
from recsys.ranking.tables import ContentTables
from training.dataset import Catalogue, Prepared
from training.item_tables import read_sequences
from training.ranking_config import ColdRecipe

_WEIGHTS = (0.0, 0.3)
"""What is tried for each source of embeddings, beside 1."""
_K = 10


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
    who = np.random.default_rng(recipe.seed).permutation(everybody.shape[0])[: recipe.population]
    return fit_ranker(ContentTables.fit(prepared.inputs.products, prepared.products), everybody[who].toarray(), recipe)


def fit_ranker(content: ContentTables, matrix: np.ndarray, recipe: ColdRecipe) -> ColdRanker:
    """The ranker of the products that nobody touched in `matrix`, [U, P] float32 of zeros and ones."""
    touched = matrix.any(axis=0)
    warm, cold = np.flatnonzero(touched), np.flatnonzero(~touched)
    drills = list(_drills(matrix, warm, len(cold), recipe))
    config = _choose(content, matrix, drills)
    kernel = content_kernel(content, config)
    return ColdRanker(ColdTables.fit(kernel, KnownProducts.fit(matrix, warm), cold), config)


Drill = tuple[KnownProducts, np.ndarray]
"""What is known, and the rows of the products that play the new ones."""


def _drills(matrix: np.ndarray, warm: np.ndarray, new: int, recipe: ColdRecipe) -> Iterator[Drill]:
    """As many products play the new ones as there are, but at most a quarter of the known ones."""
    size = min(max(new, _K), len(warm) // 4)
    for draw in range(recipe.drills):
        order = np.random.default_rng([recipe.seed, draw]).permutation(warm)
        yield KnownProducts.fit(matrix, np.sort(order[size:])), np.sort(order[:size])


def _choose(content: ContentTables, matrix: np.ndarray, drills: list[Drill]) -> ColdConfig:
    """One setting after the other: each is changed where that orders the drills' products better."""

    def measured(config: ColdConfig) -> ColdConfig:
        kernel = content_kernel(content, config)
        found = [_ndcg(ColdTables.fit(kernel, *drill), matrix) for drill in drills]
        return config.model_copy(update={"validation": float(np.mean(found))})

    best = measured(ColdConfig(sources=dict.fromkeys(sorted(content.vectors), 1.0)))
    for name in sorted(content.vectors):
        tried = [best.model_copy(update={"sources": {**best.sources, name: weight}}) for weight in _WEIGHTS]
        best = max([best, *map(measured, tried)], key=lambda config: config.validation)
    if content.numbers.shape[1]:
        best = max(best, measured(best.model_copy(update={"numbers": False})), key=lambda config: config.validation)
    return best


def _ndcg(tables: ColdTables, matrix: np.ndarray) -> float:
    """NDCG@10 of the customers who took up any of the products that play the new ones; 0 where there is nobody."""
    relevant = matrix[:, tables.cold]
    asked = relevant.any(axis=1)
    if not asked.any():
        return 0.0
    had = matrix[asked].copy()
    had[:, tables.cold] = 0
    ranked = top_k(tables.score(had), _K)
    return float(ranking_metrics(ranked, csr_array(relevant[asked]), _K).ndcg.mean())


def with_cold(bundle: Bundle, ranker: ColdRanker | None) -> Bundle:
    """The bundle with a ranker of new products."""
    if ranker is None:
        return bundle
    return bundle._replace(manifest=bundle.manifest.model_copy(update={"cold": ranker.config}), cold=ranker)
