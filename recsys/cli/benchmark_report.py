"""The benchmark's tables for a terminal of 80 columns: quality, difference to the model, slices, cost, settings."""

from typing import Any

from recsys.cli.terminal import plain

_NAME = 11
_COSTS = {
    "tuning s": "tune_seconds",
    "training s": "fit_seconds",
    "to best s": "seconds_to_best",
    "samples/s": "samples_per_second",
    "ranking s": "recommend_seconds",
    "peak MB": "peak_mb",
}


def describe_benchmark(report: dict[str, Any]) -> list[str]:
    """A benchmark report as lines; methods with the best NDCG first."""
    title = f"[bold]{plain(report['dataset'])}[/bold] · {report['queries']:,} customers"
    lines = [f"{title} · {plain(report['measured_on'])}"]
    lines += _quality(report) + _beyond(report) + _slices(report) + _cost(report) + _settings(report)
    for name, one in _best_first(report):
        if one["short_lists"]:
            lines.append(f"[yellow]short[/yellow] {name}: {one['short_lists']:,} lists, {one['empty_lists']:,} empty")
    lines += [f"[yellow]no result[/yellow] {name}: {plain(why)}" for name, why in report["failures"].items()]
    return lines + [f"[yellow]note[/yellow] {plain(note)}" for note in report.get("notes", [])]


def _quality(report: dict[str, Any]) -> list[str]:
    names = [f"{name}@{report['k']}" for name in ("ndcg", "recall", "mrr")]
    lines = ["", f"{'':<{_NAME}}" + "".join(f"{name:>22}" for name in names)]
    for method, one in _best_first(report):
        lines.append(plain(f"{method:<{_NAME}}" + "".join(f"{_interval(one[name]):>22}" for name in names)))
    return lines


def _beyond(report: dict[str, Any]) -> list[str]:
    """Coverage, novelty, and ours minus each peer's NDCG, paired by customer."""
    lines = ["", f"{'':<{_NAME}}{'coverage':>9}{'novelty, bits':>21}{'model minus it, NDCG':>28}"]
    for method, one in _best_first(report):
        novelty = "–" if one["novelty"] is None else _interval(one["novelty"], 2)
        difference = report["differences"].get(method, {}).get("all")
        shown = "" if difference is None else _signed(difference)
        lines.append(plain(f"{method:<{_NAME}}{one['coverage']:>9.2f}{novelty:>21}{shown:>28}"))
    return lines


def _slices(report: dict[str, Any]) -> list[str]:
    slices = {name: count for name, count in report["slices"].items() if name != "all"}
    if not slices:
        return []
    lines = ["", f"NDCG@{report['k']} by slice, and the model minus the peer"]
    for name, count in slices.items():
        lines.append(f"  {name.replace('_', ' ')}, {count:,} customers")
        for method, one in _best_first(report):
            difference = report["differences"].get(method, {}).get(name)
            shown = "" if difference is None else _signed(difference)
            lines.append(plain(f"    {method:<{_NAME}}{_interval(one['ndcg_by_slice'][name]):>22}{shown:>28}"))
    return lines


def _cost(report: dict[str, Any]) -> list[str]:
    lines = ["", f"{'':<{_NAME}}" + "".join(f"{name:>11}" for name in _COSTS)]
    for method, one in _best_first(report):
        cells = "".join(f"{_number(one.get(key)):>11}" for key in _COSTS.values())
        lines.append(f"{method:<{_NAME}}{cells}")
    return lines


def _settings(report: dict[str, Any]) -> list[str]:
    lines = ["", "chosen on validation (of so many tried)"]
    for method, one in _best_first(report):
        shown = ", ".join(_setting(name, value) for name, value in one["settings"].items() if value is not False)
        tried = len(one.get("grid", []))
        lines.append(plain(f"  {method}: {shown}" + (f" ({tried})" if tried else "")))
    return lines


def _setting(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name}(" + ", ".join(_setting(*one) for one in value.items() if one[1] is not False) + ")"
    return f"{name} {value}"


def _best_first(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    key = f"ndcg@{report['k']}"
    return sorted(report["methods"].items(), key=lambda item: -item[1][key]["mean"])


def _interval(interval: dict[str, float], digits: int = 3) -> str:
    low, high = (f"{interval[side]:.{digits}f}" for side in ("low", "high"))
    return f"{interval['mean']:.{digits + 1}f} [{low}, {high}]"


def _signed(interval: dict[str, float]) -> str:
    return f"{interval['mean']:+.4f} [{interval['low']:+.4f}, {interval['high']:+.4f}]"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
