"""Each rule about customers and products against cases whose answer is known; the laws for all worlds are in
test_policy_properties.py.
"""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import (
    FLAGS,
    ContentFacts,
    CustomerFacts,
    ProductFacts,
    Relations,
)
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import PolicyName
from tests.policy.cases import ADULT, BANK, NOTHING, NOW, customers, first_rule, products, relation
from tests.policy.worlds import CUSTOMER_SCHEMA, draw_world


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


@pytest.mark.parametrize(
    ("customer", "product", "expected"),
    [
        ({"kyc_status": "pending"}, {"category": "savings"}, ""),
        ({"kyc_status": "pending"}, {"category": "insurance"}, "ELIG_KYC"),
        ({"kyc_status": "pending"}, {"category": "card", "is_credit": True}, "ELIG_KYC"),
        ({"kyc_status": "verified"}, {"category": "insurance"}, ""),
        ({"income_band": "up_to_15k"}, {"category": "mortgage"}, "ELIG_INCOME"),
        ({"income_band": "15k_30k"}, {"category": "mortgage"}, ""),
        ({"income_band": "15k_30k"}, {"category": "fx", "min_income_band": "30k_50k"}, "ELIG_INCOME"),
        ({"income_band": "over_80k"}, {"category": "fx", "min_income_band": "millions"}, "ELIG_INCOME"),
        ({"country": "US"}, {"bank_risk": "R1"}, "ELIG_JURISDICTION"),
        ({"country": "US"}, {"category": "savings"}, ""),
        ({"country": "KP"}, {"category": "savings"}, "ELIG_JURISDICTION"),
        ({"horizon_months": 11.0}, {"category": "term_deposit", "term_months": 12}, "SUIT_HORIZON"),
        ({"horizon_months": 12.0}, {"category": "term_deposit", "term_months": 12}, ""),
        ({"horizon_months": 1.0}, {"category": "mortgage", "term_months": 360}, ""),
        ({"liquid_amount": 99.0}, {"bank_risk": "R1", "min_amount": 100.0}, "SUIT_AMOUNT"),
        ({"liquid_amount": 100.0}, {"bank_risk": "R1", "min_amount": 100.0}, ""),
        ({"liquid_amount": 0.0}, {"category": "personal_loan", "min_amount": 1000.0}, ""),
        ({"knowledge_level": "basic"}, {"bank_risk": "R3"}, ""),
        ({"knowledge_level": "basic"}, {"category": "structured", "bank_risk": "R3"}, "SUIT_KNOWLEDGE"),
        ({"knowledge_level": "informed"}, {"category": "derivative", "bank_risk": "R3"}, "SUIT_KNOWLEDGE"),
        ({"knowledge_level": "advanced"}, {"category": "derivative", "bank_risk": "R3"}, ""),
        ({"knowledge_level": "basic"}, {"category": "fx", "min_knowledge_level": "informed"}, "SUIT_KNOWLEDGE"),
        ({"segment": "youth"}, {"category": "wealth", "bank_risk": "R1"}, "SUIT_NEGATIVE_TARGET"),
        ({"segment": "mass"}, {"category": "wealth", "bank_risk": "R1"}, ""),
        ({"segment": "mass"}, {"category": "fx", "negative_segments": ["mass"]}, "SUIT_NEGATIVE_TARGET"),
        ({"in_arrears": True}, {"category": "personal_loan"}, "CRED_ARREARS"),
        ({"in_arrears": True}, {"category": "card", "is_credit": True}, "CRED_ARREARS"),
        ({"in_arrears": True}, {"bank_risk": "R1"}, "VULN_ARREARS"),
        ({"in_arrears": True}, {"category": "savings"}, ""),
        ({"is_minor": True}, {"category": "insurance"}, "VULN_MINOR"),
        ({"bereaved": True}, {"category": "insurance"}, "VULN_BEREAVED"),
        ({"fraud_victim": True}, {"category": "fx"}, "VULN_FRAUD_VICTIM"),
        ({"open_complaint": True}, {"category": "personal_loan"}, "VULN_COMPLAINT"),
    ],
)
def test_bank_pack_one_fact_and_one_product(
    customer: dict[str, object], product: dict[str, object], expected: str
) -> None:
    assert first_rule(customers({**ADULT, **customer}), products(product)) == [expected]


