"""A pack: the rules of one jurisdiction, written in YAML and checked as a whole before any of it applies."""

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from recsys.config import BaseConfig
from recsys.policy.pack_file import parse_with_lines
from recsys.policy.rules import AnyRule, ContactCapRule, Rule
from recsys.policy.rules.base import CREDIT, INVESTMENT
from recsys.schema import PolicyName


class CreditPolicy(BaseConfig):
    """What credit is, and what no model of it may look at (domain.md, Credit and fairness)."""

    categories: tuple[str, ...] = ()
    """Categories whose products are credit whatever `is_credit` says."""
    protected_columns: tuple[str, ...] = ()
    """Columns that training of a credit model refuses."""
    proxy_columns: tuple[str, ...] = ()
    """Columns that stand for a protected one; refused as well."""


class ExplorationPolicy(BaseConfig):
    """Whether something is tried out on customers (recsys.decisions.exploration), and where never."""

    rate: float = Field(default=0.0, ge=0, lt=1)
    """The probability with which a place of a personal answer is filled by a draw among what is allowed."""
    off_for: tuple[str, ...] = (INVESTMENT, CREDIT)
    """Categories, or `investment`, `credit`, `all`."""


class PromotionPolicy(BaseConfig):
    """How a model comes to be served."""

    needs_second_approver: bool = False
    """Whether somebody other than the trainer must approve it."""


class PolicyPack(BaseConfig):
    """What may be shown to whom, rule by rule."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    """Goes into every decision: change it with every change of a rule."""
    description: str = ""
    held_by: Literal["conversions", "positives"]
    """Which events mean that a customer has the item: conversions only, or any event with a weight above 0."""
    channel_aliases: dict[str, str] = Field(default_factory=dict)
    """Other names that apps use for a channel of the catalogue; a channel that is still unknown is closed."""
    pushed_channels: tuple[str, ...] = ()
    """Where the bank reaches out of its own accord: marketing consent, quiet hours and caps hold for all of it."""
    investment_categories: tuple[str, ...] = ()
    """Categories whose products are investments even before they are rated; a rated product is always one."""
    credit: CreditPolicy = CreditPolicy()
    exploration: ExplorationPolicy = ExplorationPolicy()
    promotion: PromotionPolicy = PromotionPolicy()
    rules: tuple[AnyRule, ...]
    """In order: the first rule that removes an item is the one that a removal is reported under."""

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Reads a pack.

        Raises:
            ConfigError: it cannot be read, or is not valid; the error names file, line and field.
        """
        return parse_with_lines(cls, path)

    @property
    def credit_categories(self) -> tuple[str, ...]:
        """Categories whose products are credit whatever the catalogue says."""
        return self.credit.categories

    @property
    def contact_window_days(self) -> int:
        """How far back contacts are counted; 0 where there is no cap."""
        cap = self.rule("CONTACT_CAP")
        return cap.window_days if isinstance(cap, ContactCapRule) else 0

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of an id; None where the pack has none."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def channel(self, name: str | None) -> str | None:
        """The catalogue's own name of a channel."""
        return None if name is None else self.channel_aliases.get(name, name)

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        twice = [rule_id for rule_id, count in Counter(rule.id for rule in self.rules).items() if count > 1]
        if twice:
            raise ValueError(f"rules: {', '.join(twice)} is there twice: keep one of each id")
        return self

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        contact = [rule.id for rule in self.rules if rule.id.startswith("CONTACT_")]
        if contact and not self.pushed_channels:
            raise ValueError(f"pushed_channels: {', '.join(contact)} needs to know which channels are pushed")
        aliased = [name for name in self.pushed_channels if name in self.channel_aliases]
        if aliased:
            raise ValueError(f"pushed_channels: {', '.join(aliased)} is an alias: name the channel itself")
        return self


def load_pack(name: PolicyName) -> PolicyPack:
    """The packaged pack called `name`."""
    with resources.as_file(resources.files("recsys.policy") / "packs" / f"{name}.yaml") as path:
        return PolicyPack.from_yaml(path)
