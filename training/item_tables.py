"""Fits what the second stage knows of the products: from the same labels that the towers learn from."""

import numpy as np
import polars as pl
from scipy import sparse

from recsys.data.splits import ORDER_TIMESTAMP, PART, Part
from recsys.ranking.activity import Activity
from recsys.ranking.factors import ALPHA, L2
from recsys.ranking.neighbours import (
    Sequences,
    fit_ease,
    fit_knn,
    fit_transitions,
    interaction_matrix,
)
from recsys.ranking.tables import ContentTables, ItemTables
from recsys.schema import CUSTOMER_ID, PRODUCT_ID
from training.dataset import Catalogue, Prepared
from training.ranking_config import FactorsConfig, TablesConfig


def fit_tables(
    parts: pl.DataFrame, keep: tuple[Part, ...], catalogue: Catalogue, prepared: Prepared, config: TablesConfig
) -> ItemTables:
    """The tables of the positives in the given parts.

    Args:
        parts: positives with part and order_timestamp, of customers who agreed to profiling.
        keep: the parts to learn from.
        catalogue: the P products.
        prepared: their columns.
        config: settings.
    """
    sequences, timestamp = read_sequences(parts, keep, catalogue.product_ids)
    products = len(catalogue.product_ids)
    customers = int(sequences.customer.max(initial=-1)) + 1
    matrix = interaction_matrix(sequences, max(customers, 1), products)
    neighbours = {
        "knn": fit_knn(matrix, config.neighbours),
        "transition": fit_transitions(sequences, products, config.neighbours),
    }
    ease = fit_ease(matrix, config.neighbours)
    if ease is not None:
        neighbours["ease"] = ease
    return ItemTables(
        content=ContentTables.fit(prepared.inputs.products, prepared.products),
        neighbours=dict(sorted(neighbours.items())),
        factors=_factorise(matrix, config.factors),
        activity=Activity.fit(sequences.product, timestamp, products),
    )


def read_sequences(parts: pl.DataFrame, keep: tuple[Part, ...], product_ids: list[str]) -> tuple[Sequences, np.ndarray]:
    """The products that each customer took up, in order, and when ([E] epoch µs)."""
    rows = pl.DataFrame({PRODUCT_ID: product_ids}).with_row_index("_row")
    taken = (
        parts.filter(pl.col(PART).is_in([str(part) for part in keep]))
        .join(rows, on=PRODUCT_ID)
        .sort(CUSTOMER_ID, ORDER_TIMESTAMP)
    )
    customer = taken.select((pl.col(CUSTOMER_ID).rank("dense") - 1).cast(pl.Int64)).to_series().to_numpy()
    product = taken["_row"].cast(pl.Int64).to_numpy()
    return Sequences(customer, product), taken[ORDER_TIMESTAMP].dt.epoch("us").to_numpy()


def _factorise(matrix: sparse.csr_matrix, config: FactorsConfig) -> np.ndarray:
    """[P, F] item factors by the library `implicit`."""
    if not config.size:
        return np.zeros((matrix.shape[1], 0), np.float32)
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=config.size,
        regularization=L2,
        alpha=1 + ALPHA,
        iterations=config.iterations,
        num_threads=1,
        random_state=0,
    )
    model.fit(matrix, show_progress=False)
    return np.asarray(model.item_factors, np.float32)
