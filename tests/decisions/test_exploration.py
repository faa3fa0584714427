"""What is tried out: inside the allowed set only, with probabilities that the draws bear out."""

from collections import Counter
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recsys.decisions.answer import DecisionRequest, Placement
from recsys.decisions.exploration import Explorer, Places, best_places
from recsys.decisions.pipeline import DecisionPipeline
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ConsentAnswer, Consents, CustomerFacts
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import Kind, PolicyName
from recsys.testing.tiny_scorer import HISTORY, NOW, SEGMENT, TEXT, asks_for, tiny_pipeline

DRAWS = 100_000
SCORES = np.array([0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.5], np.float32)
ALLOWED = np.array([1, 1, 1, 1, 0, 1, 1, 1], bool)
EXPLORABLE = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
GROUPS = np.array([0, 0, 1, 1, 2, 3, 4, 5])
"""Two creatives each of the products 0 and 1; the best of product 1 may not be tried out, item 4 is not allowed."""
PLACEMENTS = (Placement("home", Kind.PRODUCTS, 3), Placement("banner", Kind.CONTENTS, 2))
FUNDS = ("p02", "p05", "p08", "p11")
KNOWN = {SEGMENT: "young", HISTORY: ["p00"], TEXT: asks_for(3)}


def expected(shown: tuple[int, ...], rate: float) -> dict[int, float]:
    """The probability of every item at the next place, by the definition."""
    gone = {int(GROUPS[item]) for item in shown}
    left = [item for item in np.flatnonzero(ALLOWED).tolist() if GROUPS[item] not in gone]
    drawable = [item for item in left if EXPLORABLE[item]]
    best = max(left, key=lambda item: SCORES[item])
    if not drawable:
        return {best: 1.0}
    chances = dict.fromkeys(drawable, rate / len(drawable))
    chances[best] = chances.get(best, 0.0) + 1 - rate
    return chances


def fill(seed: str, rate: float, limit: int = 2) -> Places:
    return Explorer(rate, seed).fill(SCORES, ALLOWED, EXPLORABLE, GROUPS, limit)


@pytest.fixture(scope="module")
def drawn() -> Counter[tuple[int, int]]:
    """What stood at two places in 100,000 decisions; each logged propensity is checked on the way."""
    counts: Counter[tuple[int, int]] = Counter()
    for number in range(DRAWS):
        places = fill(f"decision {number}", rate=0.3)
        first, second = places.items.tolist()
        counts[first, second] += 1
        if number < 500:
            assert places.propensities[0] == pytest.approx(expected((), 0.3)[first])
            assert places.propensities[1] == pytest.approx(expected((first,), 0.3)[second])
    return counts


def goodness(counts: Counter[tuple[int, int]], rate: float) -> float:
    """How likely such counts are if the propensities at both places are those of `rate`."""
    cells = {
        (first, second): DRAWS * chance * other
        for first, chance in expected((), rate).items()
        for second, other in expected((first,), rate).items()
    }
    assert set(counts) <= set(cells)
    return float(chisquare([counts[cell] for cell in cells], list(cells.values())).pvalue)


def test_fill_frequencies_over_100000_draws_are_the_logged_propensities(drawn: Counter[tuple[int, int]]) -> None:
    assert goodness(drawn, rate=0.3) > 0.001


@pytest.mark.parametrize("wrong", [0.29, 0.31])
def test_fill_frequencies_refute_propensities_that_are_a_little_off(
    drawn: Counter[tuple[int, int]], wrong: float
) -> None:
    assert goodness(drawn, wrong) < 1e-6


def test_fill_every_item_that_may_be_tried_out_is_and_no_other(drawn: Counter[tuple[int, int]]) -> None:
    firsts = {first for first, _ in drawn}
    assert firsts == {0, 1, 3, 5, 7}  # 2 and 6 may not be tried out, 4 is not allowed; 0 is the best


def test_fill_same_seed_same_places_and_other_seeds_others() -> None:
    several = [fill(str(number), 0.5, limit=4).items.tolist() for number in range(50)]
    assert several == [fill(str(number), 0.5, limit=4).items.tolist() for number in range(50)]
    assert len({tuple(items) for items in several}) > 10


def test_fill_rate_zero_is_the_best_items_with_certainty() -> None:
    places, best = fill("any", 0.0, limit=8), best_places(SCORES, ALLOWED, GROUPS, 8)
    assert places.items.tolist() == best.items.tolist() == [0, 2, 6, 7, 5]
    assert places.propensities.tolist() == best.propensities.tolist() == [1.0] * 5
    assert not places.explored.any()


def test_fill_nothing_to_try_out_is_certain_whatever_the_rate() -> None:
    places = Explorer(0.9, "x").fill(SCORES, ALLOWED, np.zeros(8, bool), GROUPS, 3)
    assert (places.items.tolist(), places.propensities.tolist()) == ([0, 2, 6], [1.0, 1.0, 1.0])


