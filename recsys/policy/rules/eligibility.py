"""ELIG_*: whom, where and through which channel a product is open to."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from recsys.policy.facts import BoolArray, ContentFacts, IntArray, Restriction
from recsys.policy.rules.base import CREDIT, INVESTMENT, Groups, ProductGroups, Rule, RuleContext


class AgeRule(Rule):
    """A product with a minimum age is for customers who are known to have reached it."""

    id: Literal["ELIG_AGE"]
    assumed_age: int = Field(default=0, ge=0, le=130)
    """The age of a customer whose age is not known; 0 is the strictest."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        age = context.customers.age
        known = np.where(np.isnan(age), self.assumed_age, age)
        return known[:, None] < context.products.min_age[None]

    def depends_on(self, context: RuleContext) -> Hashable | None:
        """His age in whole years."""
        age = float(context.customers.age[0])
        return age if age.is_integer() else None if age == age else "unknown"


class ResidenceRule(Rule):
    """A product that names countries is for customers who are known to live in one of them."""

    id: Literal["ELIG_RESIDENCE"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """The country."""
        return context.customers.country[0]

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return _closed(context.products.countries, context.customers.country)


class SegmentRule(Rule):
    """A product that names segments is for customers of one of them."""

    id: Literal["ELIG_SEGMENT"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """The segment."""
        return context.customers.segment[0]

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return _closed(context.products.segments, context.customers.segment)


class ChannelRule(Rule):
    """A product that names channels is offered through these only; so is a creative that was made for one."""

    id: Literal["ELIG_CHANNEL"]

    def depends_on(self, context: RuleContext) -> Hashable:
        """The channel."""
        return context.channel

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[1, N]."""
        if context.channel is None:
            return None
        return _closed(context.products.channels, (context.channel,))

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[1, C]."""
        if context.channel is None:
            return None
        return contents.for_another_channel(context.channel)[None]


class KycRule(Rule):
    """A customer who is not identified is offered only what he can look at before he is."""

    id: Literal["ELIG_KYC"]
    verified: tuple[str, ...] = Field(min_length=1)
    """The states of `kyc_status` that mean: identified."""
    open_categories: Groups = ()
    """May be offered before identification, which is a part of opening them; credit and investments never."""

    def depends_on(self, context: RuleContext) -> Hashable:
        """Whether it is known who he is."""
        return ("kyc_status" in context.customers.kept, context.customers.kyc_status[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "kyc_status" not in context.customers.kept:
            return None
        groups = context.groups
        guarded = groups.once(self.id, lambda: self._guarded(groups))
        unidentified = np.array([status not in self.verified for status in context.customers.kyc_status], dtype=bool)
        return unidentified[:, None] & guarded[None]

    def _guarded(self, groups: ProductGroups) -> BoolArray:
        return ~groups.members(self.open_categories) | groups.investment | groups.credit


class IncomeRule(Rule):
    """A product with a minimum income is for customers whose income band is known to reach it."""

    id: Literal["ELIG_INCOME"]
    bands: tuple[str, ...] = Field(min_length=1)
    """The bank's income bands, lowest first."""
    minimum: dict[str, str] = Field(default_factory=dict)
    """Category (or `credit`, `investment`, `all`) to the lowest band that it is open to."""
    column: str | None = None
    """A column of the catalogue that names the lowest band of a product, where the catalogue has it."""

    def depends_on(self, context: RuleContext) -> Hashable:
        """The band of his income."""
        return ("income_band" in context.customers.kept, context.customers.income_band[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "income_band" not in context.customers.kept:
            return None
        needed = context.groups.once(
            self.id, lambda: needed_ranks(context.groups, self.bands, self.minimum, self.column)
        )
        return below(context.customers.income_band, self.bands, needed)


class JurisdictionRule(Rule):
    """Some products may not be offered to residents of some countries, whatever the catalogue says."""

    id: Literal["ELIG_JURISDICTION"]
    only: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Category (or `credit`, `investment`, `all`) to the only countries whose residents it may be offered to."""
    never: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Category (or `credit`, `investment`, `all`) to countries whose residents it may not be offered to."""
    unknown: Groups = (INVESTMENT, CREDIT)
    """Closed to a customer whose country is not known."""

    def depends_on(self, context: RuleContext) -> Hashable:
        """The country."""
        return ("country" in context.customers.kept, context.customers.country[0])

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        if "country" not in context.customers.kept:
            return None
        codes, table = context.groups.once(self.id, lambda: self._table(context.groups))
        other = len(codes)
        removed: BoolArray = table[
            [other + 1 if name is None else codes.get(name, other) for name in context.customers.country]
        ]
        return removed

    def _table(self, groups: ProductGroups) -> tuple[dict[str, int], BoolArray]:
        """Countries to rows, and [V + 2, N]: what is closed to each, to any other, and to an unknown one."""
        named = sorted({country for names in (*self.only.values(), *self.never.values()) for country in names})
        codes = {country: row for row, country in enumerate(named)}
        closed = np.zeros((len(named) + 2, len(groups.products)), dtype=bool)
        for group, countries in self.only.items():
            outside = [row for row in range(len(closed)) if row >= len(named) or named[row] not in countries]
            closed[outside] |= groups.members((group,))
        for group, countries in self.never.items():
            closed[[codes[country] for country in countries]] |= groups.members((group,))
        closed[-1] |= groups.members(self.unknown)
        return codes, closed


def needed_ranks(
    groups: ProductGroups, scale: Sequence[str], minimum: Mapping[str, str], column: str | None
) -> IntArray:
    """[N]: the place in `scale` that each product asks for, the highest of all that apply; -1: none.

    A word that is not on the scale asks for more than anybody has.
    """
    rank = {name: place for place, name in enumerate(scale)}
    needed = np.full(len(groups.products), -1, dtype=np.int64)
    for group, name in minimum.items():
        needed[groups.members((group,))] = np.maximum(needed[groups.members((group,))], rank.get(name, len(scale)))
    values = groups.products.columns.get(column, []) if column else []
    for position, name in enumerate(values):
        if name is not None:
            needed[position] = max(needed[position], rank.get(str(name), len(scale)))
    return needed


def below(values: Sequence[str | None], scale: Sequence[str], needed: IntArray) -> BoolArray:
    """[B, N]: whose value is known to reach less than a product needs; one off the scale reaches nothing."""
    rank = {name: place for place, name in enumerate(scale)}
    reached = np.array([-1 if value is None else rank.get(value, -1) for value in values], dtype=np.int64)
    return reached[:, None] < needed[None]


def _closed(restriction: Restriction | None, values: Sequence[str | None]) -> BoolArray | None:
    """[B, N] where products are restricted."""
    return None if restriction is None else restriction.closed_to(values)
