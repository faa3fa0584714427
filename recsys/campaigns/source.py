"""What a plan needs to know of the bank: a protocol, so that the planner itself reads no store and no file."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from recsys.campaigns.audience import AudienceFields
from recsys.campaigns.brief import Objective
from recsys.campaigns.response import Estimate, ResponseCurve
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import BoolArray, CustomerFacts, ProductFacts


class Contacts(NamedTuple):
    """n contacts that are thought of, by customer; of those of one group at most one will be made."""

    row: np.ndarray
    """[n] int64, rising: which of the B customers."""
    content: np.ndarray
    """[n] int64: which of all creatives."""
    channel: np.ndarray
    """[n] int64: which of `channels`."""
    group: np.ndarray
    """[n] int64, rising; a group is one customer's."""
    channels: tuple[str, ...]

    def take(self, which: np.ndarray) -> "Contacts":
        """Some of them, [m] int64 or [n] bool."""
        row, content, channel, group = (values[which] for values in self[:4])
        return Contacts(row, content, channel, group, self.channels)


class Responder(Protocol):
    """A model of what follows from showing a creative once."""

    def choose(self, contacts: Contacts, liking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each group the contact with the best creative.

        Args:
            contacts: n of B customers.
            liking: [n] what the champion's scores say: the model may know better, and need not know the customer.

        Returns:
            [m] int64, rising: which contacts; [m, 3] their log-odds of a click, and of each outcome after it, NaN where
            nothing is known of the customer.
        """

    def chances(self, contacts: Contacts, logits: np.ndarray) -> np.ndarray:
        """[n, 3] calibrated probabilities of a click, an application and a conversion; NaN as above."""


class Scores(NamedTuple):
    """What the champion says of B customers."""

    products: np.ndarray
    """[B, N] float32; of the products that were not allowed nothing is meant."""
    contents: np.ndarray
    """[B, C] float32."""
    respond: Responder | None = None
    """The response model; None: the champion has none."""


class Uplift(NamedTuple):
    """What the randomised history says of learners of uplift."""

    method: str
    """`uplift` where one of them surely ranks better than propensity does, else `propensity`."""
    reason: str
    learner: str
    """The best one: `t`, `x`, `dr`, or `propensity`."""
    qini: dict[str, dict[str, float]]
    """On validation, of each, with its interval; empty where nothing could be compared."""
    predict: Callable[[Sequence[str], Sequence[str]], np.ndarray] | None
    """[n] customers and products to what one contact adds to the chance of an application; None: by propensity."""


class History(NamedTuple):
    """What logged contacts taught."""

    curve: ResponseCurve
    worth: float
    """Conversions that come with a response, on average: the catalogue's value is that of a conversion."""
    share: Estimate | None
    """Of the responses, those that contact brings; None where the history has no randomised control group."""
    uplift: Uplift | None = None
    """None: it was not asked for."""
    conversions_per_application: float = 1.0
    by_responses: bool = False
    """Whether the champion has a response model, by which contacts are valued then."""
    blended: bool = False
    """Whether the champion's ranking has a say in it."""
    customers: int = 0
    """Whose logged contacts were looked at."""
    scored: int = 0
    """Logged contacts that the curve was fitted on; they stand for all `curve.exposures`."""


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

    def facts_of(self, audience: Sequence[str]) -> Callable[[Sequence[str]], CustomerFacts]:
        """What the rules know of an audience, for B of its customers at a time; the nearer their ids, the quicker."""


class CustomerSource(RuleSource, Protocol):
    """A bank and its champion."""

    versions: Mapping[str, str]
    """Of the model, the policy pack, the features and the data."""

    def one_thread(self) -> AbstractContextManager[None]:
        """Within it, what the champion computes takes one thread: batches are then computed side by side."""

    def scores(self, customers: Sequence[str], segments: Sequence[str], allowed: BoolArray) -> Scores:
        """What the champion says of customers who agree to profiling; `allowed` is [B, N]."""

    def history(self, objective: Objective) -> History:
        """What logged contacts taught about an objective."""

    def groups(self, customers: Sequence[str]) -> list[Groups]:
        """The groups that fairness is measured by."""
