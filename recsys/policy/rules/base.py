"""What every rule is: a small typed config with one or two methods that say what it removes, for whom.

A rule is its settings (id, source, effective date, its own). `removes` judges products and `removes_contents` contents,
which besides inherit what befalls their product. Each returns a boolean array that broadcasts to [B, N] or [B, C], true
where the item may not be shown, or None where it removes nothing. domain.md lists the ids; which rules apply, and with
which settings, is the pack's business.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, ClassVar, Final, Protocol, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field

from recsys.config import BaseConfig
from recsys.policy.facts import NO_RATING, BoolArray, ContentFacts, CustomerFacts, ProductFacts, TimeArray

ALL: Final = "all"
INVESTMENT: Final = "investment"
CREDIT: Final = "credit"
Groups = tuple[str, ...]
"""Categories of the catalogue, and the words `investment`, `credit` and `all`."""
Derived = TypeVar("Derived")


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
    taken: Mapping[str, int] = field(default_factory=dict)
    """How many units of each product of limited capacity are sold or reserved; one that is not named: none."""


class Categories(Protocol):
    """How a pack divides products."""

    @property
    def investment_categories(self) -> tuple[str, ...]:
        """Categories whose products are investments even before they are rated."""

    @property
    def credit_categories(self) -> tuple[str, ...]:
        """Categories whose products are credit whatever the catalogue says."""


class ProductGroups:
    """What one pack's rules derive from one catalogue: made once, used by every request."""

    def __init__(self, products: ProductFacts, categories: Categories) -> None:
        self.products = products
        self.investment = (products.risk != NO_RATING) | _of_category(products, categories.investment_categories)
        """[N]: rated products, and those of the pack's categories."""
        self.credit = products.is_credit | _of_category(products, categories.credit_categories)
        """[N]"""
        self._derived: dict[Any, Any] = {}

    def members(self, groups: Groups) -> BoolArray:
        """[N]: the products of any of `groups`."""
        return self.once(("members", groups), lambda: self._members(groups))

    def once(self, key: Any, make: Callable[[], Derived]) -> Derived:
        """What `make` returns, made at the first call only; two threads may both make it, to the same end."""
        if key not in self._derived:
            self._derived[key] = make()
        value: Derived = self._derived[key]
        return value

    def _members(self, groups: Groups) -> BoolArray:
        mask = _of_category(self.products, groups)
        for name, special in ((INVESTMENT, self.investment), (CREDIT, self.credit)):
            if name in groups:
                mask |= special
        return np.ones_like(mask) if ALL in groups else mask


@dataclass(frozen=True)
class RuleContext:
    """All that a rule may look at."""

    customers: CustomerFacts
    products: ProductFacts
    groups: ProductGroups
    repeatable: bool
    """Whether the dataset lets what a customer already has be recommended again."""
    request: RequestContext
    channel: str | None
    """The request's channel by the catalogue's own name for it."""
    pushed: bool
    """Whether the bank reaches out through that channel, rather than the customer opening it himself."""
    now: np.datetime64
    strangers: BoolArray | None = None
    """[1, N] (or [1, C]): what a customer of whom nothing is known may not see; None where nobody's facts are stale."""
    left: BoolArray | None = None
    """[B, N]: what the rules about eligibility left; only for a rule that is `late`."""


class Rule(BaseConfig):
    """The base of all rules."""

    late: ClassVar[bool] = False
    """Runs after the others and sees what those that decide eligibility left."""
    decides_eligibility: ClassVar[bool] = True
    """Whether what it removes counts as not eligible for a late rule. Suitability, consent and contact do not: else
    a lower risk level, or a consent withdrawn, could bring back what a late rule removes."""

    id: str
    source: str = Field(min_length=1)
    """Where the rule comes from: the law, the guideline or the bank's own decision."""
    effective_from: RuleDate
    """The first day (UTC) on which it applies."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """The products that may not be shown; broadcastable to [B, N]. None: none of them."""
        return None

    def depends_on(self, context: RuleContext) -> Hashable | None:
        """Where there is one customer: all that `removes` looks at beside the catalogue. None: it is never kept.

        Two contexts for which this is the same remove the same products; so it takes few values over all customers.
        """
        return None

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """The contents that may not be shown, beside those of removed products; broadcastable to [B, C]."""
        return None


def outside(start: TimeArray, end: TimeArray, now: np.datetime64) -> BoolArray:
    """True where `now` is before `start`, or at or after `end`; NaT is no bound (it compares as false)."""
    return (start > now) | (end <= now)


def days(count: int) -> np.timedelta64:
    """A span of days."""
    return np.timedelta64(count, "D")


def _of_category(products: ProductFacts, names: tuple[str, ...]) -> BoolArray:
    wanted = set(names)
    return np.array([str(name) in wanted for name in products.category], dtype=bool)
