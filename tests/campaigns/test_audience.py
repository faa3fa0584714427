"""Audiences against a plain evaluation in Python, and what is refused."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.campaigns.audience import AudienceError, AudienceFields, compile_audience, fields_of, parse_audience
from recsys.policy.pack import CreditPolicy, load_pack
from recsys.schema import PolicyName

CUSTOMERS = pl.DataFrame(
    {
        "segment": ["mass", "private", None, "mass"],
        "liquid_amount": [10.0, None, 30.0, 40.0],
        "verified": [True, False, None, True],
        "region": ["Cork", "Norte", "Cork", None],
        "in_arrears": [False, True, False, False],
    }
)
FIELDS = AudienceFields.of_schema(dict(CUSTOMERS.schema))


def chosen(value: Any, credit: CreditPolicy | None = None) -> list[bool]:
    condition = compile_audience(parse_audience(value), FIELDS, credit)
    return CUSTOMERS.with_columns(condition.alias("in"))["in"].to_list()


def truth(value: Any, row: dict[str, Any]) -> bool | None:
    """Kleene's logic in plain words."""
    if value == "everyone":
        return True
    if "not" in value:
        inner = truth(value["not"], row)
        return None if inner is None else not inner
    if "all" in value or "any" in value:
        wanted = "any" in value
        parts = [truth(part, row) for part in value["any" if wanted else "all"]]
        return wanted if wanted in parts else None if None in parts else not wanted
    known, (operator, given_) = row[value["field"]], next(item for item in value.items() if item[0] != "field")
    if operator == "known":
        return (known is not None) == given_
    if known is None:
        return None
    return {
        "equals": lambda: known == given_,
        "not_equals": lambda: known != given_,
        "in": lambda: known in given_,
        "not_in": lambda: known not in given_,
        "at_least": lambda: known >= given_,
        "at_most": lambda: known <= given_,
        "above": lambda: known > given_,
        "below": lambda: known < given_,
    }[operator]()


WORDS = st.sampled_from(["mass", "private", "youth"])
AMOUNTS = st.sampled_from([0, 10, 20.5, 30, 50])
COMPARISONS = st.one_of(
    st.builds(lambda o, v: {"field": "segment", o: v}, st.sampled_from(["equals", "not_equals"]), WORDS),
    st.builds(lambda o, v: {"field": "segment", o: v}, st.sampled_from(["in", "not_in"]), st.lists(WORDS, min_size=1)),
    st.builds(
        lambda o, v: {"field": "liquid_amount", o: v},
        st.sampled_from(["at_least", "at_most", "above", "below"]),
        AMOUNTS,
    ),
    st.builds(lambda v: {"field": "verified", "equals": v}, st.booleans()),
    st.builds(lambda v: {"field": "liquid_amount", "known": v}, st.booleans()),
)
EXPRESSIONS = st.recursive(
    st.one_of(COMPARISONS, st.just("everyone")),
    lambda inner: st.one_of(
        st.builds(lambda v: {"not": v}, inner),
        st.builds(lambda k, v: {k: v}, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS)
def test_audience_any_expression_chooses_who_certainly_meets_it(value: Any) -> None:
    assert chosen(value) == [truth(value, row) is True for row in CUSTOMERS.iter_rows(named=True)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nobody", "must be `everyone`"),
        ({"all": []}, "at least one"),
        ({"all": ["everyone"], "any": ["everyone"]}, "stands alone"),
        ({"field": "segment"}, "exactly one"),
        ({"field": "segment", "equals": "a", "in": ["b"]}, "exactly one"),
        ({"equals": "a"}, "`field`"),
        ({"field": "height", "above": 3}, "`height` is no field; there are liquid_amount"),
        ({"field": "segment", "above": 3}, "neither"),
        ({"field": "liquid_amount", "above": "3"}, "is not a number"),
        ({"field": "liquid_amount", "above": float("nan")}, "is not a number"),
        ({"field": "liquid_amount", "in": 3}, "needs a list"),
        ({"field": "verified", "equals": "yes"}, "true or false"),
        ({"field": "in_arrears", "equals": False}, "vulnerability protects"),
        ({"field": "customer_id", "in": ["c1"]}, "not people"),
    ],
)
def test_audience_that_cannot_be_used_is_refused_in_words(value: Any, message: str) -> None:
    with pytest.raises(AudienceError, match=message):
        chosen(value)


def test_audience_too_deep_is_refused_and_not_a_crash() -> None:
    value: Any = "everyone"
    for _ in range(5000):
        value = {"not": value}
    with pytest.raises(AudienceError, match="deep"):
        parse_audience(value)


@pytest.mark.parametrize("field", ["region", "sex", "customerAge", "customer_profile__language", "zipcode"])
def test_audience_of_a_credit_campaign_refuses_protected_fields_and_proxies_wherever_they_stand(field: str) -> None:
    credit = load_pack(PolicyName.BANK).credit
    hidden = {"any": ["everyone", {"not": {"all": [{"field": field, "equals": "x"}]}}]}
    with pytest.raises(AudienceError, match=f"`{field}` is refused"):
        chosen(hidden, credit)


def test_audience_of_another_campaign_may_ask_for_a_region() -> None:
    assert chosen({"field": "region", "equals": "Cork"}) == [True, False, True, False]


def test_fields_of_names_each_field_once() -> None:
    part = {"field": "segment", "equals": "mass"}
    assert fields_of(parse_audience({"any": [part, {"not": part}, {"field": "region", "known": True}]})) == [
        "segment",
        "region",
    ]
