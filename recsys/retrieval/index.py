"""Top-k candidates by inner product, exact or approximate, behind one interface.

Letters in shapes: B queries, N candidates, D dimensions, k results per query. A candidate's id is its row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import Field
from rich.progress import Progress

from recsys.config import BaseConfig

NO_CANDIDATE = -1
"""The id that fills a row with fewer than k candidates; its score is -inf."""
_CHUNK_SCORES = 1 << 20
"""Scores computed at once: 4 MiB stay in the CPU's cache, however many the queries."""
_ADD_ROWS = 4096


class IndexKind(StrEnum):
    """How candidates are searched."""

    EXACT = "exact"
    """Every candidate is scored. Right up to some hundred thousand candidates."""
    APPROXIMATE = "approximate"
    """A graph is walked; a few candidates are missed."""


class IndexConfig(BaseConfig):
    """Which index, and how hard the approximate one tries."""

    kind: IndexKind = IndexKind.EXACT
    neighbours: int = Field(default=32, ge=4, le=128)
    """Approximate: edges of a node. More: better recall, more memory (8 bytes an edge and candidate)."""
    build_breadth: int = Field(default=100, ge=8, le=2000)
    """Approximate: nodes considered when a candidate is linked. More: better recall, slower build."""
    search_breadth: int = Field(default=128, ge=8, le=10000)
    """Approximate: nodes considered by a search. More: better recall, slower search."""
    overfetch: int = Field(default=4, ge=1, le=100)
    """Approximate: k times this many are fetched, so that k remain after the mask."""


class Found(NamedTuple):
    """The best candidates of each query, best first; of equal scores the lower id comes first."""

    ids: np.ndarray
    """[B, k] int64, NO_CANDIDATE where there are fewer than k."""
    scores: np.ndarray
    """[B, k] float32, -inf where there is no candidate."""


class Index(Protocol):
    """Finds the candidates with the highest inner product."""

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Found:
        """The k best candidates of each query.

        Args:
            queries: [B, D] float32.
            k: results per query, at least 1; more than N gives padded rows.
            allowed: [B, N] bool, which candidates a query may get; by default all.

        Raises:
            ValueError: a shape does not fit, k is not positive, or a query is not finite.
        """
        ...


def build_index(vectors: np.ndarray, config: IndexConfig, progress: Progress | None = None) -> Index:
    """The index over [N, D] float32 candidates that `config` asks for.

    Raises:
        ValueError: `vectors` is no matrix or not finite.
    """
    if config.kind is IndexKind.EXACT:
        return ExactIndex(vectors)
    return ApproximateIndex(vectors, config, progress)


