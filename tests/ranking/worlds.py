"""Small worlds for the tests of the second stage: histories written out by hand, or drawn."""

import numpy as np
from scipy import sparse

from recsys.modeling.reader import HistoryArrays
from recsys.ranking.activity import Activity
from recsys.ranking.features import Asked, Columns
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ContentTables, ItemTables

DAY = 86_400_000_000
NOW = 20_000 * DAY
EVENT_TYPES = ("click", "convert")
CLICK, CONVERT, UNKNOWN_TYPE = 1, 2, 0
UNKNOWN_PRODUCT = -1

Entry = tuple[int, int, int]
"""Product row, event type code, epoch µs."""


def make_histories(histories: list[list[Entry]], width: int = 8) -> HistoryArrays:
    """As the reader makes them: oldest entry first, padded on the right."""
    product, content, event_type, timestamp = (
        np.full((len(histories), width), fill, np.int64) for fill in (-1, -1, 0, 0)
    )
    for row, entries in enumerate(histories):
        for step, entry in enumerate(entries):
            product[row, step], event_type[row, step], timestamp[row, step] = entry
    lengths = np.array([len(entries) for entries in histories], np.int64)
    return HistoryArrays(product, content, event_type, timestamp, lengths)


def draw_asked(rng: np.random.Generator, customers: int, products: int, width: int = 8) -> Asked:
    """Customers of all kinds: without a history, with unknown products and types, with the same product again."""
    histories = []
    for length in rng.integers(0, width + 1, customers):
        times = np.sort(NOW - rng.integers(1, 60 * DAY, length))
        named = rng.integers(UNKNOWN_PRODUCT, products, length)
        types = rng.integers(UNKNOWN_TYPE, CONVERT + 1, length)
        histories.append(list(zip(named.tolist(), types.tolist(), times.tolist(), strict=True)))
    now = NOW + rng.integers(0, 5 * DAY, customers)
    tower = rng.standard_normal((customers, products)).astype(np.float32)
    return Asked(make_histories(histories, width), now, tower)


def join_asked(*parts: Asked) -> Asked:
    """All of their customers."""
    fields = zip(*(part.history for part in parts), strict=True)
    histories = HistoryArrays(*(np.concatenate(values) for values in fields))
    return Asked(histories, np.concatenate([p.now for p in parts]), np.concatenate([p.tower for p in parts]))


def draw_tables(rng: np.random.Generator, products: int, size: int = 4) -> ItemTables:
    """Tables with every kind of source; some products lack a picture or a number."""
    pictures = unit_rows(rng.standard_normal((products, 5))) * (rng.random((products, 1)) < 0.7)
    numbers = np.where(rng.random((products, 2)) < 0.2, np.nan, rng.standard_normal((products, 2)))
    category = sparse.csr_matrix(np.eye(3, dtype=np.float32)[rng.integers(0, 3, products)])
    vectors = {"text": unit_rows(rng.standard_normal((products, 6))), "image": pictures.astype(np.float32)}
    content = ContentTables(vectors, category, numbers.astype(np.float32), np.ones((products, 2), np.float32))
    neighbours = {name: draw_neighbours(rng, products) for name in ("ease", "knn", "transition")}
    events = 20 * products
    activity = Activity.fit(rng.integers(0, products, events), NOW - rng.integers(1, 90 * DAY, events), products)
    return ItemTables(content, neighbours, rng.standard_normal((products, size)).astype(np.float32), activity)


def draw_neighbours(rng: np.random.Generator, products: int) -> sparse.csr_matrix:
    """[P, P] without a diagonal, a third of it filled."""
    weights = rng.random((products, products)) * (rng.random((products, products)) < 1 / 3)
    np.fill_diagonal(weights, 0)
    return sparse.csr_matrix(weights.astype(np.float32))


def plain_tables(numbers: np.ndarray, activity: Activity) -> ItemTables:
    """[P, N] attributes and activity, and no source at all."""
    products = len(numbers)
    content = ContentTables(
        {}, sparse.csr_matrix((products, 1), dtype=np.float32), numbers, np.ones((products, 1), np.float32)
    )
    return ItemTables(content, {}, np.zeros((products, 0), np.float32), activity)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Of unit length, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def source_scores(tables: ItemTables, asked: Asked) -> Columns:
    """Name to [B, P]: the scores of all simple sources."""
    sources = Sources.of(tables, asked.history)
    return sources.for_all(sources.scores(tables))
