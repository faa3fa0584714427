"""Decisions over the tiny bank, whose scores can be worked out by hand."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.decisions.answer import Decision, DecisionRequest, Placement, RankedItem
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import ScoreArray
from recsys.errors import ModelError
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ConsentAnswer, Consents, CustomerFacts, Relations
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import RISK_LEVELS, Kind, Modality, PolicyName, ServingMode
from recsys.testing.tiny_scorer import (
    HISTORY,
    NOW,
    SEGMENT,
    TEXT,
    TinyScorer,
    asks_for,
    tiny_contents,
    tiny_pipeline,
    tiny_products,
)

HOME = (Placement("home", Kind.PRODUCTS, 3), Placement("banner", Kind.CONTENTS, 2))
WHOLE = {SEGMENT: "young", HISTORY: ["p00"], TEXT: asks_for(3)}


def facts(level: str | None = "C3", segment: str | None = "young", days: int = 10) -> CustomerFacts:
    row = {"risk_level": [level], "risk_assessed_at": [NOW - timedelta(days=days)], "segment": [segment]}
    schema = {"risk_level": pl.String, "risk_assessed_at": pl.Datetime("us", "UTC"), "segment": pl.String}
    return CustomerFacts.from_frame(pl.DataFrame(row, schema=schema))


def request(*placements: Placement, locale: str | None = "en") -> DecisionRequest:
    return DecisionRequest(NOW, placements or HOME, RequestContext(locale=locale))


def shown(decision: Decision, place: int = 0) -> list[str]:
    return [item.content_id or item.product_id for item in decision.placements[place].items]


def answer(decision: Decision) -> list[tuple[str, list[RankedItem], dict[str, int]]]:
    return [(place.name, place.items, place.removals) for place in decision.placements]


def consenting(*purposes: str) -> Consents:
    return Consents.single([ConsentAnswer(purpose, None, True, NOW) for purpose in purposes])


def test_decide_all_modalities_is_personalised_and_ranked_by_score() -> None:
    decision = tiny_pipeline().decide(WHOLE, facts(), request())
    # 1.5: asked for and of the category; 0.5: p00, p06 of the category (p09 is paused); 0.1: cards
    assert decision.mode is ServingMode.PERSONALISED
    assert shown(decision) == ["p03", "p00", "p06"]
    assert [item.score for item in decision.placements[0].items] == pytest.approx([1.5, 0.5, 0.5])
    assert [item.rank for item in decision.placements[0].items] == [1, 2, 3]
    assert decision.suitability == "valid"


def test_decide_no_product_is_shown_twice_in_either_order() -> None:
    pipeline = tiny_pipeline()
    for placements in (HOME, HOME[::-1]):
        decision = pipeline.decide(WHOLE, facts(), request(*placements))
        products = [item.product_id for place in decision.placements for item in place.items]
        assert len(products) == len(set(products)) == 5


def test_decide_contents_are_the_better_creative_of_allowed_products() -> None:
    decision = tiny_pipeline().decide(WHOLE, facts(), request(Placement("banner", Kind.CONTENTS, 3)))
    # p00's creatives are drafts, p09 is paused
    assert shown(decision) == ["p03-b", "p06-b", "p01-b"]
    assert decision.placements[0].removals["CONTENT_NOT_APPROVED"] == 2
    assert decision.placements[0].removals["LIFE_PAUSED"] == 2


def test_decide_missing_modalities_is_partial_and_lists_them() -> None:
    decision = tiny_pipeline().decide({SEGMENT: "young"}, facts(), request())
    assert decision.mode is ServingMode.PARTIAL
    assert decision.missing == (Modality.HISTORY, Modality.TEXT)


@pytest.mark.parametrize("features", [None, {}])
def test_decide_nothing_known_is_popular_of_the_segment(features: dict[str, object] | None) -> None:
    decision = tiny_pipeline().decide(features, facts(), request())
    assert decision.mode is ServingMode.POPULAR
    assert shown(decision) == ["p10", "p07", "p04"]  # `young` likes cards
    assert decision.placements[0].items[0].reasons[0].code == "POPULAR_SEGMENT"


def test_decide_unknown_customer_is_popular_without_investments() -> None:
    decision = tiny_pipeline().decide(None, CustomerFacts.unknown(1), request(Placement("all", Kind.PRODUCTS, 50)))
    assert decision.mode is ServingMode.POPULAR
    assert decision.suitability == "missing"
    assert shown(decision) == ["p06", "p03", "p00", "p10", "p07", "p04", "p01"]
    assert decision.placements[0].removals == {"LIFE_PAUSED": 1, "ELIG_JURISDICTION": 4}


def test_decide_unreadable_facts_is_safe_and_depends_on_nobody() -> None:
    pipeline = tiny_pipeline()
    decision = pipeline.decide(WHOLE, None, request())
    assert decision.mode is ServingMode.SAFE
    assert decision.suitability == "unreadable"
    assert answer(decision) == answer(pipeline.decide(None, None, request()))
    assert shown(decision, place=1) == []  # consent that cannot be read is none
    assert decision.placements[0].items[0].reasons[0].code == "POPULAR"


class Unencodable(TinyScorer):
    """Fails where a customer's vector is computed."""

    def encode(self, *arguments: object) -> ScoreArray:  # type: ignore[override]
        raise AssertionError("a vector was computed")