class ExactIndex:
    """Scores every candidate.

    The candidates are stored transposed and contiguous: a single query over 100,000 of them is then 4 times faster.

    Args:
        vectors: [N, D] float32.

    Raises:
        ValueError: `vectors` is no matrix or not finite.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._columns = np.ascontiguousarray(_checked_matrix(vectors, "candidates").T)

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Found:
        """See `Index.search`."""
        dim, size = self._columns.shape
        queries = _checked_queries(queries, k, allowed, (dim, size))
        found = _nothing(len(queries), k)
        step = max(_CHUNK_SCORES // max(size, 1), 1)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            scores = queries[rows] @ self._columns
            if allowed is not None:
                np.copyto(scores, -np.inf, where=~allowed[rows])
            best = top_k(scores, k)
            found.ids[rows], found.scores[rows] = best.ids, best.scores
        return found


class ApproximateIndex:
    """Walks a navigable small-world graph (HNSW, Y. Malkov and D. Yashunin 2016) of faiss.

    The graph is built by one thread, so that the same candidates give the same answers. Where the mask leaves fewer
    than k of what was fetched, the query is searched exactly: a mask never costs results.

    Args:
        vectors: [N, D] float32, best of equal length: the graph finds large inner products less well otherwise.
        config: how hard it tries.
        progress: shows the building.

    Raises:
        ValueError: `vectors` is no matrix or not finite.
    """

    def __init__(self, vectors: np.ndarray, config: IndexConfig, progress: Progress | None = None) -> None:
        import faiss

        vectors = np.ascontiguousarray(_checked_matrix(vectors, "candidates"))
        self._config = config
        self._size, self._dim = vectors.shape
        self._exact = ExactIndex(vectors)
        self._graph = faiss.IndexHNSWFlat(self._dim, config.neighbours, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = config.build_breadth
        task = progress.add_task("Building the index", total=self._size) if progress else None
        with _one_thread():
            for start in range(0, self._size, _ADD_ROWS):
                block = vectors[start : start + _ADD_ROWS]
                self._graph.add(block)
                if progress and task is not None:
                    progress.advance(task, len(block))

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Found:
        """See `Index.search`; the scores are exact, a few of the best candidates may be missing."""
        queries = _checked_queries(queries, k, allowed, (self._dim, self._size))
        found = _nothing(len(queries), k)
        step = max(_CHUNK_SCORES // max(k * self._config.overfetch, 1), 1)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            best = self._search_chunk(queries[rows], k, None if allowed is None else allowed[rows])
            found.ids[rows], found.scores[rows] = best.ids, best.scores
        return found

    def _search_chunk(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> Found:
        import faiss

        fetch = min(k * self._config.overfetch, self._size)
        if fetch == 0:
            return _nothing(len(queries), k)
        breadth = max(self._config.search_breadth, fetch)
        parameters = faiss.SearchParametersHNSW(efSearch=breadth)  # type: ignore[attr-defined]  # absent from its stubs
        scores, ids = self._graph.search(queries, fetch, params=parameters)
        missing = ids < 0
        if allowed is not None:
            missing |= ~np.take_along_axis(allowed, np.maximum(ids, 0), axis=1)
        scores[missing] = -np.inf
        found = _top_of_listed(ids, scores, k)
        possible = np.full(len(queries), self._size) if allowed is None else allowed.sum(axis=1)
        short = np.flatnonzero((found.ids >= 0).sum(axis=1) < np.minimum(possible, k))
        if len(short):
            exact = self._exact.search(queries[short], k, None if allowed is None else allowed[short])
            found.ids[short], found.scores[short] = exact.ids, exact.scores
        return found


def top_k(scores: np.ndarray, k: int) -> Found:
    """The k highest scores of each row, best first, the lower id first among equals.

    Args:
        scores: [B, N] float32; -inf marks what may not be found.
        k: at least 1.
    """
    size = scores.shape[1]
    count = min(k, size)
    found = _nothing(len(scores), k)
    if count == 0:
        return found
    if count < size:
        ids = np.sort(np.argpartition(scores, size - count, axis=1)[:, size - count :], axis=1)
        kept = np.take_along_axis(scores, ids, axis=1)
        lowest = kept.min(axis=1, keepdims=True)
        # Where the last place is shared, the partition kept any of the equals: such rows are sorted in full.
        tied = np.flatnonzero(((scores >= lowest).sum(axis=1) > count) & (lowest[:, 0] > -np.inf))
        ids[tied] = np.sort(np.argsort(-scores[tied], axis=1, kind="stable")[:, :count], axis=1)
    else:
        ids = np.broadcast_to(np.arange(size), scores.shape)
    best = _top_of_listed(ids, np.take_along_axis(scores, ids, axis=1), count)
    found.ids[:, :count], found.scores[:, :count] = best.ids, best.scores
    return found


def _top_of_listed(ids: np.ndarray, scores: np.ndarray, k: int) -> Found:
    """The k best of listed candidates. [B, n] ids and scores (-inf: not a candidate) -> [B, k], padded."""
    found = _nothing(len(ids), k)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    width = order.shape[1]
    found.scores[:, :width] = np.take_along_axis(scores, order, axis=1)
    found.ids[:, :width] = np.where(
        found.scores[:, :width] > -np.inf, np.take_along_axis(ids, order, axis=1), NO_CANDIDATE
    )
    return found


def _nothing(rows: int, k: int) -> Found:
    return Found(np.full((rows, k), NO_CANDIDATE, dtype=np.int64), np.full((rows, k), -np.inf, dtype=np.float32))


def _checked_matrix(vectors: np.ndarray, what: str) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"{what} must be a matrix of one row each, have the shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{what} must be finite, some are not: look at what computed them")
    return vectors


def _checked_queries(
    queries: np.ndarray, k: int, allowed: np.ndarray | None, dim_and_size: tuple[int, int]
) -> np.ndarray:
    """The queries as a contiguous float32 matrix.

    Raises:
        ValueError: a shape does not fit, k is not positive, or a query is not finite.
    """
    dim, size = dim_and_size
    queries = np.ascontiguousarray(_checked_matrix(queries, "queries"))
    if queries.shape[1] != dim:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, candidates {dim}")
    if k < 1:
        raise ValueError(f"k must be at least 1, is {k}")
    if allowed is not None and (allowed.shape != (len(queries), size) or allowed.dtype != np.bool_):
        expected = f"bool of shape {(len(queries), size)}"
        raise ValueError(f"allowed must be {expected}, is {allowed.dtype} of shape {allowed.shape}")
    return queries


@contextmanager
def _one_thread() -> Iterator[None]:
    """Several threads would link the graph in an order of chance."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
