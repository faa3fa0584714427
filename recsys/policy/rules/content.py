"""CONTENT_*: which creatives may be shown, whatever becomes of their product."""

from typing import Literal

import numpy as np

from recsys.policy.facts import BoolArray, ContentFacts, FloatArray, ProductFacts, primary
from recsys.policy.rules.base import Rule, RuleContext, outside


class NotApprovedRule(Rule):
    """A content is shown only in an approved state, and only if the approval is of exactly this content."""

    id: Literal["CONTENT_NOT_APPROVED"]
    shown_states: tuple[str, ...] = ("approved", "scheduled", "sending")

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[1, C]."""
        return context.groups.once((self.id, contents), lambda: self._hidden(contents))

    def _hidden(self, contents: ContentFacts) -> BoolArray:
        if contents.status is None:
            return ~contents.hash_matches[None]
        shown = np.zeros(len(contents), dtype=bool)
        for state in self.shown_states:
            shown |= contents.status == state
        return ~(shown & contents.hash_matches)[None]


class ContentExpiredRule(Rule):
    """A content is shown only within its validity, to the second."""

    id: Literal["CONTENT_EXPIRED"]

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[1, C]."""
        return outside(contents.valid_from, contents.valid_to, context.now)[None]


class ContentLocaleRule(Rule):
    """A content is shown in the language that was asked for, else in the customer's own."""

    id: Literal["CONTENT_LOCALE"]

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[B, C], or [1, C] where the request names a locale."""
        asked = context.request.locale
        wanted = [primary(language) for language in ([asked] if asked else context.customers.language)]
        others = {language: contents.in_another_language(language) for language in set(wanted)}
        return np.stack([others[language] for language in wanted])


class PriceMismatchRule(Rule):
    """Every percentage and every amount of money in a creative is what the catalogue says of its product."""

    id: Literal["CONTENT_PRICE_MISMATCH"]
    percentages: tuple[str, ...] = ("rate", "fee")
    amounts: tuple[str, ...] = ("fee", "min_amount")
    """Columns of the catalogue that a percentage, or an amount, may state; one that is not there states nothing."""
    allowed: tuple[float, ...] = ()
    """Numbers that state nothing of the product, as in `100 % online`."""

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[1, C]."""
        return context.groups.once((self.id, contents), lambda: self._mismatches(contents, context.products))

    def _mismatches(self, contents: ContentFacts, products: ProductFacts) -> BoolArray:
        percentages, amounts = self._facts(products, self.percentages), self._facts(products, self.amounts)
        wrong = []
        for product, claims in zip(contents.product.tolist(), contents.claims, strict=True):
            stated = [(number, percentages[:, product]) for number in claims.percentages]
            stated += [(number, amounts[:, product]) for number in claims.amounts]
            wrong.append(
                not all(
                    number.value in self.allowed or any(number.states(fact) for fact in facts)
                    for number, facts in stated
                )
            )
        return np.array(wrong, dtype=bool)[None]

    @staticmethod
    def _facts(products: ProductFacts, names: tuple[str, ...]) -> FloatArray:
        """[columns, N]: NaN where there is no number."""
        rows = [products.columns.get(name, [None] * len(products)) for name in names]
        numbers = [[np.nan if isinstance(v, str) or v is None else float(v) for v in row] for row in rows]
        return np.array(numbers, dtype=np.float64).reshape(len(names), len(products))
