"""A plan's waterfall as a picture."""

from collections.abc import Sequence
from pathlib import Path

from recsys.campaigns.waterfall import SMALL, WaterfallStep

_LEFT, _REMOVED, _CHOSEN = "#1f6feb", "#d0d7de", "#2da44e"


def draw_waterfall(steps: Sequence[WaterfallStep], title: str, path: Path) -> None:
    """One bar a rule: who is left after it, and who fell out at it; counts under 10 are masked."""
    from matplotlib.figure import Figure

    rows = [step for step in steps if step.removed or step.step in ("start", "chosen")]
    figure = Figure(figsize=(9, 1.4 + 0.36 * len(rows)), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    places = range(len(rows))
    colours = [_LEFT] * (len(rows) - 1) + [_CHOSEN]
    axes.barh(places, [row.left for row in rows], color=colours)
    axes.barh(places, [row.removed for row in rows], left=[row.left for row in rows], color=_REMOVED)
    most = max((row.left + row.removed for row in rows), default=1)
    for place, row in zip(places, rows, strict=True):
        fell = f"  −{_masked(row.removed)}" if row.removed else ""
        left = "" if 0 < row.removed < SMALL else f"{row.left:,}"
        axes.text(row.left + row.removed + most * 0.01, place, f"{left}{fell}", va="center", fontsize=8)
    axes.set_yticks(places, [f"{row.step} · {row.rule}" if row.rule else row.step for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.16)
    axes.set_xlabel("customers")
    axes.set_title(f"{title}: blue are left, grey fell out", fontsize=10, loc="left", parse_math=False)
    figure.savefig(path)


def _masked(count: int) -> str:
    return f"{count:,}" if count >= SMALL else f"<{SMALL}"