def unencodable_pipeline() -> DecisionPipeline:
    products, contents = tiny_products(), tiny_contents()
    engine = PolicyEngine(load_pack(PolicyName.BANK))
    return DecisionPipeline(Unencodable(products, contents), engine, Catalogue.from_frames(products, contents))


@pytest.mark.parametrize("segment", ["young", "affluent", None])
def test_decide_profiling_refused_is_what_everybody_likes_and_computes_no_vector(segment: str | None) -> None:
    person = facts(segment=segment).with_consents(consenting("marketing"))
    decision = unencodable_pipeline().decide(WHOLE, person, request())
    assert decision.mode is ServingMode.POPULAR
    assert decision.missing == (Modality.PROFILE, Modality.HISTORY, Modality.TEXT)
    assert answer(decision) == answer(tiny_pipeline().decide(None, person, request()))
    assert shown(decision) == ["p06", "p03", "p00"]  # not his segment's favourites
    assert {item.reasons[0].code for item in decision.placements[0].items} == {"POPULAR"}


def test_decide_profiling_agreed_to_is_personalised() -> None:
    person = facts().with_consents(consenting("profiling"))
    decision = tiny_pipeline().decide(WHOLE, person, request())
    assert decision.mode is ServingMode.PERSONALISED
    assert decision.placements[1].removals["CONSENT_MARKETING"] > 0
    assert shown(decision, place=1) == []


def test_decide_stale_facts_is_safe_and_looks_at_nothing_personal() -> None:
    row = {"risk_level": "C5", "risk_assessed_at": NOW, "segment": "young"}
    old = CustomerFacts.single(row, as_of=NOW - timedelta(days=8))
    decision = unencodable_pipeline().decide(WHOLE, old, request(Placement("all", Kind.PRODUCTS, 50)))
    assert decision.mode is ServingMode.SAFE
    assert decision.suitability == "unreadable"
    assert decision.placements[0].removals == {"DATA_STALE": 5}
    nobody = unencodable_pipeline().decide(None, None, request(Placement("all", Kind.PRODUCTS, 50)))
    assert shown(decision) == shown(nobody)


