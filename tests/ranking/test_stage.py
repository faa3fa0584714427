"""The second stage at work: the same order for a customer however he is asked about."""

import numpy as np
import pytest

from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.candidates import CandidateConfig, candidate_mask
from recsys.ranking.features import Asked, FeatureBuilder, Pairs
from recsys.ranking.sources import Sources
from recsys.ranking.stage import SecondStage, StageConfig
from recsys.ranking.tables import ItemTables
from tests.ranking.worlds import EVENT_TYPES, draw_asked, draw_tables, join_asked, source_scores

CUSTOMERS, PRODUCTS = 40, 50
NUMBERS = ("rate", "fee")
CANDIDATES = CandidateConfig(all_up_to=8, tower=6, source=3, popular=4)


@pytest.fixture(scope="module")
def tables() -> ItemTables:
    return draw_tables(np.random.default_rng(0), PRODUCTS)


@pytest.fixture(scope="module")
def asked() -> Asked:
    return draw_asked(np.random.default_rng(1), CUSTOMERS, PRODUCTS)


@pytest.fixture(scope="module")
def stage(tables: ItemTables) -> SecondStage:
    """A ranker that has learned from other customers; its features are some of all, in an order of its own."""
    rng = np.random.default_rng(2)
    others = draw_asked(rng, 60, PRODUCTS)
    pairs = Pairs(*np.nonzero(np.ones(others.tower.shape, bool)))
    sources = source_scores(tables, others)
    columns = FeatureBuilder(tables, EVENT_TYPES, NUMBERS).build(others, sources, pairs)
    names = tuple(sorted(columns))[1:]
    wanted = columns["tower"] + 3 * columns["ease"] + rng.standard_normal(len(pairs.product))
    label = (wanted > np.quantile(wanted, 0.9)).astype(np.float32)
    rows = RankingRows(np.stack([columns[name] for name in names], axis=1), label, pairs.customer)
    ranker = BoostedRanker.fit(rows, BoostedConfig(rounds=40))
    config = StageConfig(candidates=CANDIDATES, rounds=30, features=names, event_types=EVENT_TYPES, numbers=NUMBERS)
    return SecondStage(tables, ranker, config)


@pytest.fixture(scope="module")
def allowed() -> np.ndarray:
    mask = np.random.default_rng(3).random((CUSTOMERS, PRODUCTS)) < 0.6
    mask[0] = False
    mask[1] = np.arange(PRODUCTS) < 5
    return mask


