"""Applies a pack to customers and items: what is allowed, and the first rule that removed what is not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.policy.facts import NO_RATING, BoolArray, ContentFacts, CustomerFacts, ProductFacts, as_instant
from recsys.policy.pack import PolicyPack
from recsys.policy.rules import (
    ContactCapRule,
    DataStaleRule,
    ExpiredAssessmentRule,
    ProductGroups,
    ProfilingConsentRule,
    RequestContext,
    Rule,
    RuleContext,
)

ALLOWED: Final = -1
CHUNK: Final = 2048
"""Customers judged at a time: the working arrays of one chunk stay small, whatever the number of customers."""
NO_CONTEXT: Final = RequestContext()
_CATALOGUES: Final = 8
"""For so many catalogues what rules derive from them is kept; an engine normally sees one."""

RuleArray = NDArray[np.int16]
Numbered = Sequence[tuple[int, Rule]]


class PolicyOutcome(NamedTuple):
    """What a pack says of B customers and N items."""

    allowed: BoolArray
    """[B, N]"""
    rule: RuleArray
    """[B, N]: position in `rule_ids` of the first rule that removed the item; -1 where it is allowed."""
    rule_ids: tuple[str, ...]
    profiling_refused: BoolArray
    """[B]: whose answer may depend on nothing personal but what is allowed."""

    def removals(self, customer: int, among: BoolArray | None = None) -> dict[str, int]:
        """How many items (of those `among` [N] that are candidates) each rule removed for one customer."""
        rules = self.rule[customer] if among is None else self.rule[customer][among]
        counts = np.bincount(rules[rules >= 0], minlength=len(self.rule_ids))
        return {self.rule_ids[position]: int(counts[position]) for position in np.flatnonzero(counts)}


class _Standing(NamedTuple):
    """What holds for B customers at an instant, whatever they are shown."""

    customers: CustomerFacts
    now: datetime
    refused: BoolArray
    """[B]: of whom nothing personal may be looked at."""
    stale: BoolArray
    """[B]: whose facts are too old."""


class PolicyEngine:
    """The one place where it is decided who may be shown what."""

    def __init__(self, pack: PolicyPack, repeatable: bool = False) -> None:
        self.pack = pack
        self.repeatable = repeatable
        self.rule_ids = tuple(rule.id for rule in pack.rules)
        self._groups: dict[ProductFacts, ProductGroups] = {}
        self._rules = {rule.id: rule for rule in pack.rules}
        self._of_day: tuple[date, Numbered] | None = None
        self._standing: _Standing | None = None

    def evaluate(
        self, customers: CustomerFacts, products: ProductFacts, now: datetime, request: RequestContext = NO_CONTEXT
    ) -> PolicyOutcome:
        """Judges every product for every customer at the instant `now`."""
        rule = np.full((len(customers), len(products)), ALLOWED, dtype=np.int16)
        rules = self._in_force(now)
        for start, context in self._contexts(customers, products, now, request):
            context = self._with_strangers(context, None, now)
            for position, removed in reversed(list(_removals(rules, context))):
                np.copyto(rule[start : start + CHUNK], np.int16(position), where=removed)
        return PolicyOutcome(rule == ALLOWED, rule, self.rule_ids, self.profiling_refused(customers, now))

    def evaluate_contents(
        self,
        customers: CustomerFacts,
        contents: ContentFacts,
        products: ProductFacts,
        now: datetime,
        request: RequestContext = NO_CONTEXT,
        judged: PolicyOutcome | None = None,
    ) -> PolicyOutcome:
        """Judges every content: it falls with its product, and by the rules for contents.

        Args:
            customers: B of them.
            contents: to be judged.
            products: what they are about.
            now: the instant.
            request: where they would be shown.
            judged: what `evaluate` said of the products in the same request; None: it is asked.
        """
        outcome = judged or self.evaluate(customers, products, now, request)
        rule = np.ascontiguousarray(outcome.rule[:, contents.product])
        rules = self._in_force(now)
        for start, context in self._contexts(customers, products, now, request):
            context = self._with_strangers(context, contents, now)
            part = rule[start : start + CHUNK]
            own = np.full_like(part, ALLOWED)
            for position, removed in reversed(list(_content_removals(rules, contents, context))):
                np.copyto(own, np.int16(position), where=removed)
            np.copyto(part, own, where=part == ALLOWED)
        return PolicyOutcome(rule == ALLOWED, rule, self.rule_ids, outcome.profiling_refused)

    def explain(
        self,
        customer: CustomerFacts,
        products: ProductFacts,
        contents: ContentFacts | None,
        now: datetime,
        request: RequestContext = NO_CONTEXT,
    ) -> dict[str, BoolArray]:
        """Every rule that removes something for one customer, not the first only.

        Returns:
            Rule id to [N], or [C] where there are `contents`, which fall with their product too.
        """
        rules = self._in_force(now)
        ((_, context),) = self._contexts(customer, products, now, request)
        found = list(_removals(rules, self._with_strangers(context, None, now)))
        size, about = len(products), np.arange(len(products))
        if contents is not None:
            size, about = len(contents), contents.product
        masks = {position: np.broadcast_to(removed, (1, len(products)))[0, about] for position, removed in found}
        if contents is not None:
            for position, removed in _content_removals(rules, contents, self._with_strangers(context, contents, now)):
                own = np.broadcast_to(removed, (1, size))[0]
                masks[position] = own | masks.get(position, np.zeros(size, dtype=bool))
        return {self.rule_ids[position]: masks[position] for position in sorted(masks)}

    def investments(self, products: ProductFacts) -> BoolArray:
        """[N]: the products that suitability is about: those with a rating, and those of the pack's categories."""
        return self.groups(products).investment

    def credits(self, products: ProductFacts) -> BoolArray:
        """[N]: the products that are credit: those that the catalogue says are, and those of the pack's categories."""
        return self.groups(products).credit

    def explorable(self, products: ProductFacts) -> BoolArray:
        """[N]: the products with which an answer may try something out."""
        return ~self.groups(products).members(self.pack.exploration.off_for)

    @property
    def contact_days(self) -> int:
        """How far back contacts count."""
        caps = (rule.window_days for rule in self.pack.rules if isinstance(rule, ContactCapRule))
        return max(caps, default=0)

    def suitability(self, customers: CustomerFacts, now: datetime) -> list[str]:
        """Of each customer's risk assessment: `valid`, `expired` (or of the future), `missing`."""
        missing = (customers.risk_level == NO_RATING) | np.isnat(customers.risk_assessed_at)
        expired = np.zeros(len(customers), dtype=bool)
        expiry = self._rules.get("SUIT_EXPIRED")
        if isinstance(expiry, ExpiredAssessmentRule):
            expired = expiry.expired(customers.risk_assessed_at, as_instant(now))
        return ["missing" if m else "expired" if e else "valid" for m, e in zip(missing, expired, strict=True)]

    def profiling_refused(self, customers: CustomerFacts, now: datetime) -> BoolArray:
        """[B]: for whom nothing personal but eligibility may be looked at, computed or read."""
        return self._last_asked(customers, now).refused

    def stale(self, customers: CustomerFacts, now: datetime) -> BoolArray:
        """[B]: whose facts are too old to be used: they may see what a customer who is not known may see."""
        return self._last_asked(customers, now).stale

    def _last_asked(self, customers: CustomerFacts, now: datetime) -> "_Standing":
        """Of whom was asked last is asked again, several times in a decision."""
        last = self._standing
        if last is None or last.customers is not customers or last.now != now:
            last = self._standing = self._stand(customers, now)
        return last

    def _stand(self, customers: CustomerFacts, now: datetime) -> "_Standing":
        refused = stale = np.zeros(len(customers), dtype=bool)
        consent, age = self._rules.get("CONSENT_PROFILING"), self._rules.get("DATA_STALE")
        if isinstance(consent, ProfilingConsentRule) and consent.effective_from <= _day(now):
            refused = consent.refused(customers, as_instant(now))
        if isinstance(age, DataStaleRule) and age.effective_from <= _day(now):
            stale = age.stale(customers, as_instant(now))
        return _Standing(customers, now, refused, stale)

    def groups(self, products: ProductFacts) -> ProductGroups:
        """What the pack's rules derive from a catalogue."""
        groups = self._groups.get(products)
        if groups is None:
            if len(self._groups) >= _CATALOGUES:
                self._groups = {}
            groups = self._groups[products] = ProductGroups(products, self.pack)
        return groups

    def _contexts(
        self, customers: CustomerFacts, products: ProductFacts, now: datetime, request: RequestContext
    ) -> Iterator[tuple[int, RuleContext]]:
        """Chunk by chunk, the first customer's position and what the rules may look at."""
        channel = self.pack.channel(request.channel)
        for start in range(0, len(customers), CHUNK):
            chunk = customers.slice(start, start + CHUNK) if len(customers) > CHUNK else customers
            yield (
                start,
                RuleContext(
                    customers=chunk,
                    products=products,
                    groups=self.groups(products),
                    repeatable=self.repeatable,
                    request=request,
                    channel=channel,
                    pushed=channel in self.pack.pushed_channels,
                    now=as_instant(now),
                ),
            )

    def _with_strangers(self, context: RuleContext, contents: ContentFacts | None, now: datetime) -> RuleContext:
        """Adds what strangers may not see, where somebody's facts are stale."""
        if not self.stale(context.customers, now).any():
            return context
        stranger = CustomerFacts.unknown(1)
        if contents is None:
            allowed = self.evaluate(stranger, context.products, now, context.request).allowed
        else:
            allowed = self.evaluate_contents(stranger, contents, context.products, now, context.request).allowed
        return replace(context, strangers=~allowed)

    def _in_force(self, now: datetime) -> Numbered:
        day, known = _day(now), self._of_day
        if known is None or known[0] != day:
            rules = [(position, rule) for position, rule in enumerate(self.pack.rules) if rule.effective_from <= day]
            known = self._of_day = day, rules
        return known[1]


