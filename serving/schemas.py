"""What goes over the wire."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from recsys.schema import CONSENT_PURPOSES, Kind, Modality, ServingMode

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id: no control characters, so that it can go into a log or a header."""
Purpose = Literal[CONSENT_PURPOSES]  # type: ignore[valid-type]
Locale = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")]
UNRECORDED: Final = "unrecorded"
MAX_PLACEMENTS = 10
MAX_LIMIT = 50
MAX_EVENTS = 500
MAX_CONSENTS = 50


class WireModel(BaseModel):
    """The base: an unknown key is refused, for it is a misspelt one."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PlacementIn(WireModel):
    """One place on the screen."""

    name: Identifier = Field(examples=["home_top"])
    kind: Kind = Field(description="What is shown there", examples=["products"])
    limit: int = Field(default=5, ge=1, le=MAX_LIMIT, description="At most so many items", examples=[3])


class RecommendationRequest(WireModel):
    """What to recommend, to whom, where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer_id": "c000001",
                    "placements": [
                        {"name": "home_top", "kind": "products", "limit": 3},
                        {"name": "banner", "kind": "contents", "limit": 1},
                    ],
                    "channel": "app",
                    "locale": "en-GB",
                }
            ]
        }
    )

    customer_id: Identifier | None = Field(
        default=None, description="Whom to recommend to; a customer's own token stands for him where it is left out"
    )
    placements: list[PlacementIn] = Field(min_length=1, max_length=MAX_PLACEMENTS)
    channel: Identifier | None = Field(default=None, description="Where it will be shown")
    locale: Locale | None = Field(default=None, description="Language of creatives and reasons (BCP 47)")

    @model_validator(mode="after")
    def _check_names(self) -> "RecommendationRequest":
        names = [placement.name for placement in self.placements]
        if len(set(names)) < len(names):
            raise ValueError("placements must have different names")
        return self


class EvidenceOut(WireModel):
    """What of the customer's own data a reason points to."""

    view: str = Field(description="The feature view", examples=["customer_history"])
    feature: str = Field(description="Its column; empty: the whole view", examples=["product_ids"])
    value: str = Field(
        description="What entries of that column are about: a product's id or a creative's tone; empty: all of it",
        examples=["p0007"],
    )


class ReasonOut(WireModel):
    """Why an item is shown."""

    code: str = Field(description="Stable, for the app's own words", examples=["HISTORY_SIMILAR"])
    text: str = Field(description="In the language that was served", examples=["Similar to what you used: Day Saver"])
    evidence: EvidenceOut | None = Field(
        default=None, description="Without it the item's score would be lower; none where it is nothing of his"
    )


class ItemOut(WireModel):
    """An item at its place."""

    rank: int = Field(ge=1)
    product_id: str
    content_id: str | None
    title: str
    score: float | None = Field(description="Comparable within one answer only")
    reasons: list[ReasonOut]
    tracking_token: str = Field(description="Send it back with every event on this item")
    campaign_id: str | None = Field(default=None, description="The campaign that put it first; none: its score did")


class PlacementOut(WireModel):
    """The items of one placement."""

    name: str
    items: list[ItemOut]
    removed_count: int = Field(ge=0, description="Candidates that the policy removed")
    next_cursor: str | None = Field(
        default=None,
        description="For `GET /v1/decisions/{decision_id}/items`: more of this ranking; none where there is no more",
    )


class Versions(WireModel):
    """What the answer was made with."""

    model: str
    policy: str
    features: str


EXAMPLE_ANSWER: Final[dict[str, Any]] = {
    "request_id": "b3b0c3fcd0b84a4ea2f0b2a1b7ad1c52",
    "decision_id": "5f0c6d6e7c1e4ac7a3cf4b6f4b3f2a10",
    "mode": "personalised",
    "missing_modalities": [],
    "suitability": "valid",
    "locale_served": "en",
    "versions": {"model": "b433d3acee9e@1", "policy": "bank@2026.1", "features": "8d34350dd29463d2"},
    "generated_at": "2026-05-04T09:30:00Z",
    "placements": [
        {
            "name": "banner",
            "items": [
                {
                    "rank": 1,
                    "product_id": "p0075",
                    "content_id": "a00175",
                    "title": "Put your money to work. No drama",
                    "score": 3.063,
                    "reasons": [{"code": "IMAGE", "text": "Because of pictures that you liked"}],
                    "tracking_token": "Dh50t_lzJFzq",
                }
            ],
            "removed_count": 8,
            "next_cursor": "kTr3x0yLq1",
        }
    ],
}