def test_score_in_blocks_side_by_side_is_the_same(
    stage: SecondStage, asked: Asked, allowed: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage.score(asked, allowed)
    monkeypatch.setattr("recsys.ranking.blocks.AT_ONCE", 7)
    np.testing.assert_allclose(stage.score(asked, allowed), whole, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(SecondStage, "_score", _break)
    with pytest.raises(ValueError, match="broken"):
        stage.score(asked, allowed)


def _break(*_: object) -> np.ndarray:
    raise ValueError("broken")


def test_score_a_second_time_is_the_same(stage: SecondStage, asked: Asked, allowed: np.ndarray) -> None:
    scores = stage.score(asked, allowed)
    assert scores.shape == (CUSTOMERS, PRODUCTS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.array_equal(stage.score(asked, allowed), scores)


def test_score_candidates_are_the_rankers_with_the_rounds_that_were_chosen(
    stage: SecondStage, asked: Asked, allowed: np.ndarray
) -> None:
    sources = source_scores(stage.tables, asked)
    pairs = Pairs(
        *np.nonzero(
            candidate_mask(asked, Sources.of(stage.tables, asked.history), stage.tables.activity, allowed, CANDIDATES)
        )
    )
    columns = FeatureBuilder(stage.tables, EVENT_TYPES, NUMBERS).build(asked, sources, pairs)
    features = np.stack([columns[name] for name in stage.config.features], axis=1)
    np.testing.assert_allclose(stage.score(asked, allowed)[pairs], stage.ranker.predict(features, 30), atol=2e-5)


def test_score_where_the_ranker_sees_no_difference_is_in_the_towers_order(stage: SecondStage, asked: Asked) -> None:
    alike = np.zeros((40, len(stage.config.features)), np.float32)
    nothing_to_learn = RankingRows(alike, np.arange(40, dtype=np.float32) % 2, np.zeros(40, np.int64))
    everything = stage.config.model_copy(update={"candidates": CandidateConfig(all_up_to=asked.tower.shape[1])})
    flat = SecondStage(stage.tables, BoostedRanker.fit(nothing_to_learn, BoostedConfig(rounds=1)), everything)
    order = np.argsort(-flat.score(asked), axis=1, kind="stable")
    assert np.array_equal(order, np.argsort(-asked.tower, axis=1, kind="stable"))


def test_score_without_a_mask_is_that_of_everything_allowed(stage: SecondStage, asked: Asked) -> None:
    assert np.array_equal(stage.score(asked), stage.score(asked, np.ones(asked.tower.shape, bool)))


def test_score_of_a_customer_is_the_same_alone(stage: SecondStage, asked: Asked, allowed: np.ndarray) -> None:
    together = stage.score(asked, allowed)
    for row in range(CUSTOMERS):
        alone = stage.score(asked.take(np.array([row])), allowed[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
        assert np.array_equal(np.argsort(-alone[0], kind="stable"), np.argsort(-together[row], kind="stable"))


def test_score_does_not_depend_on_who_else_is_asked(stage: SecondStage, asked: Asked, allowed: np.ndarray) -> None:
    others = draw_asked(np.random.default_rng(9), 7, PRODUCTS)
    mixed = stage.score(join_asked(others, asked), np.concatenate([np.ones((7, PRODUCTS), bool), allowed]))
    np.testing.assert_allclose(mixed[7:], stage.score(asked, allowed), atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 7, CUSTOMERS])
def test_score_does_not_depend_on_how_many_are_scored_at_once(
    stage: SecondStage, asked: Asked, allowed: np.ndarray, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage.score(asked, allowed)
    monkeypatch.setattr("recsys.ranking.blocks.AT_ONCE", at_once)
    np.testing.assert_allclose(stage.score(asked, allowed), whole, atol=1e-5)


def test_score_candidates_come_before_the_others_in_the_towers_order(
    stage: SecondStage, asked: Asked, allowed: np.ndarray
) -> None:
    scores = stage.score(asked, allowed)
    mask = candidate_mask(asked, Sources.of(stage.tables, asked.history), stage.tables.activity, allowed, CANDIDATES)
    for row in range(CUSTOMERS):
        mine, others = scores[row, mask[row]], scores[row, ~mask[row]]
        if len(mine):
            assert mine.min() > others.max()
        assert np.array_equal(np.argsort(-others), np.argsort(-asked.tower[row, ~mask[row]]))


def test_score_of_who_may_have_nothing_is_the_towers_order(
    stage: SecondStage, asked: Asked, allowed: np.ndarray
) -> None:
    scores = stage.score(asked, allowed)
    assert np.array_equal(np.argsort(-scores[0]), np.argsort(-asked.tower[0]))
    nobody = stage.score(asked, np.zeros_like(allowed))
    assert np.array_equal(np.argsort(-nobody, axis=1), np.argsort(-asked.tower, axis=1))


def test_score_of_fewer_allowed_products_keeps_the_scores_of_those_that_stay(
    stage: SecondStage, asked: Asked, allowed: np.ndarray
) -> None:
    """A placement that has taken a product away does not change what the others score: explanations compare them."""
    five = allowed[[1]]
    fewer = five.copy()
    fewer[0, 2] = False
    one = asked.take(np.array([1]))
    assert np.array_equal(stage.score(one, five)[fewer], stage.score(one, fewer)[fewer])


def test_score_of_nobody_is_empty(stage: SecondStage, asked: Asked) -> None:
    assert stage.score(asked.take(np.zeros(0, np.int64))).shape == (0, PRODUCTS)


def test_contributions_add_up_to_the_rankers_score(stage: SecondStage, asked: Asked) -> None:
    everything = np.ones((CUSTOMERS, PRODUCTS), bool)
    config = stage.config.model_copy(update={"candidates": CandidateConfig(all_up_to=PRODUCTS)})
    scores = SecondStage(stage.tables, stage.ranker, config).score(asked, everything)
    for customer in range(6):
        found = [stage.contributions(asked.take(np.array([customer])), product) for product in range(PRODUCTS)]
        assert np.allclose([sum(parts.values()) for parts in found], scores[customer], atol=1e-5)
        assert {parts["average"] for parts in found} == {found[0]["average"]}
    assert {"average", "towers", "similar_customers", "popularity", "history", "attributes"} <= set(found[0])