def test_rank_refused_or_stale_customers_get_what_everybody_likes() -> None:
    pipeline = tiny_pipeline()
    rows = [WHOLE, WHOLE, {SEGMENT: "affluent"}]
    people = CustomerFacts.from_frame(
        pl.DataFrame(
            {
                "segment": ["young", "young", "affluent"],
                "as_of": [NOW, NOW - timedelta(days=8), NOW],
            }
        )
    )
    answers = [("0", True), ("1", True), ("2", False)]
    frame = pl.DataFrame(
        {
            "customer_id": [name for name, _ in answers],
            "purpose": "profiling",
            "event_timestamp": [NOW] * 3,
            "granted": [granted for _, granted in answers],
        }
    )
    people = people.with_consents(Consents.from_frame(frame, ["0", "1", "2"]))
    ranking = pipeline.rank(pipeline.understand(rows, NOW), people, Kind.PRODUCTS, 3, request())
    assert ranking.modes == [ServingMode.PERSONALISED, ServingMode.SAFE, ServingMode.POPULAR]
    assert ranking.items[1].tolist() == ranking.items[2].tolist() == [6, 3, 0]
    assert ranking.items[0].tolist() == [3, 0, 6]


def test_decide_expired_assessment_says_so_and_shows_no_fund() -> None:
    decision = tiny_pipeline().decide(WHOLE, facts("C5", days=366), request(Placement("all", Kind.PRODUCTS, 50)))
    assert decision.suitability == "expired"
    assert not {"p02", "p05", "p08", "p11"} & set(shown(decision))
    assert decision.placements[0].removals["SUIT_EXPIRED"] == 4


def test_decide_held_product_is_out_unless_repeatable() -> None:
    since = np.array([np.datetime64("2026-01-01", "us")] * 2)
    held = Relations.build(1, np.zeros(2, np.int64), np.array([3, 4]), since, np.full(2, np.datetime64("NaT", "us")))
    person = facts().with_relations(held, Relations.empty(1))
    names = shown(tiny_pipeline().decide(WHOLE, person, request(Placement("all", Kind.PRODUCTS, 50))))
    assert "p03" not in names
    assert "p04" in names


def test_decide_candidates_restrict_what_is_ranked_and_counted() -> None:
    pipeline = tiny_pipeline()
    only = pipeline.catalogue.mask(Kind.PRODUCTS, ["p01", "p09", "p11"])
    asked = DecisionRequest(NOW, (Placement("all", Kind.PRODUCTS, 50),), candidates={Kind.PRODUCTS: only})
    decision = pipeline.decide(WHOLE, facts(), asked)
    assert shown(decision) == ["p01"]
    assert decision.placements[0].removals == {"LIFE_PAUSED": 1, "SUIT_RISK": 1}


def test_decide_same_request_same_answer() -> None:
    first, again = (answer(tiny_pipeline().decide(WHOLE, facts(), request())) for _ in range(2))
    assert first == again


def test_explain_reasons_follow_what_the_score_depends_on() -> None:
    decision = tiny_pipeline().decide(WHOLE, facts(), request(Placement("all", Kind.PRODUCTS, 50)))
    reasons = {item.product_id: [reason.code for reason in item.reasons] for item in decision.placements[0].items}
    assert reasons["p03"] == ["TEXT"]  # worth 1.0 of 1.5; the history's 0.5 is no more than any third of his row
    assert reasons["p06"] == ["HISTORY_SIMILAR"]
    assert reasons["p00"] == ["HISTORY"]  # it is itself what he looked at
    assert reasons["p01"] == ["PROFILE"]
    assert reasons["p02"] == ["CHOSEN"]  # its score depends on nothing of his


def test_explain_language_is_the_locale_then_the_customers_then_english() -> None:
    pipeline = tiny_pipeline(PolicyName.NONE)
    texts = [
        pipeline.decide(WHOLE, facts(), request(locale=locale)).placements[0].items[2].reasons[0].text
        for locale in ("en-GB", "zh-Hans", "fr", None)
    ]
    english, chinese = "Similar to what you used: Product 0", "与您使用过的Product 0相似"
    assert texts == [english, chinese, english, english]


