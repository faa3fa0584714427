"""The rules: each a small typed component that says which customers may not be shown which items.

A rule is a config (id, source, effective date, its own settings) with one method, `removes`, that returns a boolean
array broadcastable to [B, N] (products) or [B, C] (contents): true where the rule removes the item. domain.md lists
the ids; which rules apply, and with which settings, is the pack's business.
"""

from abc import abstractmethod
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from recsys.config import BaseConfig
from recsys.policy.facts import (
    DRAFT,
    NO_RATING,
    PAUSED,
    SOLD_OUT,
    BoolArray,
    ContentFacts,
    CustomerFacts,
    ProductFacts,
    Restriction,
    TimeArray,
    primary,
)
from recsys.schema import Kind


def _refuse_numbers(value: Any) -> Any:
    """Pydantic would read a number as seconds since 1970."""
    if isinstance(value, int | float):
        raise ValueError("must be a date such as 2026-01-31, is a number")
    return value


RuleDate = Annotated[date, BeforeValidator(_refuse_numbers)]


@dataclass(frozen=True)
class RequestContext:
    """What the request itself says, the same for all its customers."""

    channel: str | None = None
    """Where the answer will be shown; None: not said, so no channel is ruled out."""
    locale: str | None = None
    """A BCP 47 tag such as `en-GB`; None: each customer's own language."""


@dataclass(frozen=True)
class RuleContext:
    """All that a rule may look at."""

    customers: CustomerFacts
    products: ProductFacts
    contents: ContentFacts | None
    """None while products are judged."""
    investment: BoolArray
    """[N]: which products are investments (rated, or of a category that the pack names)."""
    repeatable: bool
    """Whether the dataset lets what a customer already has be recommended again."""
    request: RequestContext
    now: np.datetime64


class Rule(BaseConfig):
    """The base of all rules."""

    applies_to: ClassVar[Kind] = Kind.PRODUCTS
    """Which kind of item is judged; contents also inherit what befalls their product."""

    id: str
    source: str = Field(min_length=1)
    """Where the rule comes from: the law, the guideline or the bank's own decision."""
    effective_from: RuleDate
    """The first day (UTC) on which it applies."""

    @abstractmethod
    def removes(self, context: RuleContext) -> BoolArray:
        """True where the item may not be shown; broadcastable to [B, N]."""