def test_fill_nothing_allowed_fills_nothing() -> None:
    places = Explorer(0.9, "x").fill(SCORES, np.zeros(8, bool), EXPLORABLE, GROUPS, 3)
    assert len(places.items) == len(places.propensities) == len(places.explored) == 0


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans(), st.booleans(), st.integers(0, 4)), max_size=12),
    st.integers(0, 6),
    st.floats(0, 0.99),
    st.text(max_size=5),
)
def test_law_fill_stays_inside_what_is_allowed_and_never_repeats(
    items: list[tuple[float, bool, bool, int]], limit: int, rate: float, seed: str
) -> None:
    scores = np.array([item[0] for item in items], np.float32)
    allowed, explorable = (np.array([item[column] for item in items], bool) for column in (1, 2))
    groups = np.array([item[3] for item in items], np.int64)
    places = Explorer(rate, seed).fill(scores, allowed, explorable, groups, limit)
    assert allowed[places.items].all()
    assert explorable[places.items][places.explored].all()
    assert len(set(groups[places.items])) == len(places.items) == min(limit, len(set(groups[allowed])))
    assert ((places.propensities > 0) & (places.propensities <= 1)).all()


def person(**facts: object) -> CustomerFacts:
    row = {"risk_level": "C5", "risk_assessed_at": NOW - timedelta(days=1), "segment": "young", **facts}
    return CustomerFacts.from_frame(pl.DataFrame([row]))


def request(seed: str | None) -> DecisionRequest:
    return DecisionRequest(NOW, PLACEMENTS, RequestContext(locale="en"), seed=seed)


def products(pipeline: DecisionPipeline, facts: CustomerFacts, seed: str | None) -> list[str]:
    decision = pipeline.decide(KNOWN, facts, request(seed))
    return [item.product_id for place in decision.placements for item in place.items]


def test_decide_tries_out_no_investment_and_nothing_that_a_rule_removes() -> None:
    pipeline, facts = tiny_pipeline(exploration=0.9), person()
    best = products(pipeline, facts, None)
    allowed = pipeline.policy.evaluate(facts, pipeline.catalogue.products, NOW).allowed[0]
    names = [name for name, may in zip(pipeline.catalogue.products.ids, allowed, strict=True) if may]
    seen: set[str] = set()
    for number in range(300):
        decision = pipeline.decide(KNOWN, facts, request(str(number)))
        items = [item for place in decision.placements for item in place.items]
        ids = [item.product_id for item in items]
        assert len(ids) == len(set(ids)) == 5
        assert set(ids) <= set(names)
        seen |= set(ids)
    assert set(FUNDS) <= set(names)  # they are allowed to a C5
    assert seen.isdisjoint(FUNDS)
    assert seen > set(best)


def test_decide_pack_that_switches_credit_on_tries_it_out() -> None:
    pack = load_pack(PolicyName.BANK)
    chances = pack.exploration.model_copy(update={"rate": 0.9, "off_for": ()})
    tiny = tiny_pipeline()
    policy = PolicyEngine(pack.model_copy(update={"exploration": chances}))
    pipeline = DecisionPipeline(tiny.scorer, policy, tiny.catalogue)
    seen = {name for number in range(200) for name in products(pipeline, person(), str(number))}
    assert seen >= set(FUNDS)


def test_decide_without_a_seed_tries_nothing_out() -> None:
    decision = tiny_pipeline(exploration=0.9).decide(KNOWN, person(), request(None))
    items = [item for place in decision.placements for item in place.items]
    assert {item.propensity for item in items} == {1.0}
    assert [item.product_id for item in items] == products(tiny_pipeline(), person(), "any seed")


@pytest.mark.parametrize("purposes", [(), ("marketing",)])
def test_decide_nothing_is_tried_out_on_who_refused_profiling(purposes: tuple[str, ...]) -> None:
    answers = [ConsentAnswer(purpose, None, True, NOW) for purpose in purposes]
    refusing = person().with_consents(Consents.single(answers))
    pipeline = tiny_pipeline(exploration=0.9)
    assert len({tuple(products(pipeline, refusing, str(number))) for number in range(50)}) == 1
    assert len({tuple(products(pipeline, person(), str(number))) for number in range(50)}) > 10


@pytest.mark.parametrize("name", list(PolicyName))
def test_pack_rate_is_small_and_off_for_investment_and_credit(name: PolicyName) -> None:
    exploration = load_pack(name).exploration
    assert exploration.rate == (0.0 if name is PolicyName.NONE else 0.02)
    assert name is PolicyName.NONE or set(exploration.off_for) == {"investment", "credit"}
