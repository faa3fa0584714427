"""Consent, contact caps and the rules about creatives, against cases whose answer is known."""

from datetime import timedelta

import polars as pl
import pytest

from recsys.policy.facts import (
    ConsentAnswer,
    Consents,
    Contact,
    Contacts,
    ContentFacts,
    CustomerFacts,
)
from recsys.policy.rules import RequestContext
from tests.policy.cases import ADULT, BANK, NOTHING, NOW, customers, first_rule, products, relation


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
