"""The variants of a campaign, side by side: looked at, changed, judged."""

from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse

from serving.campaigns.workshop import EDITABLE, CheckedVariant, Workshop
from serving.schemas import Identifier
from serving.store.campaign_drafts import CHANGEABLE, Writing
from serving.web.studio.session import FormDep, Staff, StaffDep
from serving.web.studio.views import Failure, WorkshopDep, go, must, require_role, show, try_to

router = APIRouter(prefix="/studio", include_in_schema=False)
CampaignPath = Annotated[Identifier, Path()]
ContentPath = Annotated[Identifier, Path()]
Filter = Annotated[str, Query(max_length=128)]
Deed = Literal["edit", "drop", "approve", "reject"]
_FIRST: Final = ("headline", "body", "cta")


class Cell(NamedTuple):
    """The variants for one segment on one channel in one language."""

    segment: str
    channel: str
    language: str
    variants: list[CheckedVariant]


@router.get("/campaigns/{campaign_id}/variants")
async def variants(
    request: Request,
    campaign_id: CampaignPath,
    staff: StaffDep,
    workshop: WorkshopDep,
    product: Filter = "",
    only: Literal["", "failing", "rejected", "edited"] = "",
) -> Response:
    """Copy and pictures of one product, by segment and channel."""
    return await _page(request, campaign_id, staff, workshop, (product, only))


@router.post("/campaigns/{campaign_id}/variants/{content_id}/{deed}")
async def do(
    request: Request,
    campaign_id: CampaignPath,
    content_id: ContentPath,
    deed: Deed,
    staff: StaffDep,
    form: FormDep,
    workshop: WorkshopDep,
) -> Response:
    """Changes or judges one variant."""
    require_role(staff.writes if deed in ("edit", "drop") else staff.approves)
    writing = Writing(staff.subject, workshop.clock())
    chosen = (form.one("product"), form.one("only"))
    if deed == "edit":
        words = {name: form.one(name) for name in _FIRST}
        done: Any = await try_to(request, workshop.edit, campaign_id, content_id, words, form.one("seen"), writing)
    elif deed == "drop":
        done = await try_to(request, workshop.drafts.drop, campaign_id, content_id, writing)
    else:
        verdict = "approved" if deed == "approve" else "rejected"
        done = await try_to(request, workshop.judge, campaign_id, content_id, verdict, form.one("note"), writing)
    if isinstance(done, Failure):
        return await _page(request, campaign_id, staff, workshop, chosen, done)
    place = f"/studio/campaigns/{campaign_id}/variants?product={chosen[0]}&only={chosen[1]}&done={deed}#{content_id}"
    return go(place)


@router.get("/campaigns/{campaign_id}/images/{name}")
async def picture(
    request: Request, campaign_id: CampaignPath, name: Identifier, staff: StaffDep, workshop: WorkshopDep
) -> Response:
    """A picture of a variant."""
    file = await must(request, workshop.picture, campaign_id, name)
    return FileResponse(file, headers={"Cache-Control": "private, max-age=600"})


async def _page(
    request: Request,
    campaign_id: str,
    staff: Staff,
    workshop: Workshop,
    chosen: tuple[str, str],
    failure: Failure | None = None,
) -> Response:
    found = await must(request, workshop.desk.get, campaign_id)
    every = await must(request, workshop.variants, campaign_id)
    names = {one.product_id: one.name for one in (await must(request, workshop.bank.open)).products.values()}
    products = sorted({one.stored.copy["product_id"] for one in every})
    product = chosen[0] if chosen[0] in products else (products[0] if products else "")
    kept = [one for one in every if one.stored.copy["product_id"] == product and _fits(one, chosen[1])]
    return show(
        request,
        staff,
        "variants.html",
        status=HTTPStatus.OK if failure is None else failure.status,
        failure=failure,
        campaign=found.campaign,
        tab="variants",
        products=[(name, names.get(name, name)) for name in products],
        product=product,
        only=chosen[1],
        cells=_cells(kept),
        failing=sum(bool(one.findings) for one in every),
        total=len(every),
        editable=staff.writes and found.campaign.state in CHANGEABLE,
        judging=staff.approves and found.campaign.state == "submitted",
        words=EDITABLE,
    )


def _cells(variants: Sequence[CheckedVariant]) -> list[Cell]:
    found: dict[tuple[str, str, str], list[CheckedVariant]] = defaultdict(list)
    for one in variants:
        copy = one.stored.copy
        found[copy.get("segment") or "", copy.get("channel") or "", copy.get("language") or ""].append(one)
    return [Cell(*key, rows) for key, rows in sorted(found.items())]


def _fits(variant: CheckedVariant, only: str) -> bool:
    stored = variant.stored
    tests = {
        "failing": bool(variant.findings),
        "rejected": stored.verdict == "rejected",
        "edited": bool(stored.edited_by),
    }
    return tests.get(only, True)