def test_rank_batch_equals_single_decisions() -> None:
    pipeline = tiny_pipeline()
    rows = [WHOLE, {SEGMENT: "affluent"}, None, {TEXT: asks_for(10)}]
    people = CustomerFacts.from_frame(
        pl.DataFrame(
            {
                "risk_level": ["C3", "C5", None, "C1"],
                "risk_assessed_at": [NOW] * 4,
                "segment": ["young", "affluent", None, "young"],
            }
        )
    )
    ranking = pipeline.rank(pipeline.understand(rows, NOW), people, Kind.PRODUCTS, 6, request())
    for row, features in enumerate(rows):
        single = pipeline.decide(features, people.slice(row, row + 1), request(Placement("p", Kind.PRODUCTS, 6)))
        names = [pipeline.catalogue.products.ids[item] for item in ranking.items[row] if item >= 0]
        assert names == shown(single)
        assert ranking.modes[row] is single.mode


def test_rank_contents_may_name_one_product_several_times() -> None:
    pipeline = tiny_pipeline(PolicyName.NONE)
    ranking = pipeline.rank(pipeline.understand([WHOLE], NOW), facts(), Kind.CONTENTS, 2, request())
    assert [pipeline.catalogue.ids(Kind.CONTENTS)[item] for item in ranking.items[0]] == ["p03-b", "p03-a"]


def test_rank_fewer_items_than_asked_leaves_places_empty() -> None:
    pipeline = tiny_pipeline()
    only = {Kind.PRODUCTS: pipeline.catalogue.mask(Kind.PRODUCTS, ["p01"])}
    ranking = pipeline.rank(
        pipeline.understand([None], NOW), facts(), Kind.PRODUCTS, 3, DecisionRequest(NOW, candidates=only)
    )
    assert ranking.items.tolist() == [[1, -1, -1]]
    assert np.isnan(ranking.scores[0, 1:]).all()


def test_pipeline_catalogue_in_another_order_is_refused() -> None:
    products, contents = tiny_products(), tiny_contents()
    scorer = TinyScorer(products, contents)
    engine = PolicyEngine(load_pack(PolicyName.BANK))
    with pytest.raises(ModelError, match="same order"):
        DecisionPipeline(scorer, engine, Catalogue.from_frames(products.reverse(), contents))


def test_pipeline_without_contents_leaves_their_placement_empty() -> None:
    products = tiny_products()
    scorer = TinyScorer(products, tiny_contents().clear())
    pipeline = DecisionPipeline(scorer, PolicyEngine(load_pack(PolicyName.BANK)), Catalogue.from_frames(products, None))
    assert shown(pipeline.decide(WHOLE, facts(), request()), place=1) == []
    assert pipeline.rank(pipeline.understand([None], NOW), facts(), Kind.CONTENTS, 2, request()).items.tolist() == [
        [-1, -1]
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([None, *RISK_LEVELS]),
    st.integers(-5, 500),
    st.sampled_from([None, {}, WHOLE, {SEGMENT: "affluent"}, {TEXT: asks_for(11)}]),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(1, 12)), min_size=1, max_size=4),
)
def test_law_no_path_shows_what_is_not_suitable(
    level: str | None, days: int, features: dict[str, object] | None, readable: bool, places: list[tuple[Kind, int]]
) -> None:
    """Personalised, partial, popular and safe alike; p02, p05, p08, p11 are rated R1 to R4, p09 is paused."""
    asked = request(*(Placement(f"x{number}", kind, limit) for number, (kind, limit) in enumerate(places)))
    decision = tiny_pipeline().decide(features, facts(level, days=days) if readable else None, asked)
    usable = readable and level is not None and 0 <= days <= 365
    highest = RISK_LEVELS.index(level) + 1 if usable and level is not None else 0
    products = [item.product_id for place in decision.placements for item in place.items]
    assert len(products) == len(set(products))
    assert "p09" not in products
    assert not [
        name for number, name in enumerate(("p02", "p05", "p08", "p11")) if name in products and number >= highest
    ]
