"""Scores of the questions of a split: by a model in training, a bundle, popularity, or the simulator's truth."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch

from recsys.data.contract import Dataset
from recsys.metrics.ranking import RankingMetrics, expected_ranking_metrics
from recsys.modeling.batches import history_batch, make_entity_batch
from recsys.modeling.reader import CustomerRows, ModelReader
from recsys.modeling.two_tower import TwoTower
from recsys.recommender import Recommender
from recsys.retrieval.popularity import SEGMENT, Popularity, PopularityConfig
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, PRODUCT_ID, Kind
from training.dataset import Catalogue, Prepared
from training.loop import item_batches
from training.queries import Queries, segments_as_of


def metrics_of(scores: np.ndarray, queries: Queries, k: int) -> RankingMetrics:
    """Metrics per query over the allowed candidates; ties count as a random order would.

    Args:
        scores: [Q, P] float, any for items that are not allowed.
        queries: the questions.
        k: length of the lists.
    """
    masked = np.where(queries.allowed, scores, -np.inf)
    relevant = [queries.relevant[row] for row in range(len(queries))]
    return expected_ranking_metrics(masked, relevant, k)


class TrainingScorer:
    """The validation score of a model while it trains."""

    def __init__(self, prepared: Prepared, catalogue: Catalogue, queries: Queries, k: int) -> None:
        self.reader = ModelReader(prepared.inputs, catalogue.product_ids, catalogue.content_ids)
        self.prepared = prepared
        self.queries = queries
        self.rows = read_queries(self.reader, queries)
        self.k = k

    def __call__(self, model: TwoTower) -> float:
        """Mean NDCG@k."""
        return float(metrics_of(self.scores(model), self.queries, self.k).ndcg.mean())

    def scores(self, model: TwoTower) -> np.ndarray:
        """[Q, P] float32."""
        device = next(model.parameters()).device
        products, contents = item_batches(self.prepared, device)
        of_content = torch.from_numpy(self.prepared.product_of_content).to(device)
        with torch.inference_mode():
            items = model.encode_items(products, contents, of_content)
            history = history_batch(self.rows.history).to(device)
            states = model.encode_histories(items, history)
            state = states[torch.arange(len(states), device=device), history.length]
            customers = model.encode_customers(
                make_entity_batch(self.reader.inputs.customers, self.rows.columns).to(device),
                state,
                history.length > 0,
                torch.from_numpy(self.rows.channel).to(device),
            )
            return model.logits(customers, items.products[:-1]).float().cpu().numpy()


def read_queries(reader: ModelReader, queries: Queries) -> CustomerRows:
    """The customers of the questions as the model reads them; no channel is given."""
    return reader.read_customers(queries.columns.to_dict(), queries.now, [None] * len(queries))


def recommender_scores(recommender: Recommender, queries: Queries) -> np.ndarray:
    """[Q, P] float32, P in the recommender's order."""
    states = recommender.encode_rows(read_queries(recommender.reader, queries))
    return recommender.score(states, Kind.PRODUCTS, queries.allowed)


def fit_popularity(
    dataset: Dataset, parts: pl.DataFrame, item_ids: list[str], now: datetime, config: PopularityConfig
) -> Popularity:
    """Popularity of products among the positives before `now`, by the customers' segments."""
    before = parts.filter(pl.col(EVENT_TIMESTAMP) < now)
    segments = segments_as_of(dataset, before.select(CUSTOMER_ID, EVENT_TIMESTAMP))
    return Popularity.fit(
        before.with_columns(pl.Series(SEGMENT, segments, pl.String)), PRODUCT_ID, item_ids, now, config
    )


def query_instant(queries: Queries) -> datetime:
    """The latest instant that is asked about."""
    return datetime.fromtimestamp(int(queries.now.max()) / 1e6, UTC)


def popularity_scores(popularity: Popularity, queries: Queries, by_segment: bool) -> np.ndarray:
    """[Q, P] float32."""
    return np.stack([popularity.scores(segment if by_segment else None) for segment in queries.segments])


def oracle_scores(dataset_path: Path, queries: Queries, product_ids: list[str]) -> np.ndarray | None:
    """[Q, P] the simulator's true rates of acquisition, or None where the dataset has no truth."""
    path = dataset_path / "truth" / "offers.parquet"
    source = path if path.is_file() else dataset_path / "truth" / "offers"
    if not source.exists():
        return None
    offers = pl.scan_parquet(source).filter(pl.col(CUSTOMER_ID).is_in(queries.customer_ids)).collect()
    instant = query_instant(queries)
    nearest = min(
        offers["as_of"].unique().to_list(), key=lambda time: abs((time - instant).total_seconds()), default=None
    )
    offers = offers.filter(pl.col("as_of") == nearest)
    customer = {name: row for row, name in enumerate(queries.customer_ids)}
    product = {name: row for row, name in enumerate(product_ids)}
    scores = np.zeros((len(queries), len(product_ids)))
    known = offers.filter(pl.col(PRODUCT_ID).is_in(product_ids))
    rows = [customer[name] for name in known[CUSTOMER_ID].to_list()]
    columns = [product[name] for name in known[PRODUCT_ID].to_list()]
    scores[rows, columns] = known["p_acquire"].to_numpy()
    return scores
