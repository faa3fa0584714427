"""Reasons: which evidence they name, in which words, and what they never say."""

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.decisions.answer import DecisionRequest, Placement
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.evidence import Evidence, EvidenceFinder, without_contents, without_entries
from recsys.decisions.explanation import Explainer, ExplanationConfig, Reason, Subject
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.wording import SPENDING_WORDS, TEMPLATES, ReasonCode, nameable
from recsys.features.customers import NEVER
from recsys.features.spec import ViewName
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts, Relations
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.privacy.merchants import SENSITIVE_WORDS, is_sensitive
from recsys.schema import Kind, PolicyName, ServingMode
from recsys.testing.tiny_scorer import NOW, PRODUCTS, SEGMENT, TEXT, TinyScorer, asks_for, tiny_contents, tiny_products

HARDSHIP = ("arrears", "debt consolidation", "bereavement", "fraud victim", "funeral", "欠款", "丧葬")
VIEWS = {view: f"{view}__x" for view in ViewName if view.startswith("customer_") and view != "customer_history"}
HISTORY = {
    "customer_history__product_ids": ["p00", "p10", "", "p06", "p10"],
    "customer_history__content_ids": ["", "p10-a", "p01-b", "p06-a", ""],
    "customer_history__event_types": ["click", "click", "view", "dismiss", "convert"],
    "customer_history__timestamps": [1, 2, 3, 4, 5],
}


def catalogue(**columns: Any) -> Catalogue:
    tones = pl.Series("tone", ["warm", "plain"] * PRODUCTS)
    return Catalogue.from_frames(tiny_products().with_columns(**columns), tiny_contents().with_columns(tones))


def finder(shown: Catalogue | None = None) -> EvidenceFinder:
    return EvidenceFinder(shown or catalogue(), np.ones(PRODUCTS, bool))


def explainer(config: ExplanationConfig | None = None) -> Explainer:
    scorer = TinyScorer(tiny_products(), tiny_contents())
    return Explainer(catalogue(), scorer, config or ExplanationConfig())


def explain(
    item: int,
    falls: dict[Evidence, float],
    kind: Kind = Kind.PRODUCTS,
    language: str = "en",
    held: tuple[int, ...] = (),
) -> list[Reason]:
    subject = Subject(language, tuple(falls), (0.0,) * len(falls), frozenset(held))
    return explainer().personal(subject, kind, item, np.array(list(falls.values())))


def product(name: str) -> Evidence:
    return Evidence("customer_history", "product_ids", name)


@pytest.mark.parametrize(
    ("item", "evidence", "held", "code", "text"),
    [
        (3, Evidence("customer_profile"), (), "PROFILE", "Fits customers like you"),
        (3, Evidence("customer_behaviour"), (), "BEHAVIOUR", "Fits what you do with us"),
        (3, Evidence("customer_transactions"), (), "ACCOUNT", "Fits how you use your account"),
        (3, Evidence("customer_transactions", "share_fuel_90d"), (), "SPENDING", "Because you spend on fuel"),
        (3, Evidence("customer_history"), (), "HISTORY", "Because of what you looked at"),
        (3, product("p00"), (), "HISTORY_SIMILAR", "Similar to what you used: Product 0"),
        (3, product("p00"), (0,), "HELD", "Because you have Product 0"),
        (1, product("p10"), (), "ALSO_CHOSEN", "Many who chose Product 10 chose this too"),
        (3, product("p10"), (), "LOOKED_AT", "Because you looked at Product 10"),
        (3, Evidence("customer_text"), (), "TEXT", "Because of what you asked about"),
        (3, Evidence("customer_images"), (), "IMAGE", "Because of pictures that you liked"),
    ],
)
def test_personal_each_kind_of_evidence_has_its_code_and_words(
    item: int, evidence: Evidence, held: tuple[int, ...], code: str, text: str
) -> None:
    assert explain(item, {evidence: 0.3}, held=held) == [Reason(code, text, evidence)]


def test_personal_tone_is_a_reason_for_creatives_of_that_tone_only() -> None:
    warm = Evidence("customer_history", "content_ids", "warm")
    assert [reason.code for reason in explain(2, {warm: 0.3}, Kind.CONTENTS)] == ["WORDING"]
    assert [reason.code for reason in explain(3, {warm: 0.3}, Kind.CONTENTS)] == ["CHOSEN"]


def test_personal_chinese_customer_reads_chinese() -> None:
    assert explain(3, {product("p00"): 1.0}, language="zh")[0].text == "与您使用过的Product 0相似"


