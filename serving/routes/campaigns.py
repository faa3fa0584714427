"""Campaigns: brief, preview, plan, copy, approval, launch, results. The studio's pages call the same workshop."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, ParamSpec, TypeVar

from fastapi import APIRouter, Header, Path, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from recsys.campaigns.report_files import as_dict
from recsys.campaigns.waterfall import SMALL, masked
from recsys.errors import RecsysError
from serving.campaigns.bank import NoBankError
from serving.campaigns.briefs import BriefFinding, InvalidBriefError, shown
from serving.campaigns.desk import CampaignStatus
from serving.campaigns.workshop import CheckedVariant, NoPlanError, Workshop
from serving.dependencies import CampaignApprover, CampaignReader, CampaignStopper, CampaignWriter, ServicesDep
from serving.problems import RETRY_AFTER_SECONDS, Finding, ProblemError, problem_responses
from serving.schemas import Identifier
from serving.schemas_campaigns import (
    ActionIn,
    BriefJson,
    CampaignDetail,
    CampaignList,
    CampaignOut,
    JobOut,
    PlanOut,
    PreviewOut,
    ReportOut,
    StepOut,
    VariantEdit,
    VariantList,
    VariantOut,
    VerdictIn,
)
from serving.store.campaign_drafts import StaleError, Writing
from serving.store.campaign_jobs import Job
from serving.store.campaigns import Campaign, CampaignError, NoCampaignError
from serving.store.database import StoreError

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])
CampaignPath = Annotated[Identifier, Path(examples=["summer-savings"])]
ContentPath = Annotated[Identifier, Path(examples=["v00f3a1c"])]
IfMatch = Annotated[str | None, Header(max_length=100, description="ETag of what is changed")]
P = ParamSpec("P")
T = TypeVar("T")
_ETAG: Final = re.compile(r'^"r(\d{1,9})-\d+"$')
Starting = Literal["validate", "submit", "launch"]
Judging = Literal["approve", "reject"]
Stopping = Literal["pause", "resume", "withdraw"]
PROBLEMS = problem_responses(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.get("", summary="All campaigns", responses=PROBLEMS)
async def list_campaigns(response: Response, principal: CampaignReader, services: ServicesDep) -> CampaignList:
    """The latest first."""
    response.headers["Cache-Control"] = "private, no-store"
    found = await ask(services.workshop.desk.all)
    return CampaignList(campaigns=[CampaignOut(**_values(one)) for one in found])


@router.post("", summary="Write a campaign down", status_code=HTTPStatus.CREATED, responses=PROBLEMS)
async def create_campaign(
    body: BriefJson, response: Response, principal: CampaignWriter, services: ServicesDep
) -> CampaignDetail:
    """A draft of its brief; whoever writes it may not approve it."""
    made = await ask(services.workshop.create, body, principal.subject)
    response.headers["Location"] = f"/v1/campaigns/{made.campaign_id}"
    return await _detail(made.campaign_id, response, services.workshop)


@router.post("/preview", summary="Whom would a brief reach?", responses=PROBLEMS)
async def preview_brief(
    body: BriefJson, response: Response, principal: CampaignReader, services: ServicesDep
) -> PreviewOut:
    """Audience and rules, rule by rule, before any model is asked; nothing is kept."""
    response.headers["Cache-Control"] = "private, no-store"
    found = await ask(services.workshop.preview, body)
    steps = [StepOut(step=one.step, rule=one.rule, removed=masked(one)[0], left=masked(one)[1]) for one in found.steps]
    audience = found.audience if found.audience >= SMALL else None
    return PreviewOut(
        customers=found.customers,
        audience=audience,
        reachable=found.reachable if found.reachable >= SMALL else None,
        judged=None if audience is None else found.judged,
        steps=[] if audience is None else steps,
    )


@router.get("/{campaign_id}", summary="One campaign", responses=PROBLEMS)
async def get_campaign(
    campaign_id: CampaignPath, response: Response, principal: CampaignReader, services: ServicesDep
) -> CampaignDetail:
    """Where it stands, and its brief. `ETag` goes into `If-Match` of a change."""
    return await _detail(campaign_id, response, services.workshop)


@router.put("/{campaign_id}/brief", summary="Change a brief", responses=PROBLEMS)
async def put_brief(
    campaign_id: CampaignPath,
    body: BriefJson,
    response: Response,
    principal: CampaignWriter,
    services: ServicesDep,
    if_match: IfMatch = None,
) -> CampaignDetail:
    """The plan, the copy and an approval that were of the old brief are void."""
    await ask(services.workshop.save_brief, campaign_id, body, principal.subject, _revision(if_match))
    return await _detail(campaign_id, response, services.workshop)


@router.post("/{campaign_id}/plan", summary="Plan it", status_code=HTTPStatus.ACCEPTED, responses=PROBLEMS)
async def plan_campaign(
    campaign_id: CampaignPath, response: Response, principal: CampaignWriter, services: ServicesDep
) -> JobOut:
    """In a process beside the server; ask `Location` how far it is."""
    job = await ask(services.workshop.plan, campaign_id, principal.subject)
    response.headers["Location"] = f"/v1/campaigns/{campaign_id}/job"
    return _job(job)


@router.get("/{campaign_id}/plan", summary="What the plan says", responses=PROBLEMS)
async def get_plan(
    campaign_id: CampaignPath, response: Response, principal: CampaignReader, services: ServicesDep
) -> PlanOut:
    """Waterfall, totals, prices of limits, power, fairness."""
    response.headers["Cache-Control"] = "private, no-store"
    return PlanOut(plan=await ask(_summary, services.workshop, campaign_id))


@router.get("/{campaign_id}/job", summary="How far planning is", responses=PROBLEMS)
async def get_job(
    campaign_id: CampaignPath, response: Response, principal: CampaignReader, services: ServicesDep
) -> JobOut:
    """The last plan that was asked for."""
    response.headers["Cache-Control"] = "private, no-store"
    job = await ask(services.workshop.job, campaign_id)
    if job is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"nobody has asked for a plan of {campaign_id}")
    return _job(job)


@router.delete("/{campaign_id}/job", summary="Stop planning", responses=PROBLEMS)
async def cancel_job(campaign_id: CampaignPath, principal: CampaignWriter, services: ServicesDep) -> JobOut:
    """The process notices within a second, and leaves nothing behind."""
    job = await ask(services.workshop.job, campaign_id)
    if job is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"nobody has asked for a plan of {campaign_id}")
    return _job(await ask(services.workshop.cancel_job, campaign_id, job.job_id))


@router.get("/{campaign_id}/variants", summary="Its copy and pictures", responses=PROBLEMS)
async def list_variants(
    campaign_id: CampaignPath, response: Response, principal: CampaignReader, services: ServicesDep
) -> VariantList:
    """Each with what the fact guard says of it."""
    response.headers["Cache-Control"] = "private, no-store"
    await ask(services.workshop.desk.get, campaign_id)
    found = await ask(services.workshop.variants, campaign_id)
    return VariantList(variants=[_variant(campaign_id, one) for one in found])


@router.put("/{campaign_id}/variants/{content_id}", summary="Change the words of a variant", responses=PROBLEMS)
async def put_variant(
    campaign_id: CampaignPath,
    content_id: ContentPath,
    body: VariantEdit,
    response: Response,
    principal: CampaignWriter,
    services: ServicesDep,
) -> CampaignDetail:
    """An approval is void; the editor may not approve it."""
    workshop = services.workshop
    words = body.model_dump(exclude={"seen"})
    writing = Writing(principal.subject, workshop.clock())
    await ask(workshop.edit, campaign_id, content_id, words, body.seen, writing)
    return await _detail(campaign_id, response, workshop)


@router.put("/{campaign_id}/variants/{content_id}/verdict", summary="Judge one variant", responses=PROBLEMS)
async def put_verdict(
    campaign_id: CampaignPath,
    content_id: ContentPath,
    body: VerdictIn,
    response: Response,
    principal: CampaignApprover,
    services: ServicesDep,
) -> CampaignDetail:
    """Of a submitted campaign. One rejected variant keeps the campaign from being approved."""
    workshop = services.workshop
    writing = Writing(principal.subject, workshop.clock())
    await ask(workshop.judge, campaign_id, content_id, body.verdict, body.note, writing)
    return await _detail(campaign_id, response, workshop)


@router.get(
    "/{campaign_id}/images/{name}",
    summary="A picture",
    response_class=FileResponse,
    responses={**PROBLEMS, 200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The picture"}},
)
async def get_image(
    campaign_id: CampaignPath, name: Identifier, principal: CampaignReader, services: ServicesDep
) -> Response:
    """As it will be sent; what a machine made says so in sight."""
    file = await ask(services.workshop.picture, campaign_id, name)
    return FileResponse(file, headers={"Cache-Control": "private, max-age=3600"})


@router.post("/{campaign_id}/{action}", summary="Validate, submit or launch", responses=PROBLEMS)
async def start_campaign(
    campaign_id: CampaignPath,
    action: Starting,
    response: Response,
    principal: CampaignWriter,
    services: ServicesDep,
) -> CampaignDetail:
    """validate: every variant past the fact guard; submit: for approval; launch: schedule what was approved."""
    workshop, by = services.workshop, principal.subject
    writing = Writing(by, workshop.clock())
    if action == "launch":
        await ask(workshop.launch, campaign_id, by)
    elif action == "submit":
        await ask(workshop.submit, campaign_id, writing)
    elif failing := await ask(workshop.validate, campaign_id, writing):
        findings = [Finding(pointer=f"/variants/{name}", detail="; ".join(why)) for name, why in failing.items()]
        raise ProblemError(HTTPStatus.CONFLICT, f"{len(failing)} variant(s) fail", findings=findings)
    return await _detail(campaign_id, response, workshop)


@router.post("/{campaign_id}/verdict/{action}", summary="Approve or reject a campaign", responses=PROBLEMS)
async def judge_campaign(
    campaign_id: CampaignPath,
    action: Judging,
    body: ActionIn,
    response: Response,
    principal: CampaignApprover,
    services: ServicesDep,
) -> CampaignDetail:
    """By somebody who has no hand in it. Of two at once one wins, and the other is told who was first."""
    workshop, by = services.workshop, principal.subject
    if action == "approve":
        if body.digest is None:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "digest: say what you looked at")
        await ask(workshop.approve, campaign_id, by, body.digest)
    else:
        await ask(workshop.desk.reject, campaign_id, by, body.note)
    return await _detail(campaign_id, response, workshop)


@router.post("/{campaign_id}/sending/{action}", summary="Pause, resume or withdraw", responses=PROBLEMS)
async def stop_campaign(
    campaign_id: CampaignPath,
    action: Stopping,
    response: Response,
    principal: CampaignStopper,
    services: ServicesDep,
) -> CampaignDetail:
    """What is unsent stops at once."""
    desk = services.workshop.desk
    moves = {"pause": desk.pause, "resume": desk.resume, "withdraw": desk.withdraw}
    await ask(moves[action], campaign_id, principal.subject)
    return await _detail(campaign_id, response, services.workshop)


@router.get("/{campaign_id}/report", summary="What it changed", responses=PROBLEMS)
async def get_report(
    campaign_id: CampaignPath, response: Response, principal: CampaignReader, services: ServicesDep
) -> ReportOut:
    """Lift against the holdout with 95 % intervals, funnel, cost, by segment, channel and creative."""
    response.headers["Cache-Control"] = "private, no-store"
    return ReportOut(report=as_dict(await ask(services.workshop.report, campaign_id)))


async def ask(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the workshop answers, from a thread; its errors as problems.

    Raises:
        ProblemError: 404, 409, 412, 422 or 503.
    """
    try:
        return await run_in_threadpool(function, *args, **kwargs)
    except InvalidBriefError as error:
        findings = [Finding(pointer=_pointer(one), detail=one.detail) for one in error.findings]
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), findings=findings) from error
    except (NoCampaignError, NoPlanError) as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error)) from error
    except StaleError as error:
        raise ProblemError(HTTPStatus.PRECONDITION_FAILED, str(error)) from error
    except (CampaignError, NoBankError) as error:
        raise ProblemError(HTTPStatus.CONFLICT, str(error)) from error
    except RecsysError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except StoreError as error:
        retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer", retry) from error