class NotLiveRule(Rule):
    """A product is shown only while it is live and on sale, to the second."""

    id: Literal["LIFE_NOT_LIVE"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[1, N]."""
        products = context.products
        return ((products.status == DRAFT) | outside(products.available_from, products.available_to, context.now))[None]


class PausedRule(Rule):
    """A paused product is not shown."""

    id: Literal["LIFE_PAUSED"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[1, N]."""
        return (context.products.status == PAUSED)[None]


class SoldOutRule(Rule):
    """A sold-out product is not shown."""

    id: Literal["LIFE_SOLD_OUT"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[1, N]."""
        return (context.products.status == SOLD_OUT)[None]


class HeldRule(Rule):
    """What a customer already has is not offered again, unless the product or the dataset is repeatable."""

    id: Literal["ELIG_HELD"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        if context.repeatable:
            return np.zeros((1, 1), dtype=bool)
        held, products = context.customers.held, context.products
        ended = ~np.isnat(held.until) & (held.until <= context.now)
        open_now = (held.since <= context.now) & ~ended & ~products.repeatable[held.products]
        return held.mask(open_now, len(products))


class DeclinedRule(Rule):
    """What a customer lately turned down is not offered again before a cool-off has passed."""

    id: Literal["ELIG_DECLINED"]
    cool_off_days: int = Field(ge=1, le=3650)

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        declined = context.customers.declined
        start = context.now - np.timedelta64(self.cool_off_days, "D")
        recent = (declined.since > start) & (declined.since <= context.now)
        return declined.mask(recent, len(context.products))


class AgeRule(Rule):
    """A product with a minimum age is for customers who are known to have reached it."""

    id: Literal["ELIG_AGE"]
    assumed_age: int = Field(default=0, ge=0, le=130)
    """The age of a customer whose age is not known; 0 is the strictest."""

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        age = np.nan_to_num(context.customers.age, nan=self.assumed_age)
        return age[:, None] < context.products.min_age[None]


class ResidenceRule(Rule):
    """A product that names countries is for customers who are known to live in one of them."""

    id: Literal["ELIG_RESIDENCE"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        return closed(context.products.countries, context.customers.country)


class SegmentRule(Rule):
    """A product that names segments is for customers of one of them."""

    id: Literal["ELIG_SEGMENT"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        return closed(context.products.segments, context.customers.segment)


class ChannelRule(Rule):
    """A product that names channels is offered through these only."""

    id: Literal["ELIG_CHANNEL"]
    aliases: dict[str, str] = Field(default_factory=dict)
    """Other names that apps use for a channel of the catalogue; a channel that is still unknown is closed."""

    def removes(self, context: RuleContext) -> BoolArray:
        """[1, N]."""
        channel = context.request.channel
        if channel is None:
            return closed(None, ())
        return closed(context.products.channels, (self.aliases.get(channel, channel),))


class UnassessedRule(Rule):
    """A customer without a risk level, or with one of no date, is offered no investment product."""

    id: Literal["SUIT_MISSING"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        customers = context.customers
        missing = (customers.risk_level == NO_RATING) | np.isnat(customers.risk_assessed_at)
        return missing[:, None] & context.investment[None]


class ExpiredAssessmentRule(Rule):
    """A risk level that is too old, or dated in the future, is none."""

    id: Literal["SUIT_EXPIRED"]
    max_age_days: int = Field(ge=1, le=3650)

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        return self.expired(context.customers.risk_assessed_at, context.now)[:, None] & context.investment[None]

    def expired(self, assessed_at: TimeArray, now: np.datetime64) -> BoolArray:
        """[B]: whose assessment is dated, and cannot be used. NaT compares as false: SUIT_MISSING's business."""
        return (assessed_at < now - np.timedelta64(self.max_age_days, "D")) | (assessed_at > now)


class UnratedRule(Rule):
    """An investment product without a rating is offered to nobody."""

    id: Literal["SUIT_UNRATED"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[1, N]."""
        return (context.investment & (context.products.risk == NO_RATING))[None]


class RiskRule(Rule):
    """A customer is offered products of risk up to his own level, never above."""

    id: Literal["SUIT_RISK"]

    def removes(self, context: RuleContext) -> BoolArray:
        """[B, N]."""
        return context.products.risk[None] > context.customers.risk_level[:, None]


class ContentRule(Rule):
    """The base of the rules that judge contents."""

    applies_to: ClassVar[Kind] = Kind.CONTENTS

    def removes(self, context: RuleContext) -> BoolArray:
        """Judges `context.contents`."""
        if context.contents is None:
            raise ValueError(f"{self.id} judges contents, and there are none")
        return self.removes_contents(context.contents, context)

    @abstractmethod
    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray:
        """True where the content may not be shown; broadcastable to [B, C]."""


class NotApprovedRule(ContentRule):
    """A content is shown only in an approved state, and only if the approval is of exactly this content."""

    id: Literal["CONTENT_NOT_APPROVED"]
    shown_states: tuple[str, ...] = ("approved", "scheduled", "sending")

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray:
        """[1, C]."""
        if contents.status is None:
            return ~contents.hash_matches[None]
        shown = np.zeros(len(contents), dtype=bool)
        for state in self.shown_states:
            shown |= contents.status == state
        return ~(shown & contents.hash_matches)[None]


class ContentExpiredRule(ContentRule):
    """A content is shown only within its validity, to the second."""

    id: Literal["CONTENT_EXPIRED"]

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray:
        """[1, C]."""
        return outside(contents.valid_from, contents.valid_to, context.now)[None]


class ContentLocaleRule(ContentRule):
    """A content is shown in the language that was asked for, else in the customer's own."""

    id: Literal["CONTENT_LOCALE"]

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray:
        """[B, C], or [1, C] where the request names a locale."""
        asked = context.request.locale
        wanted = np.array([primary(value) for value in ((asked,) if asked else context.customers.language)])
        language = contents.language
        return (wanted[:, None] != language[None]) & (wanted[:, None] != "") & (language[None] != "")


AnyRule = Annotated[
    NotLiveRule
    | PausedRule
    | SoldOutRule
    | HeldRule
    | DeclinedRule
    | AgeRule
    | ResidenceRule
    | SegmentRule
    | ChannelRule
    | UnassessedRule
    | ExpiredAssessmentRule
    | UnratedRule
    | RiskRule
    | NotApprovedRule
    | ContentExpiredRule
    | ContentLocaleRule,
    Field(discriminator="id"),
]
"""Any rule, told apart by its id; a new rule is a new class and a new name here."""


def outside(start: TimeArray, end: TimeArray, now: np.datetime64) -> BoolArray:
    """True where `now` is before `start`, or at or after `end`; NaT is no bound (it compares as false)."""
    return (start > now) | (end <= now)


def closed(restriction: Restriction | None, values: tuple[str | None, ...]) -> BoolArray:
    """[B, N] where products are restricted, else nothing removed."""
    return np.zeros((1, 1), dtype=bool) if restriction is None else restriction.closed_to(values)
