"""What a plan needs to know of the bank: a protocol, so that the planner itself reads no store and no file."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from recsys.campaigns.audience import AudienceFields
from recsys.campaigns.brief import Objective
from recsys.campaigns.response import Estimate, ResponseCurve
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import BoolArray, CustomerFacts, ProductFacts


class Scores(NamedTuple):
    """What the champion says of B customers."""

    products: np.ndarray
    """[B, N] float32; of the products that were not allowed nothing is meant."""
    contents: np.ndarray
    """[B, C] float32."""


class History(NamedTuple):
    """What logged contacts taught."""

    curve: ResponseCurve
    worth: float
    """Conversions that come with a response, on average: the catalogue's value is that of a conversion."""
    share: Estimate | None
    """Of the responses, those that contact brings; None where the history has no randomised control group."""


class Groups(NamedTuple):
    """One column by which fairness is measured."""

    name: str
    kind: str
    """`protected` or `proxy`."""
    labels: np.ndarray
    """[B] object: the group's name; None where it is not known."""


class RuleSource(Protocol):
    """A bank, its catalogue and its rules: enough to say who may be contacted at all."""

    as_of: datetime
    """What is known: nothing later than this."""
    policy: PolicyEngine
    products: ProductFacts
    """N products in the champion's order."""
    contents: pl.DataFrame
    """C creatives in the champion's order, the canonical columns."""

    def fields(self) -> AudienceFields:
        """What an audience may ask about."""

    def count(self) -> int:
        """Customers of the bank."""

    def audience(self, condition: pl.Expr, fields: Sequence[str]) -> pl.DataFrame:
        """Who meets a condition over `fields`: customer_id, segment, language, time_zone (null: not known)."""

    def taken(self) -> Mapping[str, int]:
        """How much of each limited product is gone."""

    def facts(self, customers: Sequence[str]) -> CustomerFacts:
        """What the rules know of B customers."""


class CustomerSource(RuleSource, Protocol):
    """A bank and its champion."""

    versions: Mapping[str, str]
    """Of the model, the policy pack, the features and the data."""

    def scores(self, customers: Sequence[str], segments: Sequence[str], allowed: BoolArray) -> Scores:
        """What the champion says of customers who agree to profiling; `allowed` is [B, N]."""

    def history(self, objective: Objective) -> History:
        """What logged contacts taught about an objective."""

    def groups(self, customers: Sequence[str]) -> list[Groups]:
        """The groups that fairness is measured by."""
