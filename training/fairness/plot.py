"""The fairness report as one picture."""

from pathlib import Path
from typing import Any, Final, NamedTuple

from recsys.policy.rules.base import CREDIT

_BLUE, _RED, _GREY = "#1f6feb", "#cf222e", "#8b949e"
_MOST_ROWS: Final = 40
"""More would be read by nobody: the columns with the fewest groups are shown first."""


class _Row(NamedTuple):
    label: str
    group: dict[str, Any]


def plot_fairness(report: dict[str, Any], path: Path) -> None:
    """Exposure of credit relative to the largest group, NDCG gap, and how well the embedding tells each group."""
    from matplotlib.figure import Figure

    rows = _rows(report)
    figure = Figure(figsize=(11, 1.6 + 0.34 * max(len(rows), 1)), dpi=130, layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    below = report.get("alarm_below", 0.8)
    exposure = [row.group.get("exposure", {}).get(CREDIT, {}).get("ratio") for row in rows]
    _points(panels[0], exposure, [_RED if value and value["mean"] < below else _BLUE for value in exposure])
    _lines(panels[0], {1.0: _GREY, below: _RED})
    panels[0].set(title=f"Credit exposure (alarm below {below:g})", xlabel="ratio to the largest group's")
    _points(panels[1], [row.group.get("ndcg_gap") for row in rows], [_BLUE] * len(rows))
    _lines(panels[1], {0.0: _GREY})
    panels[1].set(title="Ranking quality", xlabel=f"NDCG@{report['k']} minus the largest group's")
    told = [row.group.get("probe", {}).get("auc") for row in rows]
    _points(panels[2], told, [_BLUE] * len(rows))
    chance = [row.group.get("probe", {}).get("chance") for row in rows]
    known = [(value, place) for place, value in enumerate(chance) if value is not None]
    if known:
        panels[2].scatter(*zip(*known, strict=True), marker="x", s=22, color=_GREY, zorder=1)
    _lines(panels[2], {0.5: _GREY})
    panels[2].set(title="What the embedding tells", xlabel="AUC of the probe (×: labels shuffled)")
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
    panels[0].set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if not rows:
        panels[0].annotate("no groups to compare", (0.5, 0.5), xycoords="axes fraction", ha="center")
    figure.suptitle(f"{report['dataset']}: groups with 95 % intervals, policy {report['policy']}", fontsize=11)
    figure.savefig(path)


def _rows(report: dict[str, Any]) -> list[_Row]:
    """The groups that are large enough, columns with few groups first; the largest group of each is the yardstick."""
    attributes = sorted(report["attributes"].items(), key=lambda item: len(item[1]["groups"]))
    rows = []
    for name, values in attributes:
        shown = [(group, entry) for group, entry in values["groups"].items() if not entry["masked"]]
        for group, entry in shown if len(shown) > 1 else []:
            reference = ", largest" if group == values["reference"] else ""
            rows.append(_Row(f"{name.replace('_', ' ')}: {group} (n={entry['customers']:,}{reference})", entry))
    return rows[:_MOST_ROWS]


def _points(axes: Any, intervals: list[dict[str, float] | None], colours: list[str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    for place, (interval, colour) in enumerate(zip(intervals, colours, strict=True)):
        if interval is not None:
            axes.plot([interval["low"], interval["high"]], [place, place], color=colour, lw=1.6, zorder=2)
            axes.scatter([interval["mean"]], [place], color=colour, s=26, zorder=3)


def _lines(axes: Any, places: dict[float, str]) -> None:
    for place, colour in places.items():
        axes.axvline(place, color=colour, lw=0.9, ls="--", zorder=0)
