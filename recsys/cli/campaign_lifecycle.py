"""`recsys campaign submit`, `approve`, `launch`, `pause`, `resume`, `withdraw` and `status`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.terminal import JsonOption, emit, plain
from recsys.home import Home

if TYPE_CHECKING:
    from serving.store.campaigns import Campaign
    from serving.store.database import Store

PlanArgument = Annotated[Path, typer.Argument(help="A plan's directory.", show_default=False)]
IdArgument = Annotated[str, typer.Argument(help="The campaign's id, from its brief.", show_default=False)]
ByOption = Annotated[str, typer.Option("--by", help="Who does it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (submit, approve, launch, pause, resume, withdraw, status):
        app.command(verb.__name__)(verb)


def submit(
    context: typer.Context,
    plan: PlanArgument,
    author: Annotated[str, typer.Option(help="Who wrote it; somebody else must approve it.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Hand a plan in for approval.

    Example: recsys campaign submit plan --author ann
    """
    from datetime import UTC, datetime

    from recsys.campaigns.handover import read_plan
    from serving.store.campaigns import CampaignStore, Submission

    read = read_plan(plan)
    kept = {"name": read.brief.name, "plan": str(plan.resolve()), "totals": read.summary["totals"]}
    submission = Submission(
        read.brief.campaign_id, author, read.digest, read.brief.ends.astimezone(UTC), kept, read.variants
    )
    with campaign_store(context.obj) as store:
        campaign = CampaignStore(store).submit(submission, datetime.now(UTC))
    _say(campaign, as_json, f"next: recsys campaign approve {plan} --approver SOMEBODY-ELSE")


def approve(
    context: typer.Context,
    plan: PlanArgument,
    approver: Annotated[str, typer.Option(help="Who approves; not the author.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Approve exactly what is in a plan's directory; one changed character voids it.

    Example: recsys campaign approve plan --approver bob
    """
    from datetime import UTC, datetime

    from recsys.campaigns.handover import read_plan
    from serving.store.campaigns import CampaignStore

    read = read_plan(plan)
    with campaign_store(context.obj) as store:
        campaign = CampaignStore(store).approve(read.brief.campaign_id, approver, read.digest, datetime.now(UTC))
    _say(campaign, as_json, f"next: recsys campaign launch {plan} --by {approver}")


def launch(context: typer.Context, plan: PlanArgument, by: ByOption, as_json: JsonOption = False) -> None:
    """Schedule the messages of an approved plan; `recsys campaign dispatch` sends them when they are due.

    Example: recsys campaign launch plan --by ann
    """
    from datetime import UTC, datetime

    from recsys.campaigns.handover import message_id, read_plan
    from serving.store.campaigns import CampaignStore, PlannedMessage

    read = read_plan(plan)
    messages = [
        PlannedMessage(
            message_id(read.brief.campaign_id, row),
            *(row[name] for name in ("customer_id", "product_id", "content_id", "channel", "send_at")),
        )
        for row in read.assignments.iter_rows(named=True)
    ]
    with campaign_store(context.obj) as store:
        campaign = CampaignStore(store).launch(read.brief.campaign_id, read.digest, messages, by, datetime.now(UTC))
    _say(campaign, as_json, f"{len(messages):,} message(s); next: recsys campaign dispatch")


def pause(context: typer.Context, campaign: IdArgument, by: ByOption, as_json: JsonOption = False) -> None:
    """Stop what is unsent; `resume` goes on.

    Example: recsys campaign pause summer-savings --by ann
    """
    _move(context, "pause", campaign, by, as_json)


def resume(context: typer.Context, campaign: IdArgument, by: ByOption, as_json: JsonOption = False) -> None:
    """Go on after a pause.

    Example: recsys campaign resume summer-savings --by ann
    """
    _move(context, "resume", campaign, by, as_json)


def withdraw(context: typer.Context, campaign: IdArgument, by: ByOption, as_json: JsonOption = False) -> None:
    """End a campaign; what is unsent never is.

    Example: recsys campaign withdraw summer-savings --by ann
    """
    _move(context, "withdraw", campaign, by, as_json)


def status(
    context: typer.Context,
    campaign: Annotated[str | None, typer.Argument(help="One campaign; default: all.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Where campaigns stand, who moved them there, and how far their messages got.

    Example: recsys campaign status
    """
    from serving.store.campaigns import CampaignStore

    with campaign_store(context.obj) as store:
        kept = CampaignStore(store)
        found = kept.all() if campaign is None else [kept.get(campaign)]
        rows = [{**_as_dict(one), "messages": _counts(kept.progress(one.campaign_id))} for one in found]
    lines = [line for row in rows for line in _status_lines(row)] or ["no campaign was submitted yet"]
    emit({"campaigns": rows}, as_json, lines)


@contextmanager
def campaign_store(home: Home) -> "Iterator[Store]":
    """The home's SQL store, or the one that the settings name."""
    from serving.settings import Settings
    from serving.store.database import open_store

    with open_store(Settings(home=home.path).store_url()) as store:
        yield store


def _move(context: typer.Context, verb: str, campaign_id: str, by: str, as_json: bool) -> None:
    from datetime import UTC, datetime

    from serving.store.campaigns import CampaignStore

    with campaign_store(context.obj) as store:
        kept = CampaignStore(store)
        moves = {"pause": kept.pause, "resume": kept.resume, "withdraw": kept.withdraw}
        campaign = moves[verb](campaign_id, by, datetime.now(UTC))
    _say(campaign, as_json, "")


def _say(campaign: "Campaign", as_json: bool, more: str) -> None:
    line = f"{plain(campaign.campaign_id)} is [bold]{campaign.state}[/bold] (digest {campaign.digest[:12]})"
    emit(_as_dict(campaign), as_json, [line, *([f"[dim]{plain(more)}[/dim]"] if more else [])])


def _as_dict(campaign: "Campaign") -> dict[str, Any]:
    return campaign._asdict()


def _counts(progress: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {state: dict(sorted(reasons.items())) for state, reasons in sorted(progress.items())}


def _status_lines(row: dict[str, Any]) -> list[str]:
    approved = f", approved by {plain(row['approver'])}" if row["approver"] else ""
    lines = [f"[bold]{plain(row['campaign_id'])}[/bold] {row['state']} (by {plain(row['author'])}{approved})"]
    for state, reasons in row["messages"].items():
        parts = ", ".join(f"{plain(reason)} {count:,}" for reason, count in reasons.items() if reason)
        lines.append(f"  {state} {sum(reasons.values()):,}{f' ({parts})' if parts else ''}")
    return lines
