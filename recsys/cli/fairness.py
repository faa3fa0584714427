"""`recsys fairness`: the champion by group."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from recsys.cli.terminal import DatasetArgument, console, plain
from recsys.home import Home

_CREDIT = "credit"


def fairness(
    context: typer.Context,
    directory: DatasetArgument,
    file: Annotated[Path | None, typer.Option("--json", help="Write the whole report to this file.")] = None,
) -> None:
    """The champion by group: exposure, ranking quality, calibration, steering, and what its embedding tells.

    Groups are those of the customers' columns that the policy pack calls protected or a proxy of one, whether or not
    dataset.yaml declares them. Groups under 10 are masked.

    Example: recsys fairness bank --json fairness.json
    """
    from recsys.cli.governance import fairness_of_champion
    from recsys.cli.workflows import require_writable, write_file

    home: Home = context.obj
    if file is not None:
        require_writable(file)
    with console.status("measuring the champion by group"):
        report = fairness_of_champion(home, directory)
    if file is not None:
        write_file(file, json.dumps(report, indent=1))
    print_fairness(report, console)


def print_fairness(report: dict[str, Any], out: Console) -> None:
    """One table a column of groups, then alarms, steering, and what could not be measured."""
    title = f"[bold]{plain(report['dataset'])}[/bold] under policy {plain(report['policy'])}"
    if not report["attributes"] and not report["skipped"]:
        out.print(f"{title}: the policy names no protected column that the customers have", highlight=False)
        return
    out.print(
        f"{title}: lists of {report['k']} for {report['customers']:,} customers, {report['queries']:,} of whom took "
        "something up; 95 % intervals, ratios and gaps to the largest group",
        highlight=False,
    )
    for name, values in report["attributes"].items():
        large = sum(not entry["masked"] for entry in values["groups"].values())
        if large > 1:
            out.print(_table(name, values, report))
        else:
            out.print(f"  [dim]{plain(name)}: not compared, fewer than two groups are large enough[/dim]")
    for line in [*_alarms(report), *_steering(report["steering"])]:
        out.print(line, highlight=False)
    for name, reason in report["skipped"].items():
        out.print(f"  [dim]{plain(name)}: not compared, {plain(reason)}[/dim]", highlight=False)


def _table(name: str, values: dict[str, Any], report: dict[str, Any]) -> Table:
    """The largest group, with a star, is what the others are compared with."""
    table = Table(title=f"{plain(name)} ({values['kind']})", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("group", overflow="fold")
    for column in ("n", "credit ratio", f"NDCG@{report['k']} gap", "calibration", "probe AUC"):
        table.add_column(column, justify="right", no_wrap=True)
    for group, entry in values["groups"].items():
        if entry["masked"]:
            table.add_row(plain(group), f"<{report['minimum_group']}", *["masked"] * 4)
            continue
        table.add_row(
            plain(group) + (" *" if group == values["reference"] else ""),
            f"{entry['customers']:,}",
            _ratio(entry["exposure"].get(_CREDIT, {}).get("ratio"), report["alarm_below"]),
            _two_lines(entry.get("ndcg_gap")),
            _two_lines(entry.get("calibration_gap")),
            _two_lines(entry.get("probe", {}).get("auc")),
        )
    return table


def _alarms(report: dict[str, Any]) -> list[str]:
    certain = [alarm for alarm in report["alarms"] if alarm["certain"]]
    lines = [
        f"[red]alarm[/red] {plain(alarm['attribute'])} {plain(alarm['group'])} sees {plain(alarm['family'])} less: "
        f"{_interval(alarm['ratio'])}; the rules leave it {_interval(alarm['candidates_ratio'])} of the candidates"
        for alarm in certain
    ]
    rest = len(report["alarms"]) - len(certain)
    below = f"{report['alarm_below']:g}"
    if rest:
        lines.append(f"[yellow]note[/yellow] {rest} more ratios below {below}, within what chance may do: see --json")
    return lines or [f"[green]no ratio of exposures below {below}[/green]"]


def _steering(steering: dict[str, Any] | None) -> list[str]:
    if steering is None:
        return ["steering: no two variants of a credit product to choose between, or no such rule"]
    if steering["masked"]:
        return ["steering: too few customers may choose between two variants"]
    return [
        f"steering: {steering['customers']:,} customers may choose between variants; the model scores the costlier one "
        f"higher in {_interval(steering['costlier_ranked_above'])} of the pairs, and it is shown beside the cheaper in "
        f"{_interval(steering['costlier_shown'])}"
    ]


def _ratio(interval: dict[str, float] | None, below: float) -> str:
    text = _two_lines(interval)
    return f"[red]{text}[/red]" if interval is not None and interval["mean"] < below else text


def _two_lines(value: dict[str, float] | None) -> str:
    return _interval(value).replace(" \\[", "\n\\[")


def _interval(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{value['mean']:.2f} \\[{value['low']:.2f}, {value['high']:.2f}]"
