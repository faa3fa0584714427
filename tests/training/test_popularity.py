"""Popularity and the prior that validation chooses."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from recsys.retrieval.popularity import Popularity, PopularityConfig
from training.examples import Ragged
from training.prior import choose_prior
from training.queries import Queries

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make_events(days_ago: list[float], items: list[str], segments: list[str | None]) -> pl.DataFrame:
    times = [NOW - timedelta(days=days) for days in days_ago]
    return pl.DataFrame(
        {"customer_id": ["c"] * len(items), "event_timestamp": times, "product_id": items, "segment": segments},
        schema_overrides={"event_timestamp": pl.Datetime("us", "UTC"), "segment": pl.String},
    )


def test_recent_events_count_in_full_and_later_ones_not_at_all() -> None:
    events = make_events([1, 2, 50, -1], ["a", "b", "b", "a"], [None] * 4)
    config = PopularityConfig(window_days=30, older_weight=0.5)
    popularity = Popularity.fit(events, "product_id", ["a", "b", "c"], NOW, config)
    assert popularity.overall.tolist() == [1.0, 1.5, 0.0]


def test_segments_lean_on_everyone_and_unknown_ones_are_everyone() -> None:
    events = make_events([1, 1, 1], ["a", "b", "b"], ["x", "y", "y"])
    config = PopularityConfig(window_days=None, segment_prior=3)
    popularity = Popularity.fit(events, "product_id", ["a", "b"], NOW, config)
    np.testing.assert_allclose(popularity.scores("x"), [1 + 1, 2])
    np.testing.assert_allclose(popularity.scores("nobody"), [1, 2])


def make_queries(relevant: np.ndarray, new: np.ndarray, items: int) -> Queries:
    n = len(relevant)
    return Queries(
        customer_ids=[str(row) for row in range(n)],
        now=np.zeros(n, np.int64),
        columns=pl.DataFrame(),
        relevant=Ragged.group(np.arange(n), relevant, n),
        allowed=np.ones((n, items), bool),
        segments=[None] * n,
        new_customer=new,
    )


def test_choose_prior_where_the_model_is_right_for_known_customers_only_gives_new_ones_popularity() -> None:
    items, n = 30, 100
    new = np.arange(n) % 2 == 1
    relevant = np.where(new, 7, np.arange(n) % items)
    scores = np.random.default_rng(0).normal(size=(n, items))
    scores[~new, relevant[~new]] += 100
    scores[new] *= 0.1
    prior = np.zeros(items)
    prior[7] = 1.0
    chosen = choose_prior(
        scores, {7.0: prior, 30.0: prior, 90.0: prior, None: prior}, make_queries(relevant, new, items), 5
    )
    assert chosen.weight == 0
    assert chosen.new_weight > 0
