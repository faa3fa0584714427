"""The linear ranker in the second stage: tried beside the trees, chosen where it is better, carried by the bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.linear import LinearConfig
from recsys.recommender import Recommender
from recsys.schema import Kind
from tests.training.carousel import PRODUCTS, RANKING, Carousel, answered, build_carousel
from training.scoring import metrics_of, read_queries

K = 10


@pytest.fixture(scope="module")
def carousel(tmp_path_factory: pytest.TempPathFactory) -> Carousel:
    return build_carousel(tmp_path_factory.mktemp("carousel"))


def test_it_is_tried_once_a_penalty_and_goes_through_the_bundle(carousel: Carousel, tmp_path: Path) -> None:
    """An obvious law; the trees, of which there is one, cannot follow it."""
    rankers = (LinearConfig(l2=1.0), LinearConfig(l2=1e6), BoostedConfig(rounds=1, min_rows_in_leaf=1000))
    stage = carousel.stage(RANKING.model_copy(update={"rankers": rankers}))
    names = ["towers", "conditional logit, l2 1", "conditional logit, l2 1e+06", "binary, 1 trees"]
    assert [trial.name for trial in stage.trials] == names
    assert stage.chosen.name == "conditional logit, l2 1"
    stage.for_measuring().save(tmp_path / "bundle")
    recommender, test = Recommender(Bundle.load(tmp_path / "bundle")), carousel.agreeing().test
    states = recommender.encode_rows(read_queries(recommender.reader, test))
    scores = recommender.score(states, Kind.PRODUCTS)
    assert metrics_of(scores, test, K).ndcg.mean() > 0.8
    one = states[np.array([0])]
    account = recommender.ranker_contributions(one, 3)
    everything = recommender.tower_scores(one, Kind.PRODUCTS)[0]
    assert sum(account.values()) == pytest.approx(scores[0, 3] - 1e-5 * np.tanh(everything[3]), abs=1e-3)


@pytest.mark.parametrize("l2", [1e-3, 30.0])
def test_it_gains_nothing_from_answers_drawn_by_lot(carousel: Carousel, l2: float) -> None:
    split = carousel.agreeing()
    rng = np.random.default_rng(0)
    drawn = answered(split.validation, rng.integers(0, PRODUCTS, len(split.validation)))
    ranking = RANKING.model_copy(update={"rankers": (LinearConfig(l2=l2),)})
    stage = carousel.stage(ranking, replace(split, validation=drawn))
    lot = [metrics_of(rng.random(drawn.allowed.shape), drawn, K).ndcg.mean() for _ in range(200)]
    assert stage.trials[1].mean < np.mean(lot) + 4 * np.std(lot)
