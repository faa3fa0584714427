"""`recsys campaign submit`, `approve`, `reject`, `launch`, `pause`, `resume`, `withdraw` and `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.campaign_bank import open_desk
from recsys.cli.terminal import JsonOption, emit, plain

if TYPE_CHECKING:
    from serving.store.campaigns import Campaign

PlanArgument = Annotated[Path, typer.Argument(help="A plan's directory.", show_default=False)]
IdArgument = Annotated[str, typer.Argument(help="The campaign's id, from its brief.", show_default=False)]
ByOption = Annotated[str, typer.Option("--by", help="Who does it.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (submit, approve, reject, launch, pause, resume, withdraw, status):
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
    with open_desk(context.obj) as desk:
        campaign = desk.submit(plan, author)
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
    with open_desk(context.obj) as desk:
        campaign = desk.approve(plan, approver)
    _say(campaign, as_json, f"next: recsys campaign launch {plan} --by {approver}")


def reject(
    context: typer.Context,
    campaign: IdArgument,
    approver: Annotated[str, typer.Option(help="Who sends it back; not the author.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for the author.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Send a submitted campaign back to its author, who may submit it again.

    Example: recsys campaign reject summer-savings --approver bob --reason "the headline promises too much"
    """
    with open_desk(context.obj) as desk:
        sent_back = desk.reject(campaign, approver, reason)
    _say(sent_back, as_json, "next: change the plan and submit it again")


def launch(context: typer.Context, plan: PlanArgument, by: ByOption, as_json: JsonOption = False) -> None:
    """Schedule the messages of an approved plan; `recsys campaign dispatch` sends them when they are due.

    Example: recsys campaign launch plan --by ann
    """
    with open_desk(context.obj) as desk:
        campaign, messages = desk.launch(plan, by)
    _say(campaign, as_json, f"{messages:,} message(s); next: recsys campaign dispatch")


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
    with open_desk(context.obj) as desk:
        found = desk.all() if campaign is None else [desk.get(campaign)]
    rows = [{**_as_dict(one.campaign), "messages": _counts(one.messages)} for one in found]
    lines = [line for row in rows for line in _status_lines(row)] or ["no campaign was submitted yet"]
    emit({"campaigns": rows}, as_json, lines)


def _move(context: typer.Context, verb: str, campaign_id: str, by: str, as_json: bool) -> None:
    with open_desk(context.obj) as desk:
        moves = {"pause": desk.pause, "resume": desk.resume, "withdraw": desk.withdraw}
        campaign = moves[verb](campaign_id, by)
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
