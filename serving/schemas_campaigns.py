"""What the routes of campaigns take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from serving.schemas import WireModel

Note = Annotated[str, Field(max_length=1_000)]
BriefJson = Annotated[
    dict[str, JsonValue],
    Field(
        description="A brief, as `recsys campaign example` explains it; without `salt` the bank's own is taken",
        examples=[
            {
                "campaign_id": "summer-savings",
                "name": "Summer savings",
                "products": "engine",
                "categories": ["savings"],
                "audience": {"field": "segment", "in": ["mass"]},
                "channels": [{"channel": "email", "cost_per_contact": 0.05}],
                "budget": 25.0,
                "starts": "2026-07-02T00:00:00Z",
                "ends": "2026-07-09T00:00:00Z",
                "languages": ["en"],
            }
        ],
    ),
]


class CampaignOut(WireModel):
    """A campaign as it stands."""

    campaign_id: str
    name: str
    state: str
    author: str
    approver: str | None
    starts_at: datetime | None
    ends_at: datetime
    changed_by: str
    changed_at: datetime
    note: str | None = Field(description="Why it was rejected")
    revision: int = Field(description="Rises with every change of brief or copy; the ETag")
    digest: str | None = Field(description="Of who gets what in which words: what an approval is of")
    messages: dict[str, int] = Field(description="How many messages stand where")


class CampaignDetail(CampaignOut):
    """A campaign with its brief."""

    brief: dict[str, JsonValue] | None = Field(description="Without its salt; null: handed in as a plan's directory")


class CampaignList(WireModel):
    """All campaigns, the latest first."""

    campaigns: list[CampaignOut]


class StepOut(WireModel):
    """One rule of a waterfall; counts below 10 are masked."""

    step: str
    rule: str
    removed: str = Field(examples=["1,204", "<10"])
    left: str = Field(examples=["3,480"])


class PreviewOut(WireModel):
    """Whom a brief would reach."""

    customers: int = Field(description="Of the bank")
    audience: int | None = Field(description="Null: fewer than 10")
    reachable: int | None = Field(description="Who could be contacted; null: fewer than 10")
    judged: int | None = Field(description="Whom the rules were asked about: the steps are of these")
    steps: list[StepOut]


class JobOut(WireModel):
    """A plan in the making."""

    job_id: str
    campaign_id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    step: str | None
    done: int
    total: int
    message: str | None = Field(description="Why it failed")
    created_by: str
    created_at: datetime
    finished_at: datetime | None


class VariantOut(WireModel):
    """A variant of copy."""

    content_id: str
    product_id: str
    segment: str | None
    channel: str | None
    language: str | None
    tone: str | None
    headline: str | None
    body: str | None
    cta: str | None
    disclaimer: str | None
    opt_out: str | None
    image: str | None = Field(description="Its path in this API")
    machine_made: bool
    content_hash: str
    edited_by: str | None
    verdict: str | None
    note: str | None
    findings: list[str] = Field(description="What the fact guard says; empty: it may be sent")


class VariantList(WireModel):
    """The variants of a campaign."""

    variants: list[VariantOut]


class VariantEdit(WireModel):
    """Other words for a variant."""

    seen: str = Field(max_length=64, description="`content_hash` of what was changed")
    headline: Annotated[str, Field(max_length=2_000)]
    body: Annotated[str, Field(max_length=2_000)]
    cta: Annotated[str, Field(max_length=2_000)]


class VerdictIn(WireModel):
    """What is said of one variant."""

    verdict: Literal["approved", "rejected"]
    note: Note = ""


class ActionIn(WireModel):
    """What an action needs."""

    digest: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="To approve: of what was looked at"
    )
    note: Note = Field(default="", description="To reject: why")


class PlanOut(WireModel):
    """What a plan says: plan.json without salt and seed."""

    plan: dict[str, Any]


class ReportOut(WireModel):
    """What a campaign changed."""

    report: dict[str, Any]
