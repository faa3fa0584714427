"""Results as lines for a terminal."""

from typing import Any


def describe_evaluation(report: dict[str, Any]) -> list[str]:
    """An evaluation as a table: methods, then slices."""
    k, short = report["k"], "ndcg@5"
    head = f"[bold]{report['dataset']}[/bold] · {report['queries']:,} customers · {report['measured_on']}"
    names = [f"ndcg@{k}", f"recall@{k}", f"mrr@{k}", short]
    lines = [head, f"  {'':<22}" + "".join(f"{name:>24}" for name in names)]
    for method, metrics in report["methods"].items():
        lines.append(f"  {method.replace('_', ' '):<22}" + "".join(f"{_interval(metrics[name]):>24}" for name in names))
    lines.append(f"  coverage of the catalogue {report['coverage']:.2f}")
    for name, interval in report["differences"].items():
        lines.append(f"  model minus {name.replace('_', ' ')}: {_interval(interval)}")
    for name, value in report.items():
        if name.startswith("share_of_oracle"):
            lines.append(f"  share of the oracle's NDCG@5: {value:.1%}")
    lines.append(f"  NDCG@{k} by slice:")
    for name, interval in report["slices"].items():
        lines.append(f"    {name.replace('_', ' '):<20}{_interval(interval)}  n={interval['n']:,}")
    return lines


def _interval(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.4f} \\[{interval['low']:.4f}, {interval['high']:.4f}]"