@pytest.mark.parametrize(
    ("column", "dtype", "product", "expected"),
    [
        ("kyc_status", pl.String, {"category": "fx"}, "ELIG_KYC"),
        ("income_band", pl.String, {"category": "mortgage"}, "ELIG_INCOME"),
        ("country", pl.String, {"bank_risk": "R1"}, "ELIG_JURISDICTION"),
        ("horizon_months", pl.Float64, {"bank_risk": "R1", "term_months": 1}, "SUIT_HORIZON"),
        ("liquid_amount", pl.Float64, {"bank_risk": "R1", "min_amount": 1.0}, "SUIT_AMOUNT"),
        ("knowledge_level", pl.String, {"bank_risk": "R1"}, "SUIT_KNOWLEDGE"),
        ("segment", pl.String, {"category": "wealth", "bank_risk": "R1"}, "SUIT_NEGATIVE_TARGET"),
        ("in_arrears", pl.Boolean, {"category": "personal_loan"}, "CRED_ARREARS"),
        ("open_complaint", pl.Boolean, {"category": "personal_loan"}, "VULN_COMPLAINT"),
    ],
)
def test_fact_not_known_of_a_customer_is_strict_and_one_not_kept_says_nothing(
    column: str, dtype: pl.DataType, product: dict[str, object], expected: str
) -> None:
    kept = pl.DataFrame([ADULT]).with_columns(pl.lit(None, dtype).alias(column))
    assert first_rule(CustomerFacts.from_frame(kept), products(product)) == [expected]
    assert first_rule(customers(ADULT), products(product)) == [""]


def loans(*terms: tuple[float | None, float | None]) -> ProductFacts:
    return products(*({"category": "personal_loan", "rate": rate, "fee": fee} for rate, fee in terms))


def test_steering_rule_only_the_cheapest_eligible_variant_of_a_type_stays() -> None:
    steered = "CRED_STEERING"
    assert first_rule(customers(ADULT), loans((5.0, 0.0), (5.5, 0.0), (5.0, 10.0))) == ["", steered, steered]
    assert first_rule(customers(ADULT), loans((5.0, 0.0), (5.0, 0.0))) == ["", ""]
    assert first_rule(customers(ADULT), loans((None, None), (9.0, None))) == [steered, ""]
    catalogue = products(
        {"category": "personal_loan", "rate": 5.0, "term_months": 12},
        {"category": "personal_loan", "rate": 6.0, "term_months": 24},
        {"category": "savings", "rate": 1.0, "term_months": 12},
        {"category": "mortgage", "rate": 9.0, "term_months": 12},
    )
    assert first_rule(customers(ADULT), catalogue) == ["", "", "", ""]


def test_steering_rule_follows_eligibility_but_neither_refusals_nor_applications() -> None:
    catalogue = products(
        {"category": "personal_loan", "rate": 5.0, "status": "paused"},
        {"category": "personal_loan", "rate": 6.0, "status": "live"},
        {},
        {},
    )
    assert first_rule(customers(ADULT), catalogue)[:2] == ["LIFE_PAUSED", ""]
    day = timedelta(days=1)
    cheap = relation("p0", NOW - day)
    variants = products({"category": "personal_loan", "rate": 5.0}, {"category": "personal_loan", "rate": 6.0}, {}, {})
    for relations_, expected in (
        ((cheap, NOTHING, NOTHING), ["ELIG_HELD", ""]),
        ((NOTHING, cheap, NOTHING), ["ELIG_DECLINED", "CRED_STEERING"]),
        ((NOTHING, NOTHING, cheap), ["ELIG_PENDING", "CRED_STEERING"]),
    ):
        assert first_rule(customers(ADULT).with_relations(*relations_), variants)[:2] == expected


def test_steering_rule_tolerance_is_the_packs() -> None:
    pack = load_pack(PolicyName.BANK)
    rules = tuple(
        rule.model_copy(update={"rate_tolerance": 0.5}) if rule.id == "CRED_STEERING" else rule for rule in pack.rules
    )
    engine = PolicyEngine(pack.model_copy(update={"rules": rules}))
    catalogue = loans((5.0, 10.0), (5.5, 0.0), (5.6, 0.0))
    assert first_rule(customers(ADULT), catalogue, engine) == ["CRED_STEERING", "", "CRED_STEERING"]


