"""Each rule against cases whose answer is known, and the laws that hold for all customers and catalogues."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ContentFacts, CustomerFacts, ProductFacts, Relations, relations
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import RISK_LEVELS, RISK_RATINGS, PolicyName

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Rows = list[dict[str, object]]
BANK = PolicyEngine(load_pack(PolicyName.BANK))
ADULT = {"risk_level": "C3", "risk_assessed_at": NOW - timedelta(days=10), "is_minor": False}


def products(*rows: dict[str, object]) -> ProductFacts:
    frame = [{"product_id": f"p{number}", **row} for number, row in enumerate(rows)]
    return ProductFacts.from_frame(pl.DataFrame(frame, infer_schema_length=None))


def customers(*rows: dict[str, object]) -> CustomerFacts:
    return CustomerFacts.from_frame(pl.DataFrame(list(rows), infer_schema_length=None))


def first_rule(
    customer: CustomerFacts, product: ProductFacts, engine: PolicyEngine = BANK, **request: str | None
) -> list[str]:
    outcome = engine.evaluate(customer, product, NOW, RequestContext(**request))
    return ["" if rule < 0 else outcome.rule_ids[rule] for rule in outcome.rule[0]]


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ({"status": "live"}, ""),
        ({"status": "draft"}, "LIFE_NOT_LIVE"),
        ({"status": None}, "LIFE_NOT_LIVE"),
        ({"status": "paused"}, "LIFE_PAUSED"),
        ({"status": "sold_out"}, "LIFE_SOLD_OUT"),
        ({"available_from": NOW}, ""),
        ({"available_from": NOW + timedelta(seconds=1)}, "LIFE_NOT_LIVE"),
        ({"available_to": NOW + timedelta(seconds=1)}, ""),
        ({"available_to": NOW}, "LIFE_NOT_LIVE"),
        ({"bank_risk": "R3"}, ""),
        ({"bank_risk": "R4"}, "SUIT_RISK"),
        ({"issuer_risk": "R4", "bank_risk": "R1"}, "SUIT_RISK"),
        ({"issuer_risk": "R1", "bank_risk": "R4"}, "SUIT_RISK"),
        ({"category": "fund"}, "SUIT_UNRATED"),
        ({"category": "savings"}, ""),
        ({"min_age": 18.0}, ""),
        ({"min_age": 21.0}, "ELIG_AGE"),
        ({"countries": ["DE"]}, "ELIG_RESIDENCE"),
        ({"countries": []}, ""),
        ({"segments": ["private"]}, "ELIG_SEGMENT"),
    ],
)
def test_bank_pack_one_product_is_removed_by_the_rule(product: dict[str, object], expected: str) -> None:
    assert first_rule(customers(ADULT), products(product)) == [expected]


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        ({}, ""),
        ({"risk_level": None}, "SUIT_MISSING"),
        ({"risk_assessed_at": None}, "SUIT_MISSING"),
        ({"risk_assessed_at": NOW - timedelta(days=365)}, ""),
        ({"risk_assessed_at": NOW - timedelta(days=365, microseconds=1)}, "SUIT_EXPIRED"),
        ({"risk_assessed_at": NOW}, ""),
        ({"risk_assessed_at": NOW + timedelta(microseconds=1)}, "SUIT_EXPIRED"),
    ],
)
def test_bank_pack_assessment_decides_about_a_fund(customer: dict[str, object], expected: str) -> None:
    schema = {"risk_level": pl.String, "risk_assessed_at": pl.Datetime("us", "UTC"), "is_minor": pl.Boolean}
    facts = CustomerFacts.from_frame(pl.DataFrame([{**ADULT, **customer}], schema=schema))
    assert first_rule(facts, products({"category": "fund", "bank_risk": "R1"}, {"category": "savings"})) == [
        expected,
        "",
    ]


def test_bank_pack_age_minor_and_unknown_get_what_their_known_age_allows() -> None:
    catalogue = products({"min_age": 14.0}, {"min_age": 16.0}, {"min_age": 18.0})
    frame = pl.DataFrame({"is_minor": [True, True, None, False], "age": [None, 17.0, None, None]})
    allowed = BANK.evaluate(CustomerFacts.from_frame(frame), catalogue, NOW).allowed
    assert allowed.tolist() == [[True, False, False], [True, True, False], [True, False, False], [True, True, True]]


def test_bank_pack_channel_named_alias_and_unknown() -> None:
    catalogue = products({"channels": ["app", "web"]}, {"channels": ["branch"]}, {"channels": None})
    person = customers(ADULT)
    assert first_rule(person, catalogue, channel=None) == ["", "", ""]
    assert first_rule(person, catalogue, channel="app") == ["", "ELIG_CHANNEL", ""]
    assert first_rule(person, catalogue, channel="mobile_app") == ["", "ELIG_CHANNEL", ""]
    assert first_rule(person, catalogue, channel="fax") == ["ELIG_CHANNEL", "ELIG_CHANNEL", ""]


def with_relation(since: datetime, until: datetime | None, declined: bool = False) -> CustomerFacts:
    rows = {"customer_id": ["c"], "product_id": ["p0"], "since": [since], "until": [until]}
    schema = {
        "customer_id": pl.String,
        "product_id": pl.String,
        "since": pl.Datetime("us", "UTC"),
        "until": pl.Datetime("us", "UTC"),
    }
    related = relations(pl.DataFrame(rows, schema=schema), ["c"], products({}, {}))
    nothing = Relations.empty(1)
    pair = (nothing, related) if declined else (related, nothing)
    return customers(ADULT).with_relations(*pair)


def test_held_rule_open_closed_and_future_holdings() -> None:
    day, catalogue = timedelta(days=1), products({}, {})
    assert first_rule(with_relation(NOW - day, None), catalogue) == ["ELIG_HELD", ""]
    assert first_rule(with_relation(NOW - 2 * day, NOW - day), catalogue) == ["", ""]
    assert first_rule(with_relation(NOW - 2 * day, NOW + day), catalogue) == ["ELIG_HELD", ""]
    assert first_rule(with_relation(NOW + day, None), catalogue) == ["", ""]


def test_held_rule_repeatable_product_or_dataset_keeps_it() -> None:
    held = with_relation(NOW - timedelta(days=1), None)
    assert first_rule(held, products({"repeatable": True}, {"repeatable": False})) == ["", ""]
    for name in PolicyName:
        assert first_rule(held, products({}, {}), PolicyEngine(load_pack(name), repeatable=True)) == ["", ""]


def test_declined_rule_cool_off_ends_after_thirty_days() -> None:
    def rule(age: timedelta) -> list[str]:
        return first_rule(with_relation(NOW - age, None, declined=True), products({}, {}))

    assert rule(timedelta(0)) == ["ELIG_DECLINED", ""]
    assert rule(timedelta(days=30, microseconds=-1)) == ["ELIG_DECLINED", ""]
    assert rule(timedelta(days=30)) == ["", ""]


def test_none_pack_only_held_removes() -> None:
    engine = PolicyEngine(load_pack(PolicyName.NONE))
    catalogue = products({"status": "draft"}, {"bank_risk": "R5", "min_age": 99.0})
    assert first_rule(CustomerFacts.unknown(1), catalogue, engine) == ["", ""]
    assert first_rule(with_relation(NOW, None), catalogue, engine) == ["ELIG_HELD", ""]


def test_contents_inherit_their_product_and_have_rules_of_their_own() -> None:
    catalogue = products({"status": "paused"}, {"status": "live"})
    rows = [
        {"product_id": "p0"},
        {"product_id": "p1"},
        {"product_id": "p1", "status": "draft"},
        {"product_id": "p1", "approved_hash": "b"},
        {"product_id": "p1", "valid_to": NOW},
        {"product_id": "p1", "language": "zh"},
    ]
    default = {"status": "approved", "content_hash": "a", "approved_hash": "a", "valid_to": None, "language": "en-GB"}
    frame = [{"content_id": f"x{number}", **default, **row} for number, row in enumerate(rows)]
    contents = ContentFacts.from_frame(pl.DataFrame(frame, infer_schema_length=None), catalogue)
    outcome = BANK.evaluate_contents(customers(ADULT), contents, catalogue, NOW, RequestContext(locale="en"))
    found = ["" if rule < 0 else outcome.rule_ids[rule] for rule in outcome.rule[0]]
    approved, expired, locale = "CONTENT_NOT_APPROVED", "CONTENT_EXPIRED", "CONTENT_LOCALE"
    assert found == ["LIFE_PAUSED", "", approved, approved, expired, locale]
    assert outcome.removals(0) == {"LIFE_PAUSED": 1, approved: 2, expired: 1, locale: 1}


def test_content_locale_without_one_is_the_customers_own_language() -> None:
    catalogue = products({})
    frame = pl.DataFrame({"content_id": ["a", "b", "c"], "product_id": ["p0"] * 3, "language": ["en", "zh", None]})
    contents = ContentFacts.from_frame(frame, catalogue)
    people = customers({**ADULT, "language": "zh-CN"}, {**ADULT, "language": None})
    allowed = BANK.evaluate_contents(people, contents, catalogue, NOW).allowed
    assert allowed.tolist() == [[False, True, True], [True, True, True]]


def test_content_of_unknown_product_is_refused_by_name() -> None:
    frame = pl.DataFrame({"content_id": ["x"], "product_id": ["gone"]})
    with pytest.raises(ValueError, match="content x is about product gone"):
        ContentFacts.from_frame(frame, products({}))


def test_evaluate_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        BANK.evaluate(CustomerFacts.unknown(1), products({}), datetime(2026, 1, 1))


def test_rule_before_its_effective_date_does_not_apply() -> None:
    pack = load_pack(PolicyName.BANK)
    later = tuple(rule.model_copy(update={"effective_from": NOW.date() + timedelta(days=1)}) for rule in pack.rules)
    engine = PolicyEngine(pack.model_copy(update={"rules": later}))
    assert first_rule(customers(ADULT), products({"status": "paused"}), engine) == [""]


def test_suitability_of_each_state() -> None:
    people = customers(ADULT, {**ADULT, "risk_level": None}, {**ADULT, "risk_assessed_at": NOW - timedelta(days=400)})
    assert BANK.suitability(people, NOW) == ["valid", "missing", "expired"]


# --- laws -----------------------------------------------------------------------------------------------------------

LEVELS = st.sampled_from([None, *RISK_LEVELS])
RATINGS = st.sampled_from([None, *RISK_RATINGS])
ASSESSED = st.sampled_from([None, *(NOW + timedelta(days=days) for days in (-400, -366, -365, -1, 0, 1))])
CUSTOMER = st.fixed_dictionaries(
    {
        "risk_level": LEVELS,
        "risk_assessed_at": ASSESSED,
        "is_minor": st.sampled_from([None, True, False]),
        "age": st.sampled_from([None, 14.0, 17.0, 40.0]),
        "country": st.sampled_from([None, "DE", "FR"]),
        "segment": st.sampled_from([None, "mass", "private"]),
    }
)
PRODUCT = st.fixed_dictionaries(
    {
        "category": st.sampled_from([None, "fund", "savings", "loan"]),
        "issuer_risk": RATINGS,
        "bank_risk": RATINGS,
        "status": st.sampled_from(["live", "live", "paused", "sold_out", "draft", None]),
        "min_age": st.sampled_from([None, 14.0, 18.0]),
        "countries": st.sampled_from([None, [], ["DE"], ["DE", "FR"]]),
        "segments": st.sampled_from([None, ["mass"]]),
    }
)
CATALOGUE = st.lists(PRODUCT, min_size=1, max_size=12)
PEOPLE = st.lists(CUSTOMER, min_size=1, max_size=8)
CUSTOMER_SCHEMA = {
    "risk_level": pl.String,
    "risk_assessed_at": pl.Datetime("us", "UTC"),
    "is_minor": pl.Boolean,
    "age": pl.Float64,
    "country": pl.String,
    "segment": pl.String,
}


def people_facts(rows: Rows) -> CustomerFacts:
    return CustomerFacts.from_frame(pl.DataFrame(rows, schema=CUSTOMER_SCHEMA))


@settings(max_examples=150, deadline=None)
@given(PEOPLE, CATALOGUE)
def test_law_lowering_a_level_never_adds_a_product(rows: Rows, items: Rows) -> None:
    people, catalogue = people_facts(rows), products(*items)
    lower = replace(people, risk_level=np.maximum(people.risk_level - 1, 0).astype(np.int8))
    before, after = (BANK.evaluate(facts, catalogue, NOW).allowed for facts in (people, lower))
    assert not (after & ~before).any()


@settings(max_examples=150, deadline=None)
@given(PEOPLE, CATALOGUE, st.sampled_from(["issuer_risk", "bank_risk"]))
def test_law_raising_a_risk_never_adds_a_customer(rows: Rows, items: Rows, side: str) -> None:
    raised = [{**item, side: _raise(item[side])} for item in items]
    people = people_facts(rows)
    before, after = (BANK.evaluate(people, products(*catalogue), NOW).allowed for catalogue in (items, raised))
    rated = np.array([item["issuer_risk"] is not None or item["bank_risk"] is not None for item in items])
    assert not ((after & ~before) & rated).any()


def _raise(rating: object) -> object:
    return rating if rating is None else RISK_RATINGS[min(RISK_RATINGS.index(str(rating)) + 1, 4)]


@settings(max_examples=150, deadline=None)
@given(PEOPLE, CATALOGUE)
def test_law_unknown_customer_gets_nothing_that_another_would_not(rows: Rows, items: Rows) -> None:
    catalogue = products(*items)
    unknown = BANK.evaluate(CustomerFacts.unknown(1), catalogue, NOW).allowed
    assert not (unknown & ~BANK.evaluate(people_facts(rows), catalogue, NOW).allowed).any()


@settings(max_examples=150, deadline=None)
@given(PEOPLE, CATALOGUE)
def test_law_never_above_the_customers_level_nor_without_a_valid_one(rows: Rows, items: Rows) -> None:
    """A slow reference, straight from domain.md."""
    allowed = BANK.evaluate(people_facts(rows), products(*items), NOW).allowed
    for place, customer in enumerate(rows):
        assessed = customer["risk_assessed_at"]
        valid = (
            customer["risk_level"] is not None
            and isinstance(assessed, datetime)
            and NOW - timedelta(days=365) <= assessed <= NOW
        )
        level = RISK_LEVELS.index(str(customer["risk_level"])) + 1 if valid else 0
        for number, item in enumerate(items):
            ratings = [RISK_RATINGS.index(str(item[side])) + 1 for side in ("issuer_risk", "bank_risk") if item[side]]
            investment = bool(ratings) or item["category"] == "fund"
            if allowed[place, number] and investment:
                assert ratings
                assert max(ratings) <= level


@settings(max_examples=50, deadline=None)
@given(PEOPLE, CATALOGUE)
def test_law_a_customer_is_judged_alike_alone_and_among_others(rows: Rows, items: Rows) -> None:
    people, catalogue = people_facts(rows), products(*items)
    together = BANK.evaluate(people, catalogue, NOW).rule
    alone = [BANK.evaluate(people.slice(row, row + 1), catalogue, NOW).rule[0] for row in range(len(rows))]
    assert np.array_equal(together, np.array(alone))


def test_evaluate_more_customers_than_a_chunk_equals_one_by_one() -> None:
    rng = np.random.default_rng(0)
    count, catalogue = 5000, products(*({} for _ in range(7)))
    since = np.full(9000, np.datetime64("2026-05-20", "us"))
    until = np.full(9000, np.datetime64("NaT", "us"))
    owners, items = rng.integers(0, count, 9000), rng.integers(0, 7, 9000)
    held = Relations.build(count, owners, items, since, until)
    facts = CustomerFacts.unknown(count).with_relations(held, Relations.empty(count))
    expected = np.ones((count, 7), dtype=bool)
    expected[owners, items] = False
    assert np.array_equal(BANK.evaluate(facts, catalogue, NOW).allowed, expected)


@settings(max_examples=100, deadline=None)
@given(CUSTOMER)
def test_single_customer_equals_the_frame_of_one(row: dict[str, object]) -> None:
    frame, single = people_facts([row]), CustomerFacts.single(row)
    for name in ("risk_level", "risk_assessed_at", "age"):
        assert np.array_equal(getattr(frame, name), getattr(single, name), equal_nan=True)
        assert getattr(frame, name).dtype == getattr(single, name).dtype
    assert (frame.segment, frame.country, frame.language) == (single.segment, single.country, single.language)
