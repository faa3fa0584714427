"""ELIG_HELD, ELIG_PENDING, ELIG_DECLINED, ELIG_PREREQUISITE: what a customer has, wants, refused and needs first."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from recsys.policy.facts import BoolArray
from recsys.policy.rules.base import Rule, RuleContext, days


class HeldRule(Rule):
    """What a customer already has is not offered again, unless the product or the dataset is repeatable."""

    id: Literal["ELIG_HELD"]

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        held, products = context.customers.held, context.products
        if context.repeatable or not len(held.products):
            return None
        return held.mask(held.open_at(context.now) & ~products.repeatable[held.products], len(products))


class PendingRule(Rule):
    """What a customer has applied for is not offered again while the application may still be open."""

    decides_eligibility: ClassVar[bool] = False
    """An open application for the cheaper variant is no reason to show the costlier one."""

    id: Literal["ELIG_PENDING"]
    pending_days: int = Field(ge=1, le=3650)
    """After so many days without a conversion an application counts as closed."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        pending, products = context.customers.pending, context.products
        if context.repeatable or not len(pending.products):
            return None
        recent = pending.open_at(context.now) & (pending.since > context.now - days(self.pending_days))
        return pending.mask(recent & ~products.repeatable[pending.products], len(products))


class DeclinedRule(Rule):
    """What a customer lately turned down is not offered again before a cool-off has passed."""

    decides_eligibility: ClassVar[bool] = False
    """To have refused the cheaper variant is no reason to be shown the costlier one."""

    id: Literal["ELIG_DECLINED"]
    cool_off_days: int = Field(ge=1, le=3650)

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        declined = context.customers.declined
        if not len(declined.products):
            return None
        recent = (declined.since > context.now - days(self.cool_off_days)) & (declined.since <= context.now)
        return declined.mask(recent, len(context.products))


class PrerequisiteRule(Rule):
    """A product that builds on others is for customers who have one of them."""

    id: Literal["ELIG_PREREQUISITE"]
    needs: Literal["any", "all"] = "any"
    """Whether one of the named products is enough."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        needed = context.products.prerequisites
        if not needed:
            return None
        held = context.customers.held
        has = held.mask(held.open_at(context.now), len(context.products))
        removed = np.zeros(has.shape, dtype=bool)
        for position, others in needed.items():
            mine = has[:, others]
            met = mine.any(axis=1)  # nobody meets prerequisites that are all out of the catalogue
            removed[:, position] = ~(met if self.needs == "any" else met & mine.all(axis=1))
        return removed
