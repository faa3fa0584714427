"""The list and the calendar of campaigns, and the page of one: where it stands, and what can be done with it."""

from collections import Counter
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from recsys.campaigns.brief import Brief
from serving.campaigns.desk import CampaignStatus
from serving.campaigns.workshop import Workshop
from serving.schemas import Identifier
from serving.store.campaign_acts import acts_of
from serving.store.campaign_drafts import Writing
from serving.store.campaign_states import CampaignState
from serving.web.studio.months import chosen_month, month_of
from serving.web.studio.scales import count_bars
from serving.web.studio.session import FormDep, Staff, StaffDep
from serving.web.studio.views import PATH, Failure, WorkshopDep, go, has_plan, must, require_role, show, try_to

router = APIRouter(prefix="/studio", include_in_schema=False)
CampaignPath = Annotated[Identifier, Path()]
Action = Literal[
    "validate", "submit", "approve", "reject", "launch", "pause", "resume", "withdraw", "plan", "cancel-plan"
]
_BY_WRITER: Final = frozenset({"validate", "submit", "launch", "plan", "cancel-plan"})
_BY_APPROVER: Final = frozenset({"approve", "reject"})
_WRITABLE: Final = ("draft", "generated", "validated", "rejected")
SHOWN_ACTS: Final = 30


@router.get("")
async def campaigns(
    request: Request,
    staff: StaffDep,
    workshop: WorkshopDep,
    view: Annotated[Literal["list", "calendar"], Query()] = "list",
    month: Annotated[str, Query(max_length=7)] = "",
) -> Response:
    """All campaigns, as a list or in a month."""
    found = await must(request, workshop.desk.all)
    every = [one.campaign for one in found]
    first = chosen_month(month, every, workshop.clock().date())
    return show(
        request,
        staff,
        "campaigns.html",
        view=view,
        rows=[(one.campaign, _totals(one)) for one in found],
        month=month_of(every, first),
        states=Counter(one.state for one in every),
    )


@router.get("/campaigns/{campaign_id}")
async def campaign(request: Request, campaign_id: CampaignPath, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """One campaign."""
    return await page_of(request, campaign_id, staff, workshop)


@router.post("/campaigns/{campaign_id}/{action}")
async def act(
    request: Request, campaign_id: CampaignPath, action: Action, staff: StaffDep, form: FormDep, workshop: WorkshopDep
) -> Response:
    """Moves a campaign on; what keeps it from that is said on its page."""
    if action in _BY_WRITER:
        require_role(staff.writes)
    elif action in _BY_APPROVER:
        require_role(staff.approves)
    else:
        require_role(staff.writes or staff.approves)
    done = await try_to(
        request, _do, workshop, campaign_id, action, staff.subject, form.one("digest"), form.one("note")
    )
    if isinstance(done, Failure):
        return await page_of(request, campaign_id, staff, workshop, done)
    place = f"/studio/campaigns/{campaign_id}"
    return go(f"{place}/plan" if action in ("plan", "cancel-plan") else place, action)


async def page_of(
    request: Request, campaign_id: str, staff: Staff, workshop: Workshop, failure: Failure | None = None
) -> Response:
    """The page of a campaign, with what went wrong."""
    found = await must(request, workshop.desk.get, campaign_id)
    past = await must(request, acts_of, workshop.desk.store, campaign_id)
    one = found.campaign
    job = await must(request, workshop.job, campaign_id)
    return show(
        request,
        staff,
        "campaign.html",
        status=HTTPStatus.OK if failure is None else failure.status,
        failure=failure,
        campaign=one,
        tab="overview",
        actions=_actions(one.state, staff, has_plan(one)),
        path=PATH,
        reached=PATH.index(one.state) if one.state in PATH else -1,
        brief=None if one.brief is None else Brief.model_validate(one.brief),
        messages=count_bars(_totals(found), keep_small=True),
        reasons=_reasons(found),
        acts=past[:SHOWN_ACTS],
        job=job,
        planned=has_plan(one),
    )


def _do(workshop: Workshop, campaign_id: str, action: str, by: str, digest: str, note: str) -> Any:
    """Does one action."""
    writing = Writing(by, workshop.clock())
    desk = workshop.desk
    if action == "validate":
        return _validated(workshop, campaign_id, writing)
    if action == "cancel-plan":
        job = workshop.job(campaign_id)
        return None if job is None else workshop.cancel_job(campaign_id, job.job_id)
    does = {
        "plan": lambda: workshop.plan(campaign_id, by),
        "submit": lambda: workshop.submit(campaign_id, writing),
        "approve": lambda: workshop.approve(campaign_id, by, digest),
        "reject": lambda: desk.reject(campaign_id, by, note),
        "launch": lambda: workshop.launch(campaign_id, by),
        "pause": lambda: desk.pause(campaign_id, by),
        "resume": lambda: desk.resume(campaign_id, by),
        "withdraw": lambda: desk.withdraw(campaign_id, by),
    }
    return does[action]()


def _validated(workshop: Workshop, campaign_id: str, writing: Writing) -> None:
    workshop.plan_folder(workshop.desk.get(campaign_id).campaign)
    workshop.require_valid(workshop.validate(campaign_id, writing))


def _actions(state: str, staff: Staff, planned: bool) -> list[str]:
    """What somebody of a role can do now, the most likely first."""
    found = []
    if staff.writes:
        if state == CampaignState.DRAFT or (state in _WRITABLE and not planned):
            found.append("plan")
        elif state in (CampaignState.GENERATED, CampaignState.REJECTED):
            found += ["validate", "plan"]
        elif state == CampaignState.VALIDATED:
            found += ["submit", "plan"]
        elif state == CampaignState.APPROVED:
            found.append("launch")
    if staff.approves and state == CampaignState.SUBMITTED:
        found += ["approve", "reject"]
    if staff.writes or staff.approves:
        if state in (CampaignState.SCHEDULED, CampaignState.SENDING):
            found.append("pause")
        if state == CampaignState.PAUSED:
            found.append("resume")
        if state not in (CampaignState.COMPLETED, CampaignState.WITHDRAWN):
            found.append("withdraw")
    return found


def _totals(status: CampaignStatus) -> dict[str, int]:
    return {state: sum(reasons.values()) for state, reasons in status.messages.items()}


def _reasons(status: CampaignStatus) -> list[tuple[str, str, int]]:
    """Why messages were dropped or put off."""
    found = [
        (state, reason, count)
        for state, reasons in status.messages.items()
        for reason, count in reasons.items()
        if reason
    ]
    return sorted(found, key=lambda row: -row[2])
