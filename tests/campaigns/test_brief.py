"""What a brief may say, and how it is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from recsys.campaigns.brief import Brief, BriefError
from recsys.campaigns.example import example_brief
from recsys.errors import ConfigError
from tests.campaigns.briefs import brief_values, make_brief

EMAIL = {"channel": "email", "cost_per_contact": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgett": 3}, "budgett: unknown key"),
        ({"budget": 0.4}, "does not pay one contact"),
        ({"budget": float("inf")}, "budget"),
        ({"channels": []}, "channels"),
        ({"channels": [{**EMAIL, "capacity": 0}]}, "a channel that can carry nothing"),
        ({"channels": [EMAIL, EMAIL]}, "email is there twice"),
        ({"channels": [{**EMAIL, "cost_per_contact": -1}]}, "cost_per_contact"),
        ({"products": []}, "name at least one"),
        ({"products": "p0001"}, "products: must be `engine`, or a list"),
        ({"products": ["p1"], "categories": ["card"]}, "categories: is for"),
        ({"products": ["p1"], "limits": {"per_product": {"p2": 3}}}, "p2 is not a product of this campaign"),
        ({"limits": {"per_product": {"p2": 0}}}, "capacity of less than 1 for p2"),
        ({"limits": {"cells": [{"segment": "mass", "channel": "sms"}]}}, "sms is not a channel of this campaign"),
        ({"limits": {"cells": [{"segment": "m", "channel": "email", "minimum": 3, "maximum": 2}]}}, "is below minimum"),
        ({"starts": "2026-07-02T00:00:00"}, "timezone"),
        ({"ends": "2026-07-02T00:00:00Z"}, "is not after starts"),
        ({"holdout": {"global_share": 0.01}}, "holdout.global_share"),
        ({"holdout": {"global_share": 0.06}}, "holdout.global_share"),
        ({"salt": "short"}, "salt"),
        ({"campaign_id": "../up"}, "campaign_id"),
        ({"objective": "spam"}, "objective"),
        ({"audience": {"field": "segment", "is": "mass"}}, "unknown operator is"),
    ],
)
def test_brief_with_one_mistake_names_it(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_brief(**change)
    assert "brief.yaml" in str(caught.value)


def test_mistake_is_told_without_the_rest_of_the_brief() -> None:
    for change in ({"budget": 0.001}, {"ends": "2026-07-02T00:00:00Z"}, {"products": []}, {"limits": [1]}):
        with pytest.raises(ConfigError) as caught:
            make_brief(**change)
        assert make_brief().salt not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"budgett": 3}, "did you mean `budget`"),
        ({"colour": 3}, "leave it out; there are campaign_id, name, objective"),
    ],
)
def test_unknown_key_is_told_with_what_it_may_have_been(change: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        make_brief(**change)


def test_brief_that_starts_before_the_data_end_is_refused() -> None:
    brief = make_brief()
    brief.require_future(brief.starts)
    with pytest.raises(BriefError, match="is in the past"):
        brief.require_future(datetime(2026, 7, 2, 0, 0, 1, tzinfo=UTC))


def test_example_brief_is_valid_and_starts_after_the_data() -> None:
    end = datetime(2027, 3, 5, 17, 30, tzinfo=UTC)
    brief = Brief.parse(yaml.safe_load(example_brief(end)), source="example")
    brief.require_future(end)
    assert brief.ends > brief.starts


def test_hash_of_the_same_brief_is_the_same_and_of_another_differs() -> None:
    reordered = Brief.parse(dict(reversed(brief_values().items())), source="brief.yaml")
    assert make_brief().hash() == reordered.hash()
    assert make_brief(budget=10.5).hash() != make_brief().hash()
