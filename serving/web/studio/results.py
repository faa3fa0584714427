"""The plan of a campaign, how far planning is, and what the campaign has changed."""

from pathlib import Path as FilePath
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Request, Response

from recsys.campaigns.measurement import Report
from recsys.campaigns.report_files import as_dict
from serving.campaigns.workshop import NoPlanError, Workshop
from serving.schemas import Identifier
from serving.store.campaigns import Campaign
from serving.web.studio.scales import (
    Interval,
    contacts_by,
    contacts_by_day,
    count_bars,
    forest,
    steps_bars,
    waterfall_bars,
)
from serving.web.studio.session import StaffDep
from serving.web.studio.views import Failure, WorkshopDep, must, show, try_to

router = APIRouter(prefix="/studio", include_in_schema=False)
CampaignPath = Annotated[Identifier, Path()]
_BY = ("channel", "product_id", "segment")


@router.get("/campaigns/{campaign_id}/plan")
async def plan(request: Request, campaign_id: CampaignPath, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """What the plan says."""
    found = await must(request, workshop.desk.get, campaign_id)
    job = await must(request, workshop.job, campaign_id)
    read = await try_to(request, _plan_of, workshop, found.campaign)
    shown = {} if isinstance(read, Failure) else read
    return show(
        request, staff, "plan.html", campaign=found.campaign, tab="plan", job=job, plan=shown or None, **_EMPTY | shown
    )


@router.get("/campaigns/{campaign_id}/job")
async def job(request: Request, campaign_id: CampaignPath, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """How far planning is: a piece of page."""
    found = await must(request, workshop.desk.get, campaign_id)
    return show(request, staff, "job.html", campaign=found.campaign, job=await must(request, workshop.job, campaign_id))


@router.get("/campaigns/{campaign_id}/results")
async def results(request: Request, campaign_id: CampaignPath, staff: StaffDep, workshop: WorkshopDep) -> Response:
    """What the campaign has changed until now."""
    found = await must(request, workshop.desk.get, campaign_id)
    report = await try_to(request, workshop.report, campaign_id)
    failure = report if isinstance(report, Failure) else None
    sent = {state: sum(reasons.values()) for state, reasons in found.messages.items()}
    values: dict[str, Any] = {} if isinstance(report, Failure) else _report_of(report)
    return show(
        request,
        staff,
        "results.html",
        campaign=found.campaign,
        tab="results",
        problem=failure,
        report=values or None,
        messages=count_bars(sent, keep_small=True),
        now=workshop.clock(),
        **{"lifts": None, "funnel": [], "channels": None, "creatives": None, **values},
    )


_EMPTY: dict[str, Any] = {
    "waterfall": [],
    "totals": {},
    "charts_of": [],
    "fairness_rows": [],
    "days": [],
    "responses": None,
    "alarms": [],
}


def _plan_of(workshop: Workshop, campaign: Campaign) -> dict[str, Any]:
    """plan.json, and who gets what by channel, product, segment and day."""
    folder: FilePath = workshop.plan_folder(campaign)
    summary = workshop.plan_summary(campaign)
    try:
        assignments = pl.read_parquet(folder / "assignments.parquet")
    except OSError as error:  # planned again this very moment
        raise NoPlanError(f"campaign {campaign.campaign_id} has no plan yet: plan it first") from error
    names = {one.product_id: one.name for one in workshop.bank.open().products.values()}
    charts = []
    for column in _BY:
        counts = contacts_by(assignments, column)
        if column == "product_id":
            counts = {names.get(name, name): count for name, count in counts.items()}
        charts.append((column, count_bars(counts)))
    totals = summary["totals"]
    expected = [("expected", totals["expected_responses"])]
    if totals["incremental_responses"] is not None:
        expected.append(("incremental", totals["incremental_responses"]))
    return {
        **summary,
        "waterfall": waterfall_bars(summary["waterfall"]),
        "charts_of": charts,
        "days": count_bars_in_order(contacts_by_day(assignments)),
        "responses": forest(expected, percent=False),
        "alarms": summary["fairness"]["alarms"],
        "fairness_rows": _fairness_rows(summary["fairness"]),
    }


def _fairness_rows(fairness: dict[str, Any]) -> list[dict[str, Any]]:
    """Every group: how many could be contacted, and what share of them is; small groups say neither."""
    alarms = {(one["attribute"], one["group"]): one["certain"] for one in fairness["alarms"]}
    rows = []
    for attribute, groups in fairness["attributes"].items():
        for one in groups:
            key = (attribute, one["group"])
            rate, ratio = one.get("rate"), one.get("ratio")
            rows.append(
                {
                    "attribute": attribute,
                    "group": one["group"],
                    "size": f"<{fairness['minimum_group']}" if one["masked"] else f"{one['reachable']:,}",
                    "rate": "" if one["masked"] or rate is None else f"{rate['mean']:.0%}",
                    "ratio": "" if one["masked"] or ratio is None else f"{ratio['mean']:.2f}",
                    "alarm": key in alarms,
                    "certain": alarms.get(key, False),
                }
            )
    return rows


def count_bars_in_order(counts: dict[str, int]) -> list[Any]:
    """Counts by day, masked where they are small, in the days' order."""
    by_label = {bar.label: bar for bar in count_bars(counts)}
    return [by_label[name] for name in counts]


def _report_of(report: Report) -> dict[str, Any]:
    values = as_dict(report)
    lifts = [("all", values["lift"]), ("cuped", values["cuped"])]
    lifts += [(row["segment"] or "–", row) for row in report.segments]
    answers = {name: [_answer(row, str(row[name])) for row in rows] for name, rows in report.responses.items()}
    return {
        **values,
        "lifts": forest(lifts),
        "funnel": steps_bars(report.funnel),
        "channels": answers.get("channel"),
        "creatives": answers.get("content_id"),
    }


def _answer(row: dict[str, Any], label: str) -> tuple[int, Interval]:
    """Of whom got something on a channel or of a creative: how many, and the share who clicked."""
    return row["customers"], forest([(label, row["clicked"])]).rows[0]
