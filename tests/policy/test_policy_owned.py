"""What a customer has, refused or applied for, against cases whose answer is known."""

from datetime import datetime, timedelta

from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts
from recsys.policy.pack import load_pack
from recsys.schema import PolicyName
from tests.policy.cases import ADULT, NOTHING, NOW, customers, first_rule, products, relation


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
