"""Each rule against cases whose answer is known; the laws for all worlds are in test_policy_properties.py."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import (
    FLAGS,
    ConsentAnswer,
    Consents,
    Contact,
    Contacts,
    ContentFacts,
    CustomerFacts,
    ProductFacts,
    Relations,
    relations,
)
from recsys.policy.pack import load_pack
from recsys.policy.rules import RequestContext
from recsys.schema import PolicyName
from tests.policy.worlds import CUSTOMER_SCHEMA, draw_world

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
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


NOTHING = Relations.empty(1)


def relation(product_id: str, since: datetime, until: datetime | None = None) -> Relations:
    rows = {"customer_id": ["c"], "product_id": [product_id], "since": [since], "until": [until]}
    schema = {
        "customer_id": pl.String,
        "product_id": pl.String,
        "since": pl.Datetime("us", "UTC"),
        "until": pl.Datetime("us", "UTC"),
    }
    return relations(pl.DataFrame(rows, schema=schema), ["c"], products({}, {}, {}, {}))


def with_relation(since: datetime, until: datetime | None, declined: bool = False) -> CustomerFacts:
    related = relation("p0", since, until)
    pair = (NOTHING, related) if declined else (related, NOTHING)
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


def test_held_rule_repeatable_dataset_keeps_pending_too() -> None:
    day = timedelta(days=1)
    pending = customers(ADULT).with_relations(NOTHING, NOTHING, relation("p0", NOW - day))
    assert first_rule(pending, products({}, {})) == ["ELIG_PENDING", ""]
    assert first_rule(pending, products({"repeatable": True}, {})) == ["", ""]
    assert first_rule(pending, products({}, {}), PolicyEngine(load_pack(PolicyName.BANK), repeatable=True)) == ["", ""]


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


def test_pending_rule_an_application_counts_for_45_days() -> None:
    for age, expected in ((timedelta(days=45, microseconds=-1), ["ELIG_PENDING", ""]), (timedelta(days=45), ["", ""])):
        person = customers(ADULT).with_relations(NOTHING, NOTHING, relation("p0", NOW - age))
        assert first_rule(person, products({}, {})) == expected


def test_prerequisite_rule_one_of_those_named_must_be_held_and_be_in_the_catalogue() -> None:
    catalogue = products({}, {"prerequisites": ["p0", "p3"]}, {"prerequisites": ["gone"]}, {"prerequisites": []})
    needs = "ELIG_PREREQUISITE"
    assert first_rule(customers(ADULT), catalogue) == ["", needs, needs, ""]
    assert first_rule(with_relation(NOW - timedelta(days=1), None), catalogue) == ["ELIG_HELD", "", needs, ""]
    ended = with_relation(NOW - timedelta(days=2), NOW - timedelta(days=1))
    assert first_rule(ended, catalogue) == ["", needs, needs, ""]


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


def consenting(**channels: bool) -> CustomerFacts:
    answers = [
        ConsentAnswer("marketing", None if name == "general" else name, granted, NOW - timedelta(days=1))
        for name, granted in channels.items()
    ]
    facts = customers({**ADULT, "time_zone": "Europe/Dublin", "segment": "mass"})
    return facts.with_consents(Consents.single(answers))


@pytest.mark.parametrize(
    ("channels", "channel", "product", "content"),
    [
        ({}, "app", "", "CONSENT_MARKETING"),
        ({}, "email", "CONSENT_MARKETING", "CONSENT_MARKETING"),
        ({}, None, "", "CONSENT_MARKETING"),
        ({"general": True}, "app", "", ""),
        ({"general": True}, "email", "", ""),
        ({"general": True}, "newsletter", "", ""),  # an alias of email
        ({"general": True, "email": False}, "email", "CONSENT_CHANNEL", "CONSENT_CHANNEL"),
        ({"general": True, "email": False}, "newsletter", "CONSENT_CHANNEL", "CONSENT_CHANNEL"),
        ({"general": True, "email": False}, "app", "", ""),
        ({"general": True, "email": False}, "sms", "", ""),
        ({"general": False, "email": True}, "email", "CONSENT_MARKETING", "CONSENT_MARKETING"),  # at the same time
        ({"email": True}, "email", "", ""),
        ({"email": True}, "app", "", "CONSENT_MARKETING"),
    ],
)
def test_marketing_consent_of_products_and_contents_by_channel(
    channels: dict[str, bool], channel: str | None, product: str, content: str
) -> None:
    catalogue = products({})
    contents = ContentFacts.from_frame(pl.DataFrame({"content_id": ["x"], "product_id": ["p0"]}), catalogue)
    person, asked = consenting(**channels), RequestContext(channel)
    assert first_rule(person, catalogue, channel=channel) == [product]
    outcome = BANK.evaluate_contents(person, contents, catalogue, NOW, asked)
    assert [*outcome.rule_ids, ""][outcome.rule[0, 0]] == content


def test_profiling_default_is_no_and_the_engine_says_who_refused() -> None:
    yes = Consents.single([ConsentAnswer("profiling", None, True, NOW)])
    later = Consents.single([ConsentAnswer("profiling", None, True, NOW + timedelta(microseconds=1))])
    people = [customers(ADULT).with_consents(consents) for consents in (None, Consents.none(1), yes, later)]
    assert [bool(BANK.profiling_refused(person, NOW)[0]) for person in people] == [False, True, False, True]
    assert [bool(BANK.evaluate(person, products({}), NOW).profiling_refused[0]) for person in people] == [
        False, True, False, True,
    ]  # fmt: skip


def contacted(*contacts: Contact) -> CustomerFacts:
    return consenting(general=True).with_contacts(Contacts.single(contacts))


def test_contact_caps_total_channel_and_category() -> None:
    catalogue = products({"category": "fx"}, {"category": "savings"}, {"category": None})
    day, cap = NOW - timedelta(days=1), "CONTACT_CAP"
    about = Contact("push", "fx", day)
    assert first_rule(contacted(), catalogue, channel="email") == ["", "", ""]
    assert first_rule(contacted(about), catalogue, channel="email") == [cap, "", ""]
    assert first_rule(contacted(about), catalogue, channel="app") == ["", "", ""]
    assert first_rule(contacted(Contact("sms", None, day)), catalogue, channel="sms") == [cap] * 3
    assert first_rule(contacted(*[Contact("push", None, day)] * 3), catalogue, channel="email") == [cap] * 3
    edge = NOW - timedelta(days=7)
    assert first_rule(contacted(Contact("sms", None, edge)), catalogue, channel="sms") == ["", "", ""]


def test_contact_cool_off_after_a_refusal_covers_the_category() -> None:
    catalogue = products({"category": "fx"}, {"category": "fx"}, {"category": "savings"}, {})
    person = consenting(general=True).with_relations(NOTHING, relation("p0", NOW - timedelta(days=29)))
    assert first_rule(person, catalogue, channel="email") == ["ELIG_DECLINED", "CONTACT_COOLOFF", "", ""]
    assert first_rule(person, catalogue, channel="app") == ["ELIG_DECLINED", "", "", ""]


def test_stale_facts_leave_what_a_stranger_may_see() -> None:
    catalogue = products({"category": "savings"}, {"category": "personal_loan"}, {"bank_risk": "R1"})
    row = {**ADULT, "in_arrears": False}
    fresh, old = (CustomerFacts.single(row, as_of=NOW - timedelta(hours=hours)) for hours in (168, 169))
    assert first_rule(fresh, catalogue) == ["", "", ""]
    assert first_rule(old, catalogue) == ["", "DATA_STALE", "DATA_STALE"]
    assert [bool(BANK.stale(facts, NOW)[0]) for facts in (fresh, old)] == [False, True]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("From 4.9 % a year", True),
        ("From 4,90% a year", True),
        ("From 4.80 % a year", False),
        ("年利率4.90%", True),
        ("100 % online", True),
        ("EUR 1,000 is enough", True),
        ("from \u20ac1.000 on", True),
        ("EUR 10,000 is enough", False),
        ("open 24/7, in 3 steps", True),
    ],
)
def test_price_mismatch_every_number_is_the_catalogues(body: str, shown: bool) -> None:
    catalogue = products({"rate": 4.9, "min_amount": 1000.0})
    frame = pl.DataFrame({"content_id": ["x"], "product_id": ["p0"], "body": [body]})
    contents = ContentFacts.from_frame(frame, catalogue)
    assert BANK.evaluate_contents(customers(ADULT), contents, catalogue, NOW).allowed.tolist() == [[shown]]


def test_content_of_another_channel_is_not_shown() -> None:
    catalogue = products({})
    frame = pl.DataFrame({"content_id": ["a", "b"], "product_id": ["p0"] * 2, "channel": ["app", None]})
    contents = ContentFacts.from_frame(frame, catalogue)
    for channel, expected in ((None, [True, True]), ("mobile", [True, True]), ("web", [False, True])):
        outcome = BANK.evaluate_contents(customers(ADULT), contents, catalogue, NOW, RequestContext(channel))
        assert outcome.allowed[0].tolist() == expected


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
