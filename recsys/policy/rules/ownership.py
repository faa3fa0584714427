"""ELIG_HELD, ELIG_PENDING, ELIG_DECLINED, ELIG_PREREQUISITE: what a customer has, wants, refused and needs first."""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from recsys.policy.facts import BoolArray, IntArray
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
        products = context.products
        if not products.prerequisites:
            return None
        needed = context.groups.once(self.id, lambda: _Needed.of(products.prerequisites))
        held = context.customers.held
        has = held.mask(held.open_at(context.now), len(products))
        removed = np.zeros(has.shape, dtype=bool)
        removed[:, needed.hopeless] = True
        if len(needed.products):
            combine = np.logical_or if self.needs == "any" else np.logical_and
            removed[:, needed.products] = ~combine.reduceat(has[:, needed.others], needed.begins, axis=1)
        return removed


class _Needed(NamedTuple):
    """What products build on, one behind the other."""

    products: IntArray
    """[M]: that build on products of the catalogue."""
    begins: IntArray
    """[M]: where those that each builds on begin."""
    others: IntArray
    hopeless: IntArray
    """That build on nothing that the catalogue has: nobody meets that."""

    @classmethod
    def of(cls, prerequisites: Mapping[int, IntArray]) -> "_Needed":
        some = {product: others for product, others in prerequisites.items() if len(others)}
        sizes = [0, *(len(others) for others in some.values())]
        return cls(
            np.array(list(some), np.int64),
            np.cumsum(sizes)[:-1].astype(np.int64),
            np.concatenate([np.zeros(0, np.int64), *some.values()]).astype(np.int64),
            np.array([product for product in prerequisites if product not in some], np.int64),
        )
