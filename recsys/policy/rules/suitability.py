"""SUIT_*: whether an investment (or money tied up) suits a customer.

None of these counts for eligibility (`decides_eligibility`): a lower risk level must never add a product.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from recsys.policy.facts import NO_RATING, BoolArray, CustomerFacts, FloatArray, IntArray, TimeArray
from recsys.policy.rules.base import INVESTMENT, Groups, ProductGroups, Rule, RuleContext, days
from recsys.policy.rules.eligibility import below, needed_ranks
from recsys.schema import RISK_RATINGS


class SuitabilityRule(Rule):
    """The base of the rules about suitability."""

    decides_eligibility: ClassVar[bool] = False


class UnassessedRule(SuitabilityRule):
    """A customer without a risk level, or with one of no date, is offered no investment product."""

    id: Literal["SUIT_MISSING"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """Whether he has no usable level."""
        return bool(self.missing(context.customers)[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return self.missing(context.customers)[:, None] & context.groups.investment[None]

    @staticmethod
    def missing(customers: CustomerFacts) -> BoolArray:
        """[B]: who has no level, or one of no date."""
        return (customers.risk_level == NO_RATING) | np.isnat(customers.risk_assessed_at)


class ExpiredAssessmentRule(SuitabilityRule):
    """A risk level that is too old, or dated in the future, is none."""

    id: Literal["SUIT_EXPIRED"]
    max_age_days: int = Field(ge=1, le=3650)

    def depends_on(self, context: RuleContext) -> Hashable:
        """Whether his level is too old."""
        return bool(self.expired(context.customers.risk_assessed_at, context.now)[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        expired = self.expired(context.customers.risk_assessed_at, context.now)
        return expired[:, None] & context.groups.investment[None]

    def expired(self, assessed_at: TimeArray, now: np.datetime64) -> BoolArray:
        """[B]: whose assessment is dated, and cannot be used. NaT compares as false: SUIT_MISSING's business."""
        return (assessed_at < now - days(self.max_age_days)) | (assessed_at > now)


class UnratedRule(SuitabilityRule):
    """An investment product without a rating is offered to nobody."""

    id: Literal["SUIT_UNRATED"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """Nothing."""
        return ()

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]."""
        return (context.groups.investment & (context.products.risk == NO_RATING))[None]


class RiskRule(SuitabilityRule):
    """A customer is offered products of risk up to his own level, never above."""

    id: Literal["SUIT_RISK"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """His level."""
        return int(context.customers.risk_level[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return context.products.risk[None] > context.customers.risk_level[:, None]


class HorizonRule(SuitabilityRule):
    """Money is not tied up for longer than the customer can spare it."""

    id: Literal["SUIT_HORIZON"]
    categories: Groups = (INVESTMENT,)
    """Whose term is about the customer's own money; a loan's is not."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "horizon_months" not in context.customers.kept:
            return None
        products, groups = context.products, context.groups
        term = groups.once(self.id, lambda: _only(products.term_months, groups.members(self.categories)))
        return _exceeds(term, context.customers.horizon_months)


class AmountRule(SuitabilityRule):
    """Nobody is offered what takes more than the money he has at hand."""

    id: Literal["SUIT_AMOUNT"]
    categories: Groups = (INVESTMENT,)
    """Whose minimum is the customer's own money; a loan's is not."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "liquid_amount" not in context.customers.kept:
            return None
        products, groups = context.products, context.groups
        least = groups.once(self.id, lambda: _only(products.min_amount, groups.members(self.categories)))
        return _exceeds(least, context.customers.liquid_amount)


class KnowledgeRule(SuitabilityRule):
    """A complex product is for customers who are known to understand it."""

    id: Literal["SUIT_KNOWLEDGE"]
    levels: tuple[str, ...] = Field(min_length=1)
    """The bank's knowledge levels, lowest first."""
    minimum: dict[str, str] = Field(default_factory=dict)
    """Category (or `investment`, `all`) to the lowest level that it is for."""
    minimum_by_risk: dict[Literal["R1", "R2", "R3", "R4", "R5"], str] = Field(default_factory=dict)
    """Rating to the lowest level that a product of it is for."""
    column: str | None = None
    """A column of the catalogue that names a product's lowest level, where the catalogue has it."""

    def depends_on(self, context: RuleContext) -> Hashable:
        """His knowledge."""
        return ("knowledge_level" in context.customers.kept, context.customers.knowledge_level[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "knowledge_level" not in context.customers.kept:
            return None
        needed = context.groups.once(self.id, lambda: self._needed(context.groups))
        return below(context.customers.knowledge_level, self.levels, needed)

    def _needed(self, groups: ProductGroups) -> IntArray:
        needed = needed_ranks(groups, self.levels, self.minimum, self.column)
        rank = {name: place for place, name in enumerate(self.levels)}
        for rating, name in self.minimum_by_risk.items():
            rated = groups.products.risk == RISK_RATINGS.index(rating) + 1
            needed[rated] = np.maximum(needed[rated], rank.get(name, len(self.levels)))
        return needed


class NegativeTargetRule(SuitabilityRule):
    """A product is not offered to those it is expressly not made for."""

    id: Literal["SUIT_NEGATIVE_TARGET"]
    segments: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Category (or `investment`, `credit`, `all`) to the segments that it is not for."""
    column: str | None = None
    """A column of the catalogue that lists the segments a product is not for, where the catalogue has it."""

    def depends_on(self, context: RuleContext) -> Hashable:
        """The segment."""
        return ("segment" in context.customers.kept, context.customers.segment[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "segment" not in context.customers.kept:
            return None
        codes, table = context.groups.once(self.id, lambda: self._table(context.groups))
        other = len(codes)
        removed: BoolArray = table[
            [other + 1 if name is None else codes.get(name, other) for name in context.customers.segment]
        ]
        return removed

    def _table(self, groups: ProductGroups) -> tuple[dict[str, int], BoolArray]:
        """Segments to rows, and [V + 2, N]: closed to each, to others (never), to an unknown segment."""
        pairs = [(group, name) for group, names in self.segments.items() for name in names]
        listed: Sequence[Sequence[str] | None] = groups.products.columns.get(self.column or "", [])
        names = dict.fromkeys([*(name for _, name in pairs), *(name for row in listed for name in row or ())])
        codes = {name: row for row, name in enumerate(names)}
        table = np.zeros((len(codes) + 2, len(groups.products)), dtype=bool)
        for group, name in pairs:
            table[codes[name]] |= groups.members((group,))
        for position, row in enumerate(listed):
            table[[codes[name] for name in row or ()], position] = True
        table[-1] = table[:-2].any(axis=0)
        return codes, table


def _only(values: FloatArray, members: BoolArray) -> FloatArray:
    """NaN for the products that a rule is not about."""
    return np.where(members, values, np.nan)


def _exceeds(needed: FloatArray, available: FloatArray) -> BoolArray:
    """[B, N]: needs more than there is; what is not known of a customer is nothing, NaN of a product needs nothing."""
    return needed[None] > np.where(np.isnan(available), 0.0, available)[:, None]