def _day(now: datetime) -> date:
    """The day in UTC, which is what effective dates are in."""
    return now.astimezone(UTC).date()


def _removals(rules: Numbered, context: RuleContext) -> Iterator[tuple[int, BoolArray]]:
    """Which products each rule removes, in the pack's order; late rules are asked last."""
    late = [pair for pair in rules if pair[1].late]
    found: list[tuple[int, BoolArray]] = []
    left = np.ones((len(context.customers), len(context.products)), dtype=bool) if late else None
    for position, rule in rules:
        removed = None if rule.late else _removed(rule, context)
        if removed is not None:
            found.append((position, removed))
            if left is not None and rule.decides_eligibility:
                left &= ~removed
    for position, rule in late:
        removed = _or_none(rule.removes(replace(context, left=left)))
        if removed is not None:
            found.append((position, removed))
    yield from sorted(found, key=lambda pair: pair[0])


def _removed(rule: Rule, context: RuleContext) -> BoolArray | None:
    """What a rule removes; None: nothing. For one customer it is kept, where it hangs on little."""
    key = rule.depends_on(context) if len(context.customers) == 1 else None
    if key is None:
        return _or_none(rule.removes(context))
    return context.groups.once((rule.id, key, "removed"), lambda: _or_none(rule.removes(context)))


def _or_none(removed: BoolArray | None) -> BoolArray | None:
    return None if removed is None or not removed.any() else removed


def _content_removals(rules: Numbered, contents: ContentFacts, context: RuleContext) -> Iterator[tuple[int, BoolArray]]:
    """Which contents each rule removes, in the pack's order."""
    for position, rule in rules:
        removed = rule.removes_contents(contents, context)
        if removed is not None and removed.any():
            yield position, removed
