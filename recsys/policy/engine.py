"""Applies a pack to customers and items: what is allowed, and the first rule that removed what is not."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.policy.facts import NO_RATING, BoolArray, ContentFacts, CustomerFacts, ProductFacts, as_instant
from recsys.policy.pack import PolicyPack
from recsys.policy.rules import ExpiredAssessmentRule, RequestContext, Rule, RuleContext
from recsys.schema import Kind

ALLOWED = -1
CHUNK = 2048
"""Customers judged at a time: the working arrays of one chunk stay small, whatever the number of customers."""
NO_CONTEXT = RequestContext()

RuleArray = NDArray[np.int16]


class PolicyOutcome(NamedTuple):
    """What a pack says of B customers and N items."""

    allowed: BoolArray
    """[B, N]"""
    rule: RuleArray
    """[B, N]: position in `rule_ids` of the first rule that removed the item; -1 where it is allowed."""
    rule_ids: tuple[str, ...]

    def removals(self, customer: int, among: BoolArray | None = None) -> dict[str, int]:
        """How many items (of those `among` [N] that are candidates) each rule removed for one customer."""
        rules = self.rule[customer] if among is None else self.rule[customer][among]
        counts = np.bincount(rules[rules >= 0], minlength=len(self.rule_ids))
        return {self.rule_ids[position]: int(counts[position]) for position in np.flatnonzero(counts)}


class PolicyEngine:
    """The one place where it is decided who may be shown what."""

    def __init__(self, pack: PolicyPack, repeatable: bool = False) -> None:
        self.pack = pack
        self.repeatable = repeatable
        self.rule_ids = tuple(rule.id for rule in pack.rules)
        self._expiry = next((rule for rule in pack.rules if isinstance(rule, ExpiredAssessmentRule)), None)

    def evaluate(
        self, customers: CustomerFacts, products: ProductFacts, now: datetime, request: RequestContext = NO_CONTEXT
    ) -> PolicyOutcome:
        """Judges every product for every customer at the instant `now`."""
        instant = as_instant(now)
        rule = np.full((len(customers), len(products)), ALLOWED, dtype=np.int16)
        investment = self.investments(products)
        rules = self._in_force(Kind.PRODUCTS, now)
        for start in range(0, len(customers), CHUNK):
            chunk = customers.slice(start, start + CHUNK) if len(customers) > CHUNK else customers
            context = RuleContext(chunk, products, None, investment, self.repeatable, request, instant)
            _apply(rules, context, rule[start : start + CHUNK])
        return PolicyOutcome(rule == ALLOWED, rule, self.rule_ids)

    def evaluate_contents(
        self,
        customers: CustomerFacts,
        contents: ContentFacts,
        products: ProductFacts,
        now: datetime,
        request: RequestContext = NO_CONTEXT,
    ) -> PolicyOutcome:
        """Judges every content: it falls with its product, and by the rules for contents."""
        inherited = self.evaluate(customers, products, now, request).rule
        rule = np.ascontiguousarray(inherited[:, contents.product])
        rules = self._in_force(Kind.CONTENTS, now)
        investment, instant = self.investments(products), as_instant(now)
        for start in range(0, len(customers), CHUNK):
            chunk = customers.slice(start, start + CHUNK) if len(customers) > CHUNK else customers
            context = RuleContext(chunk, products, contents, investment, self.repeatable, request, instant)
            part = rule[start : start + CHUNK]
            own = np.full_like(part, ALLOWED)
            _apply(rules, context, own)
            np.copyto(part, own, where=part == ALLOWED)
        return PolicyOutcome(rule == ALLOWED, rule, self.rule_ids)

    def investments(self, products: ProductFacts) -> BoolArray:
        """[N]: the products that suitability is about: those with a rating, and those of the pack's categories."""
        investment = products.risk != NO_RATING
        for category in self.pack.investment_categories:
            investment |= products.category == category
        return investment

    def suitability(self, customers: CustomerFacts, now: datetime) -> list[str]:
        """Of each customer's risk assessment: `valid`, `expired` (or of the future), `missing`."""
        missing = (customers.risk_level == NO_RATING) | np.isnat(customers.risk_assessed_at)
        expired = np.zeros(len(customers), dtype=bool)
        if self._expiry is not None:
            expired = self._expiry.expired(customers.risk_assessed_at, as_instant(now))
        return ["missing" if m else "expired" if e else "valid" for m, e in zip(missing, expired, strict=True)]

    def _in_force(self, kind: Kind, now: datetime) -> list[tuple[int, Rule]]:
        today = now.date()
        return [
            (position, rule)
            for position, rule in enumerate(self.pack.rules)
            if rule.applies_to is kind and rule.effective_from <= today
        ]


def _apply(rules: Sequence[tuple[int, Rule]], context: RuleContext, out: RuleArray) -> None:
    """Writes each removing rule's position into `out` [B, N], the last rule first, so that the first one stays."""
    for position, rule in reversed(rules):
        removed = rule.removes(context)
        if removed.any():
            np.copyto(out, np.int16(position), where=removed)
