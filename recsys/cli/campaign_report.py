"""`recsys campaign report`: what a campaign changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as RichTable

from recsys.cli.terminal import JsonOption, console, emit, plain
from recsys.home import Home

if TYPE_CHECKING:
    from recsys.campaigns.measurement import Report

_SHOWN = 5
"""Channels and creatives that are printed; report.json has all."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("report")(report)


def report(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="The plan's directory.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="A directory for report.json and the plots.")] = None,
    days: Annotated[int, typer.Option(min=0, help="How long after the end responses still count.")] = 14,
    data: Annotated[Path | None, typer.Option("--data", help="The dataset; default: the home's own.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare everybody who could be contacted with the holdout: lift with 95 % intervals, cost, who answered.

    Reads the events of the dataset and those that the app has sent since; a message that never left was no contact.

    Example: recsys campaign report plan --out report
    """
    from recsys.campaigns.handover import read_plan
    from recsys.cli.campaign_bank import open_desk
    from recsys.cli.workflows import open_known

    home: Home = context.obj
    with open_desk(home) as desk:
        found = desk.report(plan, open_known(home, data or home.dataset_path()), days, out)
    name = read_plan(plan).brief.name
    if as_json:
        emit(_as_dict(found), True, [])
    else:
        _print(found, name)


def _as_dict(report: "Report") -> dict[str, Any]:
    from recsys.campaigns.report_files import as_dict

    return as_dict(report)


def _print(report: "Report", name: str) -> None:
    table = RichTable(title=name, pad_edge=False)
    for column in ("", "contactable", "held out", "lift", "95 % interval"):
        table.add_column(column, justify="left" if not column else "right")
    for label, one in (("converted", report.lift), ("converted, CUPED", report.cuped), ("opted out", report.opt_outs)):
        interval = f"{one.low:+.3%} to {one.high:+.3%}"
        table.add_row(label, f"{one.treated:.3%}", f"{one.held_out:.3%}", f"{one.lift:+.3%}", interval)
    console.print(table)
    steps = " → ".join(f"{step} {count:,}" for step, count in report.funnel.items())
    mean, low, high = report.incremental
    costs = ["no bound" if value is None else f"{value:,.2f}" for value in report.cost_per_incremental]
    ratio, saved = report.sample_ratio, report.variance_saved
    alarm = "[red]the groups are not as they were drawn: believe no lift[/red]" if ratio["alarm"] else "as drawn"
    for line in (
        steps,
        f"incremental conversions {mean:,.1f} ({low:,.1f} to {high:,.1f}); the past explains {saved:.1%}",
        f"cost {report.cost:,.2f}, per incremental conversion {costs[0]} ({costs[1]} to {costs[2]})",
        f"holdout {ratio['held_out']:,} of {ratio['expected']:,.1f} expected: {alarm}",
        *(
            f"  {plain(row['segment']) or '(no segment)'}: {row['lift']:+.3%} "
            f"({row['low']:+.3%} to {row['high']:+.3%}), p {row['p_holm']:.3f} (Holm, of {len(report.segments)})"
            for row in report.segments
        ),
        *_answers(report),
        f"[dim]{plain(report.note)}[/dim]",
    ):
        console.print(line, highlight=False)


def _answers(report: "Report") -> list[str]:
    lines = []
    for name, rows in report.responses.items():
        for row in sorted(rows, key=lambda one: -one["converted"]["mean"])[:_SHOWN]:
            beside = row.get("beside")
            more = (
                "" if beside is None else f", {beside['lift']:+.3%} beside the others (p {beside['p_holm']:.3f}, Holm)"
            )
            lines.append(
                f"  {name.removesuffix('_id')} {plain(str(row[name]))}: {row['customers']:,} got it, "
                f"{row['clicked']['mean']:.2%} clicked, {row['converted']['mean']:.2%} converted{more}"
            )
    return lines