def test_personal_part_of_a_view_is_named_in_its_place_if_it_matters_enough() -> None:
    whole = Evidence("customer_history")
    assert explain(3, {whole: 1.0, product("p00"): 0.5, product("p10"): 0.6})[0].evidence == product("p10")
    assert explain(3, {whole: 1.0, product("p00"): 0.3})[0].evidence == whole
    assert explain(0, {whole: 1.0, product("p00"): 0.9})[0].evidence == whole  # it is the item itself


def test_personal_strongest_come_first_and_weak_ones_are_left_out() -> None:
    falls = {Evidence(view): fall for view, fall in zip(VIEWS, (0.5, 1.0, 0.1, 0.4, 0.3), strict=True)}
    views = [reason.evidence.view for reason in explain(3, falls) if reason.evidence]
    assert views == ["customer_behaviour", "customer_profile", "customer_text"]
    assert len(explain(3, {Evidence("customer_profile"): 1.0, Evidence("customer_text"): 0.1})) == 1


def test_personal_large_part_that_does_no_more_than_its_size_is_no_reason() -> None:
    evidence = (Evidence("customer_transactions"), Evidence("customer_text"))
    subject = Subject("en", evidence, (0.8, 0.2))
    codes = [reason.code for reason in explainer().personal(subject, Kind.PRODUCTS, 3, np.array([0.7, 0.3]))]
    assert codes == ["TEXT"]


def test_personal_nothing_that_lowers_the_score_is_popular_or_plain() -> None:
    falls = {Evidence("customer_profile"): -1.0, Evidence("customer_text"): 0.0}
    assert explain(6, falls)[0] == Reason("POPULAR", "Popular with our customers")
    assert explain(2, falls)[0] == Reason("CHOSEN", "From what we offer you")


def test_find_names_views_spending_and_products_not_dismissed_held_first() -> None:
    row = {SEGMENT: "young", TEXT: asks_for(1), "customer_transactions__share_fuel_90d": 0.2, **HISTORY}
    row["customer_transactions__share_hotels_90d"] = 0.3
    row["customer_transactions__share_health_90d"] = 0.9
    found = finder().find(finder().read(row), {0}, {Kind.CONTENTS})
    views = ("customer_profile", "customer_transactions", "customer_history", "customer_text")
    assert found == [
        *(Evidence(view) for view in views),
        Evidence("customer_transactions", "share_hotels_90d"),
        product("p00"),
        product("p10"),
        product("p01"),  # of the creative that he viewed
        Evidence("customer_history", "content_ids", "warm"),
    ]


def test_find_product_that_may_not_be_named_is_left_out() -> None:
    named = np.ones(PRODUCTS, bool)
    named[10] = False
    found = EvidenceFinder(catalogue(), named).find(finder().read(HISTORY), (), {Kind.PRODUCTS})
    assert [part.value for part in found] == ["", "p01", "p00"]


def test_without_each_removes_exactly_the_evidence() -> None:
    row = {SEGMENT: "young", "customer_transactions__share_fuel_90d": 0.2, **HISTORY}
    evidence = [
        Evidence("customer_profile"),
        Evidence("customer_transactions", "share_fuel_90d"),
        product("p10"),
        Evidence("customer_history", "content_ids", "plain"),
    ]
    profile, fuel, p10, plain = finder().without_each(finder().read(row), evidence)
    assert set(row) - set(profile) == {SEGMENT}
    assert set(row) - set(fuel) == {"customer_transactions__share_fuel_90d"}
    assert p10["customer_history__product_ids"] == ["p00", "", "p06"]
    assert p10["customer_history__timestamps"] == [1, 3, 4]
    assert plain["customer_history__content_ids"] == ["", "p10-a", "", "p06-a", ""]
    assert plain["customer_history__product_ids"] == row["customer_history__product_ids"]
    assert row["customer_history__timestamps"] == [1, 2, 3, 4, 5]


def test_sizes_are_columns_and_entries() -> None:
    row = {SEGMENT: "young", "customer_profile__as_of": 3, TEXT: None, **HISTORY}
    evidence = [Evidence("customer_profile"), Evidence("customer_history"), product("p10")]
    assert finder().sizes(finder().read(row), evidence) == ([1, 5, 2], 6)


def test_without_entries_all_of_them_is_without_the_history() -> None:
    assert without_entries({SEGMENT: "young", **HISTORY}, range(5)) == {SEGMENT: "young"}
    assert without_contents(HISTORY, [1])["customer_history__content_ids"] == ["", "", "p01-b", "p06-a", ""]


def test_without_entries_forgets_products_that_no_other_entry_is_about() -> None:
    row = {**HISTORY, "customer_history__products_ever": ["p77", "p10", "p00", "p06"]}
    one = without_entries(row, [0, 1])
    assert one["customer_history__products_ever"] == ["p77", "p10", "p06"]  # p10 is left in the last entry
    assert one["customer_history__product_ids"] == ["", "p06", "p10"]
    both = finder().without_each(finder().read(row), [product("p10")])[0]
    assert both["customer_history__products_ever"] == ["p77", "p00", "p06"]
    assert row["customer_history__products_ever"] == ["p77", "p10", "p00", "p06"]


