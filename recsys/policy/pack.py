"""A pack: the rules of one jurisdiction, written in YAML and checked as a whole before any of it applies."""

from collections import Counter
from importlib import resources
from typing import Literal, Self

from pydantic import Field, model_validator

from recsys.config import BaseConfig
from recsys.policy.rules import AnyRule
from recsys.schema import PolicyName


class PolicyPack(BaseConfig):
    """What may be shown to whom, rule by rule."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    """Goes into every decision: change it with every change of a rule."""
    description: str = ""
    held_by: Literal["conversions", "positives"]
    """Which events mean that a customer has the item: conversions only, or any event with a weight above 0."""
    investment_categories: tuple[str, ...] = ()
    """Categories whose products are investments even before they are rated; a rated product is always one."""
    rules: tuple[AnyRule, ...]
    """In order: the first rule that removes an item is the one that a removal is reported under."""

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        twice = [rule_id for rule_id, count in Counter(rule.id for rule in self.rules).items() if count > 1]
        if twice:
            raise ValueError(f"rules: {', '.join(twice)} is there twice: keep one of each id")
        return self


def load_pack(name: PolicyName) -> PolicyPack:
    """The packaged pack called `name`."""
    with resources.as_file(resources.files("recsys.policy") / "packs" / f"{name}.yaml") as path:
        return PolicyPack.from_yaml(path)
