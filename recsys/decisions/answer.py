"""What is asked of a decision, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np

from recsys.decisions.explanation import Reason
from recsys.decisions.scoring import ScoreArray
from recsys.policy.engine import NO_CONTEXT, RuleArray
from recsys.policy.facts import BoolArray
from recsys.policy.rules import RequestContext
from recsys.schema import Kind, Modality, ServingMode

NO_RULES: Final = np.empty(0, dtype=np.int16)
NO_SCORES: Final = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Placement:
    """One place on a screen that wants items."""

    name: str
    kind: Kind
    limit: int


class Boost(NamedTuple):
    """A creative that a campaign chose for the customer: it comes first where the policy lets it come at all."""

    campaign_id: str
    content: int
    """Position in the catalogue."""
    channel: str
    """Where it is to be shown."""


@dataclass(frozen=True)
class DecisionRequest:
    """What is asked for; the same for every customer of a batch."""

    now: datetime
    """Aware: rules hold to the second."""
    placements: tuple[Placement, ...] = ()
    context: RequestContext = NO_CONTEXT
    candidates: Mapping[Kind, BoolArray] = field(default_factory=dict)
    """Per kind, [N] or [B, N]: the only items that may be ranked; a kind that is not named: all."""
    boosts: tuple[Boost, ...] = ()
    """What campaigns want shown to the one customer of `decide`, the first one first."""
    seed: str | None = None
    """What `decide` draws from where it tries something out; None: it does not."""


class RankedItem(NamedTuple):
    """An item at its place."""

    rank: int
    """From 1."""
    product_id: str
    content_id: str | None
    title: str
    score: float
    reasons: list[Reason]
    propensity: float = 1.0
    """The probability with which the item got this place, given what stands above; 1 where nothing is drawn."""
    campaign_id: str | None = None
    """The campaign that put it first; None: its score did, or a draw."""


class PlacementDecision(NamedTuple):
    """The items of one placement."""

    name: str
    kind: Kind
    items: list[RankedItem]
    removals: dict[str, int]
    """How many candidates each rule removed."""
    rule: RuleArray = NO_RULES
    """[N], of all items of the kind: the position in `PolicyEngine.rule_ids` of the rule that removed it, or -1."""
    scores: ScoreArray = NO_SCORES
    """[N]: what each item was ranked by."""


class Decision(NamedTuple):
    """The answer for one customer."""

    mode: ServingMode
    missing: tuple[Modality, ...]
    suitability: str
    """`valid`, `expired` or `missing`; `unreadable` where the facts could not be read."""
    language: str
    placements: list[PlacementDecision]
