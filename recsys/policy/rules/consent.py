"""CONSENT_*: what needs a customer's yes. Where the bank keeps no consents at all (public data) nothing does.

Marketing contents need it everywhere. Products need it where the bank reaches out of its own accord (a pushed channel);
on a screen that the customer opened they are part of the service.
"""

from typing import ClassVar, Final, Literal

import numpy as np

from recsys.policy.facts import BoolArray, ContentFacts, CustomerFacts
from recsys.policy.rules.base import Rule, RuleContext

MARKETING: Final = "marketing"
PROFILING: Final = "profiling"


class ConsentRule(Rule):
    """The base of the rules about consent."""

    decides_eligibility: ClassVar[bool] = False

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, 1]."""
        return self._refused(context) if context.pushed else None

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[B, 1]."""
        return self._refused(context)

    def _refused(self, context: RuleContext) -> BoolArray | None:
        """[B, 1]: who does not agree; None: everybody does."""
        return None


class MarketingConsentRule(ConsentRule):
    """No marketing to who does not agree to marketing."""

    id: Literal["CONSENT_MARKETING"]

    def _refused(self, context: RuleContext) -> BoolArray | None:
        consents = context.customers.consents
        if consents is None:
            return None
        agrees = consents.agrees_to(MARKETING, None, context.now)
        if context.channel is not None:
            agrees = agrees | consents.agrees_to(MARKETING, context.channel, context.now)
        return ~agrees[:, None]


class ChannelConsentRule(ConsentRule):
    """No marketing through a channel that a customer who agrees to marketing does not want it through."""

    id: Literal["CONSENT_CHANNEL"]

    def _refused(self, context: RuleContext) -> BoolArray | None:
        consents = context.customers.consents
        if consents is None or context.channel is None:
            return None
        return ~consents.agrees_to(MARKETING, context.channel, context.now)[:, None]


class ProfilingConsentRule(Rule):
    """Who does not agree to profiling gets an answer that depends on nothing personal but eligibility.

    It removes nothing: `PolicyEngine.profiling_refused` tells it to whoever ranks.
    """

    decides_eligibility: ClassVar[bool] = False

    id: Literal["CONSENT_PROFILING"]

    def refused(self, customers: CustomerFacts, now: np.datetime64) -> BoolArray:
        """[B]: who does not agree."""
        if customers.consents is None:
            return np.zeros(len(customers), dtype=bool)
        return ~customers.consents.agrees(PROFILING, now)
