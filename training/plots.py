"""Pictures of a run, for MLflow and for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.ablation_variants import DEFAULT, JOINT, PRETRAINED, SHARES, SUPERVISED, curve_name
from training.loop import Epoch

_COLOURS = {"model": "#1f6feb", "popularity": "#8b949e", "segment_popularity": "#57606a", "oracle": "#2da44e"}


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_training(history: Sequence[Epoch], path: Path) -> None:
    """Loss and validation score of every epoch."""
    figure, axes = _figure(7, 3.6)
    numbers = [epoch.number for epoch in history]
    axes.plot(numbers, [epoch.loss for epoch in history], color="#cf222e", marker="o", ms=3)
    axes.set(xlabel="epoch", title="Training loss (red) and validation NDCG (blue)")
    axes.set_ylabel("loss", color="#cf222e")
    right = axes.twinx()
    right.plot(numbers, [epoch.score for epoch in history], color="#1f6feb", marker="o", ms=3)
    right.set_ylabel("validation NDCG", color="#1f6feb")
    right.spines["top"].set_visible(False)
    best = max(history, key=lambda epoch: epoch.score, default=None)
    if best is not None and best.score == best.score:
        right.annotate(
            f"best: epoch {best.number}", (best.number, best.score), textcoords="offset points", xytext=(4, 6)
        )
    figure.savefig(path)


def plot_methods(report: dict[str, Any], path: Path) -> None:
    """NDCG of the model beside the baselines, with 95 % intervals."""
    figure, axes = _figure(7, 3.6)
    metric = f"ndcg@{report['k']}"
    rows = [(name, values[metric]) for name, values in report["methods"].items()]
    _bars(axes, rows, [_COLOURS.get(name, "#8b949e") for name, _ in rows])
    axes.set(
        xlabel=metric.upper(), title=f"{report['dataset']}: {report['queries']} customers of the {report['part']} part"
    )
    figure.savefig(path)


def plot_slices(report: dict[str, Any], path: Path) -> None:
    """NDCG of the model by slice, with 95 % intervals."""
    metric = f"ndcg@{report['k']}"
    rows = [("all", report["methods"]["model"][metric]), *report["slices"].items()]
    figure, axes = _figure(7, 1.2 + 0.4 * len(rows))
    _bars(axes, rows, ["#1f6feb"] * len(rows))
    axes.set(xlabel=metric.upper(), title="The model by slice")
    figure.savefig(path)


def _bars(axes: Any, rows: Sequence[tuple[str, dict[str, float]]], colours: Sequence[str]) -> None:
    names = [f"{name.replace('_', ' ')} (n={values['n']})" for name, values in rows]
    means = [values["mean"] for _, values in rows]
    errors = [[v["mean"] - v["low"] for _, v in rows], [v["high"] - v["mean"] for _, v in rows]]
    axes.barh(names, means, xerr=errors, color=colours, error_kw={"elinewidth": 1, "capsize": 3})
    axes.invert_yaxis()
    for position, (mean, values) in enumerate(zip(means, (v for _, v in rows), strict=True)):
        axes.annotate(
            f" {mean:.3f}", (values["high"], position), va="center", xytext=(3, 0), textcoords="offset points"
        )


def plot_ablation(report: dict[str, Any], path: Path) -> None:
    """What each part is worth, with its interval; those above zero to the right."""
    rows = [row for row in report["variants"] if row["worth"] is not None][::-1]
    figure, axes = _figure(8, 1.2 + 0.28 * len(rows))
    for place, row in enumerate(rows):
        worth = row["worth"]
        certain = worth["low"] > 0 or worth["high"] < 0
        colour = _COLOURS["model"] if certain else _COLOURS["popularity"]
        axes.plot([worth["low"], worth["high"]], [place, place], color=colour, lw=2)
        axes.plot(worth["mean"], place, "o", color=colour, ms=5)
    axes.axvline(0, color=_COLOURS["segment_popularity"], lw=1)
    axes.set_yticks(range(len(rows)), [_compared(row["variant"], row["beside"]) for row in rows], fontsize=8)
    axes.set(xlabel=f"NDCG@{report['k']} lost, 95 % interval (blue: away from zero)", title="What each part is worth")
    figure.savefig(path)


def _compared(variant: str, beside: str) -> str:
    return variant if beside == DEFAULT else f"{variant}\n(beside {beside})"


def plot_label_curve(report: dict[str, Any], path: Path) -> bool:
    """NDCG by the share of labels, with and without self-supervision; False where the report holds no such variants."""
    rows = {row["variant"]: row["ndcg"] for row in report["variants"]}
    lines = ((SUPERVISED, _COLOURS["popularity"]), (PRETRAINED, _COLOURS["model"]), (JOINT, _COLOURS["oracle"]))
    figure, axes = _figure(7, 4.4)
    drawn = 0
    for place, (line, colour) in enumerate(lines):
        points = [(share, rows[curve_name(share, line)]) for share in SHARES if curve_name(share, line) in rows]
        if not points:
            continue
        drawn += 1
        shares = [100 * share * 1.03 ** (place - 1) for share, _ in points]  # side by side: intervals stay legible
        means = [point["mean"] for _, point in points]
        errors = [[p["mean"] - p["low"] for _, p in points], [p["high"] - p["mean"] for _, p in points]]
        axes.errorbar(shares, means, yerr=errors, color=colour, marker="o", ms=4, capsize=3, elinewidth=1, label=line)
    if not drawn:
        return False
    axes.set_xscale("log")
    axes.set_xticks([100 * share for share in SHARES], [f"{share:.0%}" for share in SHARES])
    axes.minorticks_off()
    axes.legend(frameon=False, title="self-supervision", loc="lower right")
    axes.set(xlabel="customers whose acquisitions are labels", ylabel=f"NDCG@{report['k']}, 95 % interval")
    axes.set_title(f"{report['dataset']}: what unlabelled behaviour is worth")
    caption = (
        f"Towers alone, {report['seeds']} seed(s), {report['popularity']['n']:,} questions. Hidden labels are learned "
        "from by nothing;\nlike all behaviour they stay visible in the inputs (history, counts) of their own customer."
    )
    figure.supxlabel(caption, fontsize=7, color=_COLOURS["segment_popularity"])
    figure.savefig(path)
    return True


def plot_reliability(report: dict[str, Any], path: Path) -> None:
    """Predicted against observed rates on the test part: every head, and the click head by product family."""
    from matplotlib.figure import Figure

    heads = [name for name in ("click", "apply", "convert") if name in report]
    figure = Figure(figsize=(3.6 * (len(heads) + 1), 3.8), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(heads) + 1)
    for axes, name in zip(panels, heads, strict=False):
        _reliability(axes, {"all": report[name]["reliability"]})
        axes.set_title(f"{name}: ECE {report[name]['ece']:.4f}")
    _reliability(panels[-1], report["click"]["families"])
    panels[-1].set_title("click, by product family")
    panels[-1].legend(fontsize=6, frameon=False)
    panels[0].set_ylabel("observed rate")
    figure.savefig(path)


def _reliability(axes: Any, curves: dict[str, Any]) -> None:
    most = max((max(curve["predicted"] + curve["observed"], default=0.0) for curve in curves.values()), default=1.0)
    axes.plot([0, most], [0, most], color="#8b949e", lw=1, ls="--")
    for name, curve in curves.items():
        axes.plot(curve["predicted"], curve["observed"], marker="o", ms=3, lw=1, label=f"{name} ({curve['n']:,})")
    axes.set_xlabel("predicted probability")
    axes.spines[["top", "right"]].set_visible(False)
