"""New products on draws of our own: known products are taken out of all events and ranked from their content alone.

    python -m tests.benchmarks.cold_draws DATASET --home HOME [--draws 5] [--products 115] [--seed 0]

The home's features must be built (`recsys features`). Beside the ranker stand a ridge regression from content to what
customers did with each product, and two bounds that content cannot know: the popularity that the products really had.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from recsys.data.contract import Dataset
from recsys.data.splits import Part
from recsys.metrics.ranking import ranking_metrics, top_k
from recsys.ranking.cold import ColdRanker
from recsys.ranking.neighbours import interaction_matrix
from recsys.ranking.tables import ContentTables
from training.cold import fit_ranker
from training.config import TrainConfig
from training.dataset import DatasetBuilder, load_catalogue
from training.item_tables import read_sequences
from training.ranking_config import ColdRecipe

_CUSTOMERS = 100
"""Whose scores are computed at once."""
_PARTS = (Part.TRAIN, Part.VALIDATION, Part.TEST)


def read(dataset: Dataset, home: Path) -> tuple[ContentTables, np.ndarray]:
    """The content of the products that somebody touched, and who touched which, [U, P] float32 of zeros and ones."""
    config = TrainConfig()
    builder = DatasetBuilder(dataset, home, config.encoding, config.labels)
    catalogue = load_catalogue(dataset, home, builder.manifest, dataset.end())
    prepared = builder.build(_PARTS, catalogue)
    sequences, _ = read_sequences(builder.parts, _PARTS, catalogue.product_ids)
    matrix = interaction_matrix(sequences, int(sequences.customer.max()) + 1, len(catalogue.product_ids)).toarray()
    known = np.flatnonzero(matrix.any(axis=0))
    every = ContentTables.fit(prepared.inputs.products, prepared.products)
    vectors = {name: rows[known] for name, rows in every.vectors.items()}
    return ContentTables(vectors, every.labels[known], every.numbers[known], every.present[known]), matrix[:, known]


def measure(content: ContentTables, matrix: np.ndarray, new: np.ndarray) -> dict[str, float]:
    """NDCG@10 of each way to rank the products `new`, of customers who took up any of them."""
    before = matrix.copy()
    before[:, new] = 0
    popular = matrix[:, new].sum(axis=0, keepdims=True).repeat(len(matrix), axis=0)
    scores = {
        "ranker of new products": _ranked(fit_ranker(content, csr_array(before), ColdRecipe()), before, new),
        "content ridge": _content_ridge(content, before, new),
        "true popularity": popular,
        "random": np.random.default_rng(0).random(popular.shape),
    }
    relevant = matrix[:, new]
    asked = relevant.any(axis=1)
    answers = csr_array(relevant[asked])
    return {
        name: float(ranking_metrics(top_k(rows[asked], 10), answers, 10).ndcg.mean()) for name, rows in scores.items()
    }


def _ranked(ranker: ColdRanker, before: np.ndarray, new: np.ndarray) -> np.ndarray:
    """[U, N] scores of the products `new`, [N] in ascending order, by what each customer took up before."""
    known = [np.flatnonzero(row) for row in before]
    ever = np.full((len(before), max(map(len, known))), -1)
    for row, products in zip(ever, known, strict=True):
        row[: len(products)] = products
    parts = [ranker.score(ever[start : start + _CUSTOMERS]) for start in range(0, len(ever), _CUSTOMERS)]
    return np.concatenate(parts)[:, np.searchsorted(ranker.tables.cold, new)]


def _content_ridge(content: ContentTables, before: np.ndarray, new: np.ndarray) -> np.ndarray:
    numbers = np.nan_to_num(content.numbers)
    design = np.concatenate([*content.vectors.values(), content.labels.toarray(), numbers], axis=1)
    warm = np.setdiff1d(np.arange(len(design)), new)
    mean = design[warm].mean(axis=0)
    known, target = design[warm] - mean, before[:, warm]
    solved = np.linalg.solve(known @ known.T + np.eye(len(warm)), known @ (design[new] - mean).T)
    average = target.mean(axis=1, keepdims=True)
    return np.asarray((target @ target.T @ ((target - average) @ solved)), np.float64)


def main() -> None:
    """Prints one line a draw, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--products", type=int, default=115)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    content, matrix = read(Dataset.open(options.dataset), options.home)
    rows = []
    for draw in range(options.draws):
        order = np.random.default_rng([options.seed, draw]).permutation(matrix.shape[1])
        rows.append(measure(content, matrix, np.sort(order[: options.products])))
        sys.stdout.write(f"{draw} { {name: round(value, 4) for name, value in rows[-1].items()} }\n")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
        sys.stdout.write(f"{name:24} {values.mean():.4f} ± {spread:.4f}\n")


if __name__ == "__main__":
    main()
