"""Which products the second stage looks at."""

import numpy as np
import pytest

from recsys.ranking.activity import Activity
from recsys.ranking.candidates import SOURCES, CandidateConfig, candidate_mask
from recsys.ranking.features import Asked
from recsys.ranking.sources import Sources
from recsys.ranking.spread import Lists
from recsys.ranking.tables import ItemTables
from tests.ranking.worlds import DAY, NOW, draw_asked, draw_tables

CUSTOMERS, PRODUCTS = 15, 60
CONFIG = CandidateConfig(all_up_to=10, tower=5, source=3, popular=4, popular_days=14)


NO_SOURCES = Sources(np.arange(5), {}, Lists(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)), {})


@pytest.fixture
def tables() -> ItemTables:
    return draw_tables(np.random.default_rng(0), PRODUCTS)


@pytest.fixture
def asked() -> Asked:
    return draw_asked(np.random.default_rng(1), CUSTOMERS, PRODUCTS)


@pytest.fixture
def sources(tables: ItemTables, asked: Asked) -> Sources:
    return Sources.of(tables, asked.history)


@pytest.fixture
def allowed() -> np.ndarray:
    """Half of the catalogue for most; few products for customer 0, none for customer 1."""
    mask = np.random.default_rng(2).random((CUSTOMERS, PRODUCTS)) < 0.5
    mask[0] = np.arange(PRODUCTS) % 9 == 0
    mask[1] = False
    return mask


def popularity(activity: Activity, now: int, days: int) -> np.ndarray:
    """[P] events of the last days before the bin of `now` began, the same way as a naive reader would."""
    instant = now // activity.width * activity.width
    until, since = (activity.before(np.arange(PRODUCTS), np.full(PRODUCTS, t)) for t in (instant, instant - days * DAY))
    return until - since


def test_candidates_are_within_allowed(tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    assert not (mask & ~allowed).any()
    assert not mask[1].any()
    assert (mask.sum(axis=1)[2:] < allowed.sum(axis=1)[2:]).all()


@pytest.mark.parametrize("source", ["tower", *SOURCES])
def test_candidates_hold_the_best_allowed_of_every_source(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray, source: str
) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    scores, count = (
        (asked.tower, CONFIG.tower)
        if source == "tower"
        else (sources.for_all(sources.proposals)[source], CONFIG.source)
    )
    for row in np.flatnonzero(allowed.any(axis=1)):
        worst_chosen = np.sort(scores[row, allowed[row]])[-count:].min()
        assert mask[row, allowed[row] & (scores[row] > worst_chosen)].all()
        assert (mask[row] & (scores[row] >= worst_chosen)).sum() >= count


def test_candidates_hold_what_is_popular_lately(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray
) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    for row in np.flatnonzero(allowed.any(axis=1)):
        counts = popularity(tables.activity, int(asked.now[row]), CONFIG.popular_days)
        border = np.sort(counts[allowed[row]])[-CONFIG.popular :].min()
        assert mask[row, allowed[row] & (counts > border)].all()


def test_candidates_are_no_more_than_the_sources_propose(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray
) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    most = CONFIG.tower + CONFIG.source * len(SOURCES) + CONFIG.popular
    assert (mask.sum(axis=1)[1:] <= most).all()


def test_candidates_of_who_may_have_few_are_all_of_them(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray
) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    assert allowed[0].sum() <= CONFIG.all_up_to
    assert np.array_equal(mask[0], allowed[0])


def test_candidates_of_a_small_catalogue_are_all_allowed(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray
) -> None:
    config = CONFIG.model_copy(update={"all_up_to": PRODUCTS})
    assert np.array_equal(candidate_mask(asked, sources, tables.activity, allowed, config), allowed)


def test_candidates_of_sources_that_are_not_there_are_the_towers_and_the_popular(
    tables: ItemTables, asked: Asked, allowed: np.ndarray
) -> None:
    mask = candidate_mask(asked, NO_SOURCES, tables.activity, allowed, CONFIG)
    assert (mask.sum(axis=1)[2:] >= CONFIG.tower).all()
    assert (mask.sum(axis=1)[2:] <= CONFIG.tower + CONFIG.popular).all()


def test_candidates_where_every_source_may_propose_all_are_all_but_the_last() -> None:
    """More places than products is no error."""
    rng = np.random.default_rng(0)
    tables, asked = draw_tables(rng, 12), draw_asked(rng, 5, 12)
    config = CandidateConfig(all_up_to=0, tower=100, source=100, popular=100)
    mask = candidate_mask(asked, Sources.of(tables, asked.history), tables.activity, np.ones((5, 12), bool), config)
    assert (mask.sum(axis=1) >= 11).all()


def test_candidates_of_a_customer_do_not_depend_on_the_others(
    tables: ItemTables, asked: Asked, sources: Sources, allowed: np.ndarray
) -> None:
    mask = candidate_mask(asked, sources, tables.activity, allowed, CONFIG)
    for row in range(CUSTOMERS):
        one = asked.take(np.array([row]))
        mine = sources.take(np.array([row]))
        alone = candidate_mask(one, mine, tables.activity, allowed[row : row + 1], CONFIG)
        assert np.array_equal(alone[0], mask[row])


def test_candidates_popular_are_counted_before_the_day_of_asking() -> None:
    """Product 0 sells from tomorrow on: it is no candidate today, and is the day after."""
    tables = draw_tables(np.random.default_rng(0), PRODUCTS)
    product = np.concatenate([np.arange(PRODUCTS), np.zeros(500, np.int64)])
    time = np.concatenate([NOW - np.arange(PRODUCTS) * DAY, np.full(500, NOW + DAY)])
    activity = Activity.fit(product, time, PRODUCTS)
    asked = draw_asked(np.random.default_rng(1), 2, PRODUCTS)
    asked = Asked(asked.history, np.array([NOW, NOW + 3 * DAY]), np.tile(np.arange(PRODUCTS, dtype=np.float32), (2, 1)))
    config = CONFIG.model_copy(update={"popular": 1})
    mask = candidate_mask(asked, NO_SOURCES, activity, np.ones((2, PRODUCTS), bool), config)
    assert len(tables) == PRODUCTS
    assert mask[:, 0].tolist() == [False, True]
