"""LIFE_* and CAP_PRODUCT: whether a product is on sale at all, for anybody."""

from collections.abc import Hashable
from typing import Literal

import numpy as np

from recsys.policy.facts import DRAFT, PAUSED, SOLD_OUT, BoolArray
from recsys.policy.rules.base import Rule, RuleContext, outside


class NotLiveRule(Rule):
    """A product is shown only while it is live and on sale, to the second."""

    id: Literal["LIFE_NOT_LIVE"]

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]."""
        products = context.products
        return ((products.status == DRAFT) | outside(products.available_from, products.available_to, context.now))[None]


class PausedRule(Rule):
    """A paused product is not shown."""

    id: Literal["LIFE_PAUSED"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """Nothing."""
        return ()

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]."""
        return (context.products.status == PAUSED)[None]


class SoldOutRule(Rule):
    """A sold-out product is not shown."""

    id: Literal["LIFE_SOLD_OUT"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """Nothing."""
        return ()

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]."""
        return (context.products.status == SOLD_OUT)[None]


class CapacityRule(Rule):
    """A product of limited capacity is shown only while there are units left."""

    id: Literal["CAP_PRODUCT"]

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]. NaN, no limit, compares as false."""
        products, limited = context.products, self._limited(context)
        if not limited.any():
            return None
        taken = np.zeros(len(products))
        for product_id, count in context.request.taken.items():
            position = products.index.get(product_id)
            if position is not None:
                taken[position] = count
        return (products.capacity <= taken)[None]

    def _limited(self, context: RuleContext) -> BoolArray:
        return context.groups.once(self.id, lambda: ~np.isnan(context.products.capacity))
