"""CRED_*: no further credit to who is in arrears, and no steering to the costlier variant."""

from collections import defaultdict
from collections.abc import Hashable
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from recsys.policy.facts import BoolArray, IntArray
from recsys.policy.rules.base import CREDIT, Groups, ProductGroups, Rule, RuleContext


class ArrearsRule(Rule):
    """A customer in arrears is offered no credit."""

    id: Literal["CRED_ARREARS"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """Whether he is in arrears."""
        return bool(context.customers.flags["in_arrears"][0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return context.customers.flags["in_arrears"][:, None] & context.groups.credit[None]


class Variants(NamedTuple):
    """The products of one type, V of them."""

    positions: IntArray
    """[V]"""
    cheaper: BoolArray
    """[V, V]: the product of the row is cheaper than that of the column."""


class SteeringRule(Rule):
    """A costlier variant is never shown while a cheaper one of the same type is eligible.

    Cheaper is the lower rate by more than the tolerance; at equal rates, the lower fee. An unknown rate or fee is the
    highest there is. Eligible is what the rules about eligibility left: neither suitability nor consent nor contact
    brings a costlier variant back.
    """

    late: ClassVar[bool] = True

    id: Literal["CRED_STEERING"]
    categories: Groups = (CREDIT,)
    same_type: tuple[str, ...] = Field(default=("category",), min_length=1)
    """Columns of the catalogue; products that agree in all of those that are there are of one type."""
    rate_tolerance: float = Field(default=0.0, ge=0, le=100)
    """Percentage points; a smaller difference is none."""
    fee_tolerance: float = Field(default=0.0, ge=0)
    """Currency units."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        types = context.groups.once(self.id, lambda: self.variants(context.groups))
        if context.left is None or not types:
            return None
        removed = np.zeros(context.left.shape, dtype=bool)
        for positions, cheaper in types:
            eligible = context.left[:, positions].astype(np.float32)
            removed[:, positions] = eligible @ cheaper.astype(np.float32) > 0
        return removed

    def variants(self, groups: ProductGroups) -> list[Variants]:
        """The types of which there are several products, one of them cheaper than another."""
        products = groups.products
        columns = [products.columns[name] for name in self.same_type if name in products.columns]
        types: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for position in np.flatnonzero(groups.members(self.categories)).tolist():
            types[tuple(_comparable(column[position]) for column in columns)].append(position)
        made = (self._compare(np.array(positions), groups) for positions in types.values())
        return [variants for variants in made if variants.cheaper.any()]

    def _compare(self, positions: IntArray, groups: ProductGroups) -> Variants:
        rate = np.nan_to_num(groups.products.rate[positions], nan=np.finfo(np.float64).max)
        fee = np.nan_to_num(groups.products.fee[positions], nan=np.finfo(np.float64).max)
        lower = rate[:, None] < rate[None] - self.rate_tolerance
        equal = ~lower & ~lower.T
        return Variants(positions, lower | (equal & (fee[:, None] < fee[None] - self.fee_tolerance)))


def _comparable(value: object) -> object:
    """A list, in whatever order, as something that can be a key."""
    return frozenset(value) if isinstance(value, list) else value
