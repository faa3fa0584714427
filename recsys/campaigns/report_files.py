"""A campaign's report as files: JSON, and a picture for those who would rather look."""

import shutil
from pathlib import Path
from typing import Any

from recsys.campaigns.measurement import Report
from recsys.campaigns.plan_files import write_json
from recsys.errors import RecsysError

_MOST_CREATIVES = 20
_BLUE, _GREY = "#1f6feb", "#8b949e"


def write_report(report: Report, title: str, out: Path) -> None:
    """Writes report.json, lift.png and answers.png, whole or not at all.

    Raises:
        RecsysError: it cannot be written.
    """
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        write_json(temporary / "report.json", as_dict(report))
        draw_lift(report, title, temporary / "lift.png")
        draw_answers(report, title, temporary / "answers.png")
        temporary.rename(out)
    except OSError as error:
        raise RecsysError(f"{out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def as_dict(report: Report) -> dict[str, Any]:
    """For JSON."""
    values = report._asdict()
    return {**values, **{name: values[name]._asdict() for name in ("lift", "cuped", "opt_outs")}}


def draw_lift(report: Report, title: str, path: Path) -> None:
    """The lift with its interval, over all, with CUPED and by segment; beside it the funnel of the contacted."""
    from matplotlib.figure import Figure

    rows = [("all", report.lift._asdict()), ("all, CUPED", report.cuped._asdict())]
    rows += [(row["segment"] or "(no segment)", row) for row in report.segments]
    figure = Figure(figsize=(10, 1.6 + 0.4 * max(len(rows), 5)), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for place, (_, row) in enumerate(rows):
        colour = _BLUE if row["low"] > 0 or row["high"] < 0 else _GREY
        left.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, lw=3, solid_capstyle="round")
        left.plot([100 * row["lift"]], [place], "o", color=colour)
    left.axvline(0, color="black", lw=0.8)
    left.set_yticks(range(len(rows)), [name for name, _ in rows])
    left.invert_yaxis()
    left.set_xlabel("lift in the share who converted, percentage points, 95 % interval (grey: may be nothing)")
    left.set_title(title, loc="left", fontsize=10, parse_math=False)
    steps = list(report.funnel)
    right.barh(steps, [report.funnel[step] for step in steps], color=_BLUE)
    for place, step in enumerate(steps):
        right.text(report.funnel[step], place, f" {report.funnel[step]:,}", va="center", fontsize=8)
    right.invert_yaxis()
    right.set_xlim(0, 1.15 * max(1, *report.funnel.values()))
    right.set_title("customers who got a message", loc="left", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def draw_answers(report: Report, title: str, path: Path) -> None:
    """How those answered who got something: shares who clicked and converted, by channel and by creative."""
    from matplotlib.figure import Figure

    rows = [(str(row["channel"]), row) for row in report.responses["channel"]]
    creatives = sorted(report.responses["content_id"], key=lambda row: -row["converted"]["mean"])[:_MOST_CREATIVES]
    rows += [(str(row["content_id"]), row) for row in creatives]
    figure = Figure(figsize=(10, 1.6 + 0.32 * max(len(rows), 4)), dpi=130, layout="constrained")
    for axes, step in zip(figure.subplots(1, 2, sharey=True), ("clicked", "converted"), strict=True):
        for place, (_, row) in enumerate(rows):
            share = row[step]
            axes.plot([100 * share["low"], 100 * share["high"]], [place, place], color=_GREY, lw=3)
            axes.plot([100 * share["mean"]], [place], "o", color=_BLUE)
        axes.set_yticks(range(len(rows)), [f"{name} ({row['customers']:,})" for name, row in rows], parse_math=False)
        axes.set_xlabel(f"{step}, per cent of those who got it, 95 % interval")
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    left = figure.axes[0]
    left.invert_yaxis()
    left.set_title(title, loc="left", fontsize=10, parse_math=False)
    if not rows:
        left.text(0.5, 0.5, "no group of ten or more got a message", ha="center", transform=left.transAxes)
    figure.savefig(path)
