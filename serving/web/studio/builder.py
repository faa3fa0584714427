"""The brief builder: a form and a YAML editor over one brief, and whom it would reach, as it is written."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final, NamedTuple

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from recsys.campaigns.audience import OPERATORS
from recsys.campaigns.brief import Brief
from recsys.campaigns.waterfall import SMALL
from recsys.policy.facts import primary
from serving.campaigns.briefs import as_yaml, read_yaml
from serving.campaigns.workshop import Workshop
from serving.schemas import Identifier
from serving.web.studio.forms import CELLS, channels_of, conditions_of, values_of
from serving.web.studio.scales import waterfall_bars
from serving.web.studio.session import Form, FormDep, Staff, StaffDep
from serving.web.studio.views import Failure, WorkshopDep, go, must, require_role, show, try_to

router = APIRouter(prefix="/studio", include_in_schema=False)
CampaignPath = Annotated[Identifier, Path()]
_NO_CELL: Final[Mapping[str, Any]] = {"segment": "", "channel": "", "minimum": None, "maximum": None}
_WEEK: Final = timedelta(days=7)


class Choices(NamedTuple):
    """What a brief of this bank can name."""

    products: list[tuple[str, str, str]]
    """Id, name, category."""
    categories: list[str]
    channels: list[str]
    languages: list[str]
    tones: list[str]
    segments: list[str]
    fields: list[str]
    operators: tuple[str, ...]


@router.get("/new")
async def new(request: Request, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """An empty brief, with what most campaigns have."""
    require_role(staff.writes)
    return await _page(request, staff, workshop, await must(request, _proposal, workshop))


@router.post("/new")
async def create(request: Request, staff: StaffDep, form: FormDep, workshop: WorkshopDep) -> Response:
    """Writes a campaign down."""
    require_role(staff.writes)
    values = await try_to(request, _read, form)
    made = values if isinstance(values, Failure) else await try_to(request, workshop.create, values, staff.subject)
    if isinstance(made, Failure):
        return await _page(request, staff, workshop, _again(values), failure=made, text=form.one("yaml"))
    return go(f"/studio/campaigns/{made.campaign_id}", "created")


@router.get("/campaigns/{campaign_id}/brief")
async def edit(request: Request, campaign_id: CampaignPath, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """The brief of a campaign."""
    found = await must(request, workshop.desk.get, campaign_id)
    return await _page(request, staff, workshop, found.campaign.brief or {}, campaign=found.campaign)


@router.post("/campaigns/{campaign_id}/brief")
async def save(
    request: Request, campaign_id: CampaignPath, staff: StaffDep, form: FormDep, workshop: WorkshopDep
) -> Response:
    """Changes it; what was planned and approved is void."""
    require_role(staff.writes)
    found = await must(request, workshop.desk.get, campaign_id)
    values = await try_to(request, _read, form)
    revision = int(form.one("revision")) if form.one("revision").isdecimal() else None
    if not isinstance(values, Failure):
        saved = await try_to(request, workshop.save_brief, campaign_id, values, staff.subject, revision)
        if not isinstance(saved, Failure):
            return go(f"/studio/campaigns/{campaign_id}", "saved")
    else:
        saved = values
    return await _page(
        request, staff, workshop, _again(values), failure=saved, campaign=found.campaign, text=form.one("yaml")
    )


@router.post("/preview")
async def preview(request: Request, staff: StaffDep, form: FormDep, workshop: WorkshopDep) -> Response:
    """Whom the brief in the form would reach: a piece of page."""
    values = await try_to(request, _read, form)
    found = values if isinstance(values, Failure) else await try_to(request, workshop.preview, values)
    if isinstance(found, Failure):
        return show(request, staff, "preview.html", failure=found, preview=None, bars=[], small=SMALL)
    bars = waterfall_bars([step._asdict() for step in found.steps])
    return show(request, staff, "preview.html", preview=found, bars=bars, small=SMALL)


def _read(form: Form) -> dict[str, Any]:
    return read_yaml(form.one("yaml")) if form.one("kind") == "yaml" else values_of(form)


def _again(values: dict[str, Any] | Failure) -> dict[str, Any]:
    """What the form shows again: what was filled in."""
    return {} if isinstance(values, Failure) else values


async def _page(request: Request, staff: Staff, workshop: Workshop, values: Mapping[str, Any], **more: Any) -> Response:
    failure: Failure | None = more.get("failure")
    text = more.pop("text", "") or await run_in_threadpool(as_yaml, values)
    return show(
        request,
        staff,
        "brief.html",
        status=HTTPStatus.OK if failure is None else failure.status,
        brief={**dict.fromkeys(Brief.model_fields), **values},
        audience=conditions_of(values.get("audience")),
        chosen=channels_of(values),
        cells=_cells(values),
        choices=await must(request, _choices, workshop),
        as_of=(await must(request, workshop.bank.open)).customers.as_of,
        errors={} if failure is None else failure.fields,
        yaml=text,
        tab="brief",
        **more,
    )


def _choices(workshop: Workshop) -> Choices:
    bank = workshop.bank.open()
    contents = bank.customers.contents
    policy = bank.customers.policy.pack

    def said(column: str) -> list[str]:
        return sorted(set(contents[column].drop_nulls().to_list())) if column in contents.columns else []

    products = sorted(bank.products.values(), key=lambda one: (one.category, one.name))
    return Choices(
        products=[(one.product_id, one.name, one.category) for one in products],
        categories=sorted({one.category for one in products}),
        channels=sorted({*said("channel"), *policy.pushed_channels}),
        languages=sorted({primary(tag) for tag in said("language")} - {""}) or ["en"],
        tones=said("tone"),
        segments=workshop.bank.segments(),
        fields=bank.customers.fields().names(),
        operators=OPERATORS,
    )


def _proposal(workshop: Workshop) -> dict[str, Any]:
    """What a new brief begins with."""
    bank = workshop.bank.open()
    start = (max(bank.customers.as_of, workshop.clock()) + timedelta(days=2)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return {
        "campaign_id": "",
        "name": "",
        "objective": "acquire",
        "products": "engine",
        "audience": "everyone",
        "channels": [{"channel": "email", "cost_per_contact": 0.05}],
        "budget": 25.0,
        "starts": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "ends": f"{start + _WEEK:%Y-%m-%dT%H:%M:%SZ}",
        "send_hour": 10,
        "languages": _choices(workshop).languages[:1],
        "limits": {"per_customer": 1, "per_category": 1},
        "holdout": {"global_share": 0.02, "campaign_share": 0.1},
    }


def _cells(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    limits = values.get("limits")
    cells = list(limits.get("cells") or []) if isinstance(limits, Mapping) else []
    cells = [{**_NO_CELL, **cell} for cell in cells if isinstance(cell, Mapping)]
    return [*cells, *(_NO_CELL for _ in range(max(1, CELLS - len(cells))))]
