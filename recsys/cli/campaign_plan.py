"""`recsys campaign plan`: who would get what, and what to expect of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from recsys.campaigns.waterfall import WaterfallStep, masked
from recsys.cli.campaign_content import rewritten
from recsys.cli.terminal import JsonOption, console, emit, make_progress, plain

_LIKELY: Final = 0.5
"""A power below which a holdout more likely than not shows nothing."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("plan")(plan)


def plan(
    context: typer.Context,
    brief: Annotated[Path, typer.Argument(help="A brief (YAML): see `recsys campaign example`.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The directory to write; must not exist.")],
    data: Annotated[Path | None, typer.Option("--data", help="The dataset; default: the home's own.")] = None,
    compose: Annotated[
        int, typer.Option(min=0, max=5, help="Variants of copy to compose for every cell; 0: the bank's creatives.")
    ] = 0,
    writer: Annotated[
        Path | None, typer.Option(help="With --compose: a language model, as in `recsys campaign content --help`.")
    ] = None,
    rewrites: Annotated[int | None, typer.Option(min=1, help="Variants that it is asked about; default: all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan a campaign with the champion: audience, rules, holdouts, allocation, and what to expect. Sends nothing.

    With --compose, copy and pictures are made for every product, segment, channel and language that the plan uses.

    Example: recsys campaign plan brief.yaml --out plan

    Example: recsys campaign plan brief.yaml --out plan --compose 3 --json
    """
    from recsys.campaigns.brief import Brief
    from recsys.campaigns.plan_files import require_free
    from recsys.campaigns.service import Making, make_plan
    from recsys.cli.campaign_bank import open_bank, open_rewriting
    from recsys.cli.workflows import require_writable

    if writer is not None and not compose:
        raise typer.BadParameter("there is no copy to rewrite: add --compose 3", param_hint="--writer")
    asked = Brief.from_yaml(brief)
    require_free(out)
    require_writable(out)
    with make_progress() as progress:
        making = Making(datetime.now(UTC), compose, progress, open_rewriting(context.obj, writer, rewrites))
        summary = make_plan(asked, open_bank(context.obj, data), out, making)
    if as_json:
        emit(summary, True, [])
    else:
        print_plan(summary, console)


def print_plan(summary: dict[str, Any], out: Console) -> None:
    """The waterfall, what to expect, the limits that bind, the power of the holdout and the fairness alarms."""
    from recsys.campaigns.brief import RESPONSES

    out.print(_waterfall(summary["waterfall"]))
    totals = summary["totals"]
    budget = summary["brief"]["budget"]
    how = "exact" if summary["allocation"] == "milp" else "by prices of the limits"
    lines = [
        f"[bold]{totals['customers']:,} customers, {totals['contacts']:,} contacts[/bold], "
        f"cost {totals['cost']:,.2f} of a budget of {budget:,.2f}",
        f"expected to add {totals['value']:,.2f} in value ({summary['gap']:.2%} less than any plan within the limits "
        f"could; {how})",
        f"expected responses ({RESPONSES[summary['brief']['objective']]}) {_interval(totals['expected_responses'])}, "
        f"of these because of contact {_interval(totals['incremental_responses'])}",
        f"customers are ranked by {plain(summary['method'])}:",
        *(f"[dim]  - {plain(reason)}[/dim]" for reason in summary["why"].split("; ")),
        *_qini(summary["uplift"]),
        *rewritten(summary.get("rewrites")),
        *_constraints(summary["constraints"]),
        _power(summary["power"]),
        *_fairness(summary["fairness"]),
        f"wrote {plain(summary['out'])} (assignments {summary['assignment_hash'][:12]})",
    ]
    for line in lines:
        out.print(line, highlight=False)


def _waterfall(steps: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("step")
    table.add_column("rule")
    table.add_column("removed", justify="right")
    table.add_column("left", justify="right")
    for step in steps:
        table.add_row(step["step"], plain(step["rule"]), *masked(WaterfallStep(**step)))
    return table


def _constraints(constraints: list[dict[str, Any]]) -> list[str]:
    binding = [entry for entry in constraints if entry["binding"]]
    if not binding:
        return ["no limit binds: every customer who is worth his contact gets it"]
    return [
        f"holds the plan back: {plain(entry['name'])}, {entry['used']:,.6g} of {entry['limit']:,.6g}; one "
        f"more would add {entry['price']:,.4g} in value"
        for entry in binding
    ]


def _qini(uplift: dict[str, Any] | None) -> list[str]:
    if uplift is None or not uplift["qini"]:
        return []
    rows = [
        f"  {name:<10} {1000 * one['mean']:8.3f}   {1000 * one['low']:8.3f} to {1000 * one['high']:8.3f}"
        for name, one in uplift["qini"].items()
    ]
    heading = "how well each ranks on later contacts (Qini: applications gained in 1,000 contacts, 95 % interval)"
    return [f"[dim]{heading}:[/dim]", *rows]


def _power(power: dict[str, Any]) -> str:
    text = f"holdout: {power['held_out']:,} customers beside {power['treated']:,}"
    if power["detectable_lift"] is not None:
        text += (
            f"; a difference of {100 * power['detectable_lift']:.2f} percentage points is found with 80 % probability"
        )
    if power["power"] is not None:
        text += f"; the expected one, {100 * power['expected_lift']:.2f} points, with {power['power']:.0%}"
        if power["power"] < _LIKELY:
            text += ": to show it, hold out more or ask for a wider audience"
    return text


def _fairness(fairness: dict[str, Any]) -> list[str]:
    below = f"{fairness['alarm_below']:g}"
    certain = [alarm for alarm in fairness["alarms"] if alarm["certain"]]
    lines = [
        f"[red]alarm[/red] {plain(alarm['attribute'])} {plain(alarm['group'])} is contacted less: "
        f"{_interval(alarm['ratio'])} of the largest group's rate"
        for alarm in certain
    ]
    rest = len(fairness["alarms"]) - len(certain)
    if rest:
        lines.append(f"[yellow]note[/yellow] {rest} ratios below {below}, within what chance may do: see plan.json")
    return lines or [f"[green]no group is contacted less than {below} times as often as the largest[/green]"]


def _interval(value: dict[str, float] | None) -> str:
    return "not known" if value is None else f"{value['mean']:,.2f} \\[{value['low']:,.2f}, {value['high']:,.2f}]"
