"""A decision as the log keeps it: what was asked, what was known, what every rule said, what was shown and why.

The record has nothing in it that says who the customer is, or what is known of him; that is the payload's. Both are
made so that `serving.replay` can decide again from them alone.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from recsys.decisions.answer import Decision, PlacementDecision
from recsys.decisions.explanation import Reason
from recsys.policy.engine import PolicyEngine
from recsys.schema import Kind
from serving.loading import ServedModel
from serving.ranked import pack
from serving.schemas import RecommendationRequest, RecommendationResponse
from serving.store.chain import canonical, digest
from serving.store.decisions import DecisionEntry
from serving.store.facts import CustomerRecord

SALT_BYTES: Final = 16


NOTHING_HELD_BACK: Final[Mapping[Kind, Sequence[str]]] = MappingProxyType({})


class Inputs(NamedTuple):
    """What a decision was made from."""

    customer_id: str
    request: RecommendationRequest
    request_id: str
    facts: CustomerRecord | None
    """None: they could not be read."""
    features: Mapping[str, Any] | None
    """As the model read them; None: he has none, they may not be read, or could not be."""
    now: datetime
    decision_id: str = ""
    """What is tried out is drawn from it, so that a replay draws the same; empty: nothing is tried out."""
    held_back: Mapping[Kind, Sequence[str]] = NOTHING_HELD_BACK
    """The items that changed after the model was assembled: they are not shown until it knows them as they are."""
    cached: bool = False
    """Whether the features were read some time ago, because they could not be read."""
    page_of: str = ""
    """The decision whose ranking this goes on with; empty: it is one of its own."""


class LoggedVersions:
    """The versions of what is served, with digests of what a name alone does not pin down."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self._policy: PolicyEngine | None = None
        self._versions: dict[str, str] = {}

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """What the numbers of removing rules stand for."""
        return self.model.pipeline.policy.rule_ids

    def now(self) -> dict[str, str]:
        """Of the model, and of the policy that is in force; worked out again only when another policy is."""
        policy = self.model.pipeline.policy
        if policy is not self._policy:
            self._policy = policy
            self._versions = {
                "model": self.model.version,
                "features": self.model.schema_hash,
                "catalogue": self.model.catalogue_version,
                "program": metadata.version("recsys"),
                "policy": self.model.policy_version,
                "policy_sha256": policy_digest(policy),
            }
        return self._versions


def policy_digest(policy: PolicyEngine) -> str:
    """sha256 over all rules and settings of a policy."""
    return digest(canonical({"pack": policy.pack.model_dump(mode="json"), "repeatable": policy.repeatable}))


def log_entry(
    decision: Decision, answer: RecommendationResponse, inputs: Inputs, versions: LoggedVersions
) -> DecisionEntry:
    """The entry of one decision."""
    record = {
        "decision_id": answer.decision_id,
        "request_id": answer.request_id,
        "mode": decision.mode,
        "missing": list(decision.missing),
        "suitability": decision.suitability,
        "language": decision.language,
        "cached": inputs.cached,
        "held_back": {str(kind): list(ids) for kind, ids in inputs.held_back.items()},
        "versions": versions.now(),
        "rule_ids": versions.rule_ids,
        "placements": [shown_at(place) for place in decision.placements],
    }
    if inputs.page_of:
        record["page_of"] = inputs.page_of
    payload = {
        "customer_id": inputs.customer_id,
        "salt": secrets.token_hex(SALT_BYTES),
        "request": inputs.request.model_dump(mode="json", exclude={"customer_id"}),
        "facts": None if inputs.facts is None else inputs.facts.to_json(),
        "candidates": {place.name: candidates_of(place) for place in decision.placements},
        "reasons": {place.name: reasons_of(place) for place in decision.placements},
    }
    features = None if inputs.features is None else dict(inputs.features)
    return DecisionEntry.build(record, payload, features, inputs.now)


def shown_at(place: PlacementDecision) -> dict[str, Any]:
    """What was put at a placement, with how many each rule removed."""
    items = [
        {
            "rank": item.rank,
            "product_id": item.product_id,
            "content_id": item.content_id,
            "score": item.score,
            "propensity": item.propensity,
            "reasons": [reason.code for reason in item.reasons],
            **({} if item.campaign_id is None else {"campaign_id": item.campaign_id}),
        }
        for item in place.items
    ]
    return {"name": place.name, "kind": place.kind, "items": items, "removals": place.removals}


def candidates_of(place: PlacementDecision) -> dict[str, Any]:
    """Of every item of the catalogue, in its order: the rule that removed it, and what it was ranked by."""
    return pack(place.rule, place.scores)


def reasons_of(place: PlacementDecision) -> list[list[dict[str, Any]]]:
    """The words that were said to the customer and what they rest on, item by item: they may name what he has."""
    return [[_said(reason) for reason in item.reasons] for item in place.items]


def _said(reason: Reason) -> dict[str, Any]:
    return {"text": reason.text, "evidence": None if reason.evidence is None else reason.evidence._asdict()}