class RecommendationResponse(WireModel):
    """The answer. No product and no creative is in it twice."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ANSWER]})

    request_id: str
    decision_id: str
    mode: ServingMode = Field(description="How much was known of the customer")
    missing_modalities: list[Modality] = Field(description="What was not known (mode `partial`)")
    suitability: Literal["valid", "expired", "missing", "unreadable"] = Field(
        description="State of the risk assessment: unless valid, no investment product is shown, and the next step is "
        "to take the assessment again"
    )
    locale_served: str
    versions: Versions
    generated_at: datetime
    notice: Literal["unrecorded"] | None = Field(
        default=None, description="Why nothing is shown: `unrecorded` where no decision can be logged; ask again later"
    )
    placements: list[PlacementOut]


class PageResponse(WireModel):
    """More of the ranking of one placement. What was shown before is not in it, nor what may not be shown any more."""

    request_id: str
    decision_id: str = Field(description="Of this page: what was shown on it is logged under it")
    page_of: str = Field(description="The decision whose ranking it goes on with")
    mode: ServingMode
    locale_served: str
    versions: Versions
    generated_at: datetime
    notice: Literal["unrecorded"] | None = None
    placement: PlacementOut


class EventIn(WireModel):
    """Something that the customer did."""

    event_id: Identifier = Field(description="Made by the app; sent twice, it counts once", examples=["e-7f3a"])
    customer_id: Identifier
    event_type: Identifier = Field(examples=["click"])
    event_timestamp: AwareDatetime = Field(description="With a time zone", examples=["2026-05-04T09:30:00Z"])
    product_id: Identifier | None = None
    content_id: Identifier | None = None
    channel: Identifier | None = None
    placement: Identifier | None = None
    tracking_token: Annotated[str, StringConstraints(max_length=2048)] | None = None
    value: float | None = Field(default=None, allow_inf_nan=False)


class EventBatch(WireModel):
    """Up to 500 events. A bare list, or a single event, is taken too."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event_id": "e-7f3a",
                            "customer_id": "c000001",
                            "event_type": "click",
                            "event_timestamp": "2026-05-04T09:30:00Z",
                            "product_id": "p0007",
                            "channel": "app",
                            "placement": "home_top",
                        }
                    ]
                }
            ]
        }
    )

    events: list[EventIn] = Field(min_length=1, max_length=MAX_EVENTS)

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"events": value}
        if isinstance(value, dict) and "event_id" in value:
            return {"events": [value]}
        return value


class EventResult(WireModel):
    """What became of one event."""

    event_id: str
    status: Literal["accepted", "duplicate", "rejected", "quarantined"]
    reason: str | None = Field(default=None, description="Why it was rejected or quarantined")


class EventResponse(WireModel):
    """What became of each event, in the order they were sent. Accepted means: durable, and known to the next answer.

    Quarantined means: durable, and without effect until the decision that its tracking token names is known.
    """

    accepted: int
    duplicate: int
    rejected: int
    quarantined: int = 0
    results: list[EventResult]


class ConsentIn(WireModel):
    """One answer of a customer."""

    purpose: Purpose = Field(examples=["profiling"])
    channel: Identifier | None = Field(default=None, description="None: every channel", examples=["email"])
    granted: bool
    given_at: AwareDatetime | None = Field(
        default=None, description="When he said so, where that was earlier than now; never in the future"
    )


class ConsentBatch(WireModel):
    """A customer's answers; each purpose and channel once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"consents": [{"purpose": "profiling", "granted": True}]},
                {"consents": [{"purpose": "marketing", "channel": "email", "granted": False}]},
            ]
        }
    )

    consents: list[ConsentIn] = Field(min_length=1, max_length=MAX_CONSENTS)

    @model_validator(mode="after")
    def _check_twice(self) -> Self:
        keys = [(consent.purpose, consent.channel) for consent in self.consents]
        if len(set(keys)) < len(keys):
            raise ValueError("each purpose and channel may be answered once")
        return self


class ConsentOut(WireModel):
    """What holds now."""

    purpose: str
    channel: str | None
    granted: bool
    given_at: datetime


class ConsentResponse(WireModel):
    """All that the customer answered by now; what is not there is a no."""

    customer_id: str
    consents: list[ConsentOut]


class RuleOut(WireModel):
    """A rule that removes an item."""

    rule: str = Field(examples=["SUIT_RISK"])
    source: str = Field(description="The law, the guideline or the bank's decision behind it")
    effective_from: date


class WhyNotResponse(WireModel):
    """Which rules keep a product from a customer now; none: he may be shown it."""

    customer_id: str
    product_id: str
    policy: str
    suitability: str
    judged_at: datetime
    rules: list[RuleOut]


class ContributionOut(WireModel):
    """What one group adds to the score."""

    group: str = Field(examples=["history"])
    value: float


class ExplainResponse(WireModel):
    """Why a product scores as it does for a customer now."""

    customer_id: str
    product_id: str
    model: str
    policy: str
    mode: ServingMode
    allowed: bool = Field(description="Whether he may be shown it; see why-not")
    explained_at: datetime
    score: float
    average: float = Field(description="Of the products that he may have, and of this one")
    contributions: list[ContributionOut] = Field(
        description="What each modality adds, and `item`: the product's own. They add up to `score - average`"
    )
    ranker: list[ContributionOut] = Field(
        description="The second stage's own account: groups of its features and its `average` add up to `score`; empty "
        "where the towers' order is served"
    )
    reasons: list[ReasonOut] = Field(description="As the customer would read them")


class Health(WireModel):
    """The state of the service."""

    status: Literal["alive", "ready", "unavailable"]
    versions: Versions | None = None
    detail: str | None = None