def test_capacity_rule_taken_units_count() -> None:
    catalogue = products({"capacity": 2}, {"capacity": 0}, {"capacity": None})
    outcomes = [
        BANK.evaluate(customers(ADULT), catalogue, NOW, RequestContext(taken={"p0": taken, "gone": 9}))
        .allowed[0]
        .tolist()
        for taken in (0, 1, 2, 3)
    ]
    assert outcomes == [[True, False, True]] * 2 + [[False, False, True]] * 2


def test_stale_facts_leave_what_a_stranger_may_see() -> None:
    catalogue = products({"category": "savings"}, {"category": "personal_loan"}, {"bank_risk": "R1"})
    row = {**ADULT, "in_arrears": False}
    fresh, old = (CustomerFacts.single(row, as_of=NOW - timedelta(hours=hours)) for hours in (168, 169))
    assert first_rule(fresh, catalogue) == ["", "", ""]
    assert first_rule(old, catalogue) == ["", "DATA_STALE", "DATA_STALE"]
    assert [bool(BANK.stale(facts, NOW)[0]) for facts in (fresh, old)] == [False, True]


def test_explain_names_all_rules_of_an_item_not_only_the_first() -> None:
    catalogue = products({"status": "paused", "bank_risk": "R5"}, {"status": "live"})
    contents = ContentFacts.from_frame(
        pl.DataFrame({"content_id": ["x"], "product_id": ["p0"], "status": ["draft"]}), catalogue
    )
    found = BANK.explain(customers(ADULT), catalogue, None, NOW)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "LIFE_PAUSED": [True, False],
        "SUIT_RISK": [True, False],
    }
    found = BANK.explain(customers(ADULT), catalogue, contents, NOW)
    assert list(found) == ["LIFE_PAUSED", "SUIT_RISK", "CONTENT_NOT_APPROVED"]


def test_explorable_is_neither_credit_nor_investment() -> None:
    catalogue = products({"category": "savings"}, {"bank_risk": "R1"}, {"category": "mortgage"}, {"is_credit": True})
    assert BANK.explorable(catalogue).tolist() == [True, False, False, False]
    assert PolicyEngine(load_pack(PolicyName.NONE)).explorable(catalogue).all()


def test_evaluate_more_customers_than_a_chunk_equals_one_by_one() -> None:
    rng = np.random.default_rng(0)
    count, catalogue = 5000, products(*({} for _ in range(7)))
    since = np.full(9000, np.datetime64("2026-05-20", "us"))
    until = np.full(9000, np.datetime64("NaT", "us"))
    owners, items = rng.integers(0, count, 9000), rng.integers(0, 7, 9000)
    held = Relations.build(count, owners, items, since, until)
    frame = pl.DataFrame({"is_minor": [False] * count})
    facts = CustomerFacts.from_frame(frame).with_relations(held, Relations.empty(count))
    expected = np.ones((count, 7), dtype=bool)
    expected[owners, items] = False
    assert np.array_equal(BANK.evaluate(facts, catalogue, NOW).allowed, expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_single_customer_equals_the_frame_of_one(seed: int) -> None:
    world = draw_world(np.random.default_rng(seed), 1, 1, NOW)
    row = world.customers[0]
    frame = CustomerFacts.from_frame(pl.DataFrame([{n: row[n] for n in CUSTOMER_SCHEMA}], schema=CUSTOMER_SCHEMA))
    single = CustomerFacts.single({name: row[name] for name in CUSTOMER_SCHEMA}, as_of=row["as_of"])
    for name in ("risk_level", "risk_assessed_at", "age", "liquid_amount", "horizon_months"):
        assert np.array_equal(getattr(frame, name), getattr(single, name), equal_nan=True)
        assert getattr(frame, name).dtype == getattr(single, name).dtype
    for name in ("segment", "country", "language", "time_zone", "income_band", "kyc_status", "knowledge_level", "kept"):
        assert getattr(frame, name) == getattr(single, name)
    for flag in FLAGS:
        assert np.array_equal(frame.flags[flag], single.flags[flag])