async def _detail(campaign_id: str, response: Response, workshop: Workshop) -> CampaignDetail:
    found = await ask(workshop.desk.get, campaign_id)
    response.headers["ETag"] = etag(found.campaign)
    response.headers["Cache-Control"] = "private, no-store"
    brief = None if found.campaign.brief is None else shown(found.campaign.brief)
    return CampaignDetail(**_values(found), brief=brief)


def etag(campaign: Campaign) -> str:
    """Changes with everything that can be changed; holds the revision."""
    return f'"r{campaign.revision}-{int(campaign.changed_at.timestamp() * 1_000_000)}"'


def _revision(if_match: str | None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    match = _ETAG.match(if_match)
    if match is None:
        raise ProblemError(HTTPStatus.PRECONDITION_FAILED, "If-Match is no ETag of this campaign")
    return int(match[1])


def _values(status: CampaignStatus) -> dict[str, Any]:
    campaign = status.campaign
    taken = ("campaign_id", "state", "author", "approver", "starts_at", "ends_at", "changed_by", "changed_at", "note")
    values = {name: getattr(campaign, name) for name in (*taken, "revision")}
    messages = {state: sum(reasons.values()) for state, reasons in status.messages.items()}
    name = campaign.plan.get("name", campaign.campaign_id)
    return {**values, "name": name, "digest": campaign.digest or None, "messages": messages}


def _job(job: Job) -> JobOut:
    return JobOut(**{name: value for name, value in job._asdict().items() if name in JobOut.model_fields})


def _variant(campaign_id: str, variant: CheckedVariant) -> VariantOut:
    stored, copy = variant.stored, variant.stored.copy
    words = {name: copy.get(name) for name in VariantOut.model_fields if name in copy}
    image = copy.get("image")
    place = None if image is None else f"/v1/campaigns/{campaign_id}/images/{image}"
    said = {"image": place, "edited_by": stored.edited_by, "verdict": stored.verdict, "note": stored.note}
    return VariantOut.model_validate({**words, **said, "findings": list(variant.findings)})


def _summary(workshop: Workshop, campaign_id: str) -> dict[str, Any]:
    return workshop.plan_summary(workshop.desk.get(campaign_id).campaign)


def _pointer(finding: BriefFinding) -> str:
    return "/body" + "".join(f"/{part}" for part in finding.place.split(".") if part)
