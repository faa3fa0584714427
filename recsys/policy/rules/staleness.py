"""DATA_STALE: who was last looked at too long ago may see what a customer of whom nothing is known may see."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from recsys.policy.facts import BoolArray, ContentFacts, CustomerFacts
from recsys.policy.rules.base import Rule, RuleContext


class DataStaleRule(Rule):
    """Facts that nobody confirmed for too long are not known."""

    decides_eligibility: ClassVar[bool] = False

    id: Literal["DATA_STALE"]
    max_age_hours: int = Field(ge=1, le=87600)
    """Older facts are stale. A clock that runs ahead makes nothing stale."""

    def removes(self, context: RuleContext) -> BoolArray | None:
        """[B, N]."""
        return self._as_strangers(context)

    def removes_contents(self, contents: ContentFacts, context: RuleContext) -> BoolArray | None:
        """[B, C]."""
        return self._as_strangers(context)

    def stale(self, customers: CustomerFacts, now: np.datetime64) -> BoolArray:
        """[B]: whose facts are too old to be used, or of no known date."""
        if customers.as_of is None:
            return np.zeros(len(customers), dtype=bool)
        return np.isnat(customers.as_of) | (customers.as_of < now - np.timedelta64(self.max_age_hours, "h"))

    def _as_strangers(self, context: RuleContext) -> BoolArray | None:
        if context.strangers is None:
            return None
        return self.stale(context.customers, context.now)[:, None] & context.strangers
