"""The model of interest reads what nobody's answers went into."""

import math

import numpy as np
import pytest

from recsys.modeling.encoding import EntityRows
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.features import Asked, FeatureBuilder, Pairs
from recsys.ranking.interest import LEARNED, Interest, InterestConfig, InterestTables, interest_features
from recsys.ranking.interest_loop import FADES_DAYS
from recsys.ranking.profiles import Profiles
from tests.ranking.worlds import (
    CLICK,
    CONVERT,
    DAY,
    EVENT_TYPES,
    NOW,
    draw_asked,
    draw_tables,
    make_histories,
    source_scores,
)

PRODUCTS, CUSTOMERS = 12, 30
TEXT = 6


def draw_columns(rng: np.random.Generator, customers: int) -> EntityRows:
    text = rng.standard_normal((customers, TEXT)).astype(np.float32)
    text[0] = 0
    return EntityRows(
        np.zeros((customers, 0), np.int64),
        np.zeros((customers, 0, 8), np.int64),
        {"text": np.zeros((customers, 0), np.float32)},
        {"text": text},
        (np.abs(text).sum(axis=1) > 0)[:, None],
    )


@pytest.fixture
def interest() -> tuple[Interest, Asked]:
    """A model that was fitted on whether a product is the one that the customer's text is nearest to."""
    rng = np.random.default_rng(1)
    items = draw_tables(rng, PRODUCTS)
    columns = draw_columns(rng, CUSTOMERS)
    asked = draw_asked(rng, CUSTOMERS, PRODUCTS)._replace(columns=columns)
    customers = Profiles.fit(columns, 3)
    names = [f"customer.{name}" for name in ("has_text", "text_0", "text_1", "text_2")]
    numbers = rng.standard_normal((PRODUCTS, 2)).astype(np.float32)
    tables = InterestTables(customers, numbers, names, ["product.a", "product.b"])
    pairs = Pairs(*np.nonzero(np.ones((CUSTOMERS, PRODUCTS), bool)))
    shared = FeatureBuilder(items, EVENT_TYPES, ("rate", "fee")).build(asked, source_scores(items, asked), pairs)
    features, values = interest_features(tables, items, asked, shared, pairs, EVENT_TYPES)
    said = values[:, features.index("said_text")].reshape(CUSTOMERS, PRODUCTS)
    label = (said == said.max(axis=1, keepdims=True)).astype(np.float32).ravel()
    trees = BoostedConfig(leaves=7, rounds=40, min_rows_in_leaf=5, learning_rate=0.2)
    model = BoostedRanker.fit(RankingRows(values, label, pairs.customer), trees)
    config = InterestConfig(rounds=40, features=tuple(features), event_types=EVENT_TYPES, products=("a", "b"))
    return Interest(tables, items, model, config), asked


def score_of(interest: Interest, asked: Asked) -> np.ndarray:
    """[B, P]."""
    pairs = Pairs(*np.nonzero(np.ones(asked.tower.shape, bool)))
    builder = FeatureBuilder(interest.items, EVENT_TYPES, ("rate", "fee"))
    shared = builder.build(asked, source_scores(interest.items, asked), pairs)
    return interest.score(asked, shared, pairs).reshape(asked.tower.shape)


def test_score_finds_what_customers_wrote_about(interest: tuple[Interest, Asked]) -> None:
    model, asked = interest
    assert asked.columns is not None
    score = score_of(model, asked)
    centred = asked.columns.vectors["text"] - model.tables.customers.reductions["text"].mean
    nearest = (centred @ model.items.content.vectors["text"].T).argmax(axis=1)
    found = np.take_along_axis(score, nearest[:, None], axis=1)[:, 0] > np.median(score, axis=1)
    assert found[1:].mean() > 0.9  # the first wrote nothing


def test_score_does_not_change_with_the_towers(interest: tuple[Interest, Asked]) -> None:
    model, asked = interest
    other = asked._replace(tower=asked.tower[::-1] * 3)
    assert np.array_equal(score_of(model, asked), score_of(model, other))
    assert not [name for name in model.config.features if name.startswith(LEARNED)]


def test_near_counts_what_was_done_with_products_of_the_same_labels(interest: tuple[Interest, Asked]) -> None:
    model, _ = interest
    labels = model.items.content.labels.toarray().argmax(axis=1)
    same = np.flatnonzero(labels == labels[0])
    other = next(product for product in range(PRODUCTS) if labels[product] != labels[0])
    entries = [(0, CLICK, NOW - 10 * DAY), (other, CLICK, NOW - 2 * DAY), (int(same[-1]), CONVERT, NOW - DAY)]
    columns = draw_columns(np.random.default_rng(2), 1)
    asked = Asked(make_histories([entries]), np.array([NOW]), np.zeros((1, PRODUCTS), np.float32), columns)
    pairs = Pairs(np.zeros(1, np.int64), same[:1])
    names, values = interest_features(model.tables, model.items, asked, {}, pairs, EVENT_TYPES)
    near = {name: values[0, names.index(f"near_{name}")] for name in EVENT_TYPES}
    assert near["click"] == pytest.approx(math.exp(-10 / FADES_DAYS), rel=1e-5)
    assert near["convert"] == pytest.approx(math.exp(-1 / FADES_DAYS), rel=1e-5)


def test_score_without_columns_is_refused(interest: tuple[Interest, Asked]) -> None:
    model, asked = interest
    with pytest.raises(ValueError, match="without the customers' columns"):
        score_of(model, asked._replace(columns=None))