def test_templates_every_language_has_every_code_and_the_same_slots() -> None:
    for words in TEMPLATES.values():
        assert set(words) == set(ReasonCode)
        assert {code for code in words if "{" in words[code]} == {
            ReasonCode.SPENDING,
            ReasonCode.HELD,
            ReasonCode.ALSO_CHOSEN,
            ReasonCode.HISTORY_SIMILAR,
            ReasonCode.LOOKED_AT,
        }
    assert all(set(words) == set(TEMPLATES) for words in SPENDING_WORDS.values())


def test_spending_words_name_nothing_sensitive() -> None:
    for column, words in SPENDING_WORDS.items():
        assert not any(is_sensitive(text) for text in (*words.values(), column.replace("_", " ")))


def test_nameable_credit_sensitive_and_hardship_are_not() -> None:
    titles = ["Day Saver", "Dental plan", "Debt relief", "逾期重组贷款", "Casino card"] + ["Gold Card"] * 7
    shown = catalogue(name=pl.Series(titles))
    credit = np.array([False] * 11 + [True])
    assert nameable(shown, credit).tolist() == [True] + [False] * 4 + [True] * 6 + [False]


titles = st.lists(
    st.one_of(
        st.sampled_from(sorted(SENSITIVE_WORDS)),
        st.sampled_from(HARDSHIP),
        st.text(min_size=1, max_size=12),
        st.sampled_from(["{name}", "{0.__class__}", "Day Saver"]),
    ).map(lambda word: f"{word} plan"),
    min_size=PRODUCTS,
    max_size=PRODUCTS,
)
rows = st.fixed_dictionaries(
    {},
    optional={
        SEGMENT: st.sampled_from(["young", "affluent"]),
        TEXT: st.integers(0, PRODUCTS - 1).map(asks_for),
        **{f"customer_profile__{flag}": st.booleans() for flag in NEVER},
        **{f"customer_transactions__share_{word}_90d": st.floats(0, 1) for word in ("health", "gambling", "fuel")},
        "customer_history__product_ids": st.lists(st.sampled_from([f"p{n:02}" for n in range(PRODUCTS)]), max_size=8),
    },
)


@settings(max_examples=200, deadline=None)
@given(titles, rows, st.lists(st.integers(0, PRODUCTS - 1), max_size=3), st.sampled_from(["en", "zh"]), st.booleans())
def test_law_reasons_say_nothing_sensitive_and_point_to_what_is_there(
    names: list[str], row: dict[str, Any], held: list[int], locale: str, in_arrears: bool
) -> None:
    """Whatever products are called, customers hold and rows contain; of another customer nothing can be known here."""
    products, contents = tiny_products().with_columns(name=pl.Series(names)), tiny_contents()
    scorer, policy = TinyScorer(products, contents), PolicyEngine(load_pack(PolicyName.BANK))
    pipeline = DecisionPipeline(scorer, policy, Catalogue.from_frames(products, contents))
    facts = CustomerFacts.single(
        {"risk_level": "C5", "risk_assessed_at": NOW - timedelta(days=1), "in_arrears": in_arrears, "bereaved": True}
    )
    since = np.full(len(held), np.datetime64("2026-01-01", "us"))
    owned = Relations.build(
        1, np.zeros(len(held), np.int64), np.array(held, np.int64), since, since + np.timedelta64(1, "s")
    )
    asked = DecisionRequest(NOW, (Placement("home", Kind.PRODUCTS, 5),), RequestContext(locale=locale))
    decision = pipeline.decide(row, facts.with_relations(owned, Relations.empty(1)), asked)
    for reason in (reason for item in decision.placements[0].items for reason in item.reasons):
        assert reason.code in set(ReasonCode)
        assert not is_sensitive(reason.text)
        assert not any(word in reason.text.lower() for word in (*HARDSHIP, *NEVER))
        if reason.evidence is not None:
            assert reason.evidence.view in pipeline.finder.read(row).views
            assert f"{reason.evidence.view}__{reason.evidence.feature}" not in {f"customer_profile__{f}" for f in NEVER}
            assert "health" not in reason.evidence.feature
            assert "gambling" not in reason.evidence.feature
            assert reason.evidence.value in ("", *row.get("customer_history__product_ids", ()))


def test_explored_item_says_that_it_is_tried_out() -> None:
    assert explainer().explored("en") == [Reason("EXPLORED", "Something new for you to discover")]
    assert explainer().popular(ServingMode.SAFE, "young", "zh") == [Reason("POPULAR", "深受客户欢迎")]
