"""Results as lines for a terminal of 80 columns."""

from typing import Any

from recsys.cli.terminal import plain

_WITH_INTERVAL = ("ndcg", "recall")


def describe_evaluation(report: dict[str, Any]) -> list[str]:
    """An evaluation as a table: methods, then differences, then slices."""
    k = report["k"]
    names = [f"ndcg@{k}", f"recall@{k}", f"mrr@{k}", "ndcg@5"]
    title = f"[bold]{report['dataset']}[/bold] · {report['queries']:,} customers"
    lines = [f"{title} · measured on {report['measured_on']}"]
    lines.append(f"{'':<20}" + "".join(_head(name) for name in names))
    for method, metrics in report["methods"].items():
        lines.append(f"  {_words(method):<18}" + "".join(_cell(name, metrics[name]) for name in names))
    lines += [f"  model minus {_words(name)}: {_interval(value)}" for name, value in report["differences"].items()]
    for name, value in report.items():
        if name.startswith("share_of_oracle"):
            lines.append(f"  share of the oracle's NDCG@5: {value:.1%}")
    lines += [f"  coverage of the catalogue: {report['coverage']:.2f}", f"NDCG@{k} by slice"]
    for name, interval in report["slices"].items():
        lines.append(f"  {_words(name):<18}{_interval(interval):>23}   n={interval['n']:,}")
    return lines + _modalities(report.get("modalities", {}), k)


def _modalities(found: dict[str, Any], k: int) -> list[str]:
    """What each modality is worth, paired by customer."""
    if not found:
        return []
    lines = [f"{f'NDCG@{k}, paired':<20}{'its removal costs':>24}{'all minus it alone':>26}"]
    for name, row in found.items():
        lines.append(
            f"  {_words(name):<18}{_interval(row['removal_costs']):>24}{_interval(row['all_minus_alone']):>26}"
        )
    return lines


def describe_registration(result: dict[str, Any]) -> list[str]:
    """What became of a trained version: its gate, who signed, what was left out, whom it sees less."""
    version = f"recommender version {result['version']}"
    if result["promoted"]:
        state = "[green]promoted to champion[/green]"
    elif result["waits_for_approval"]:
        state = "[yellow]passed, waits for approval[/yellow]"
    else:
        state = "[yellow]not promoted[/yellow]"
    lines = [f"{version}: {state}", *(f"  {plain(reason)}" for reason in result["gate"])]
    approver = "nobody" if result["approver"] is None else plain(result["approver"])
    lines.append(f"  trained by {plain(result['trainer'])}, approved by {approver if result['promoted'] else 'nobody'}")
    if result["waits_for_approval"]:
        lines.append(f"  next: recsys promote {result['version']} --approver NAME")
    refused = [f"{column['key']} ({column['kind']})" for column in result["refused_columns"]]
    if refused:
        lines.append(f"  left out of the model by the policy pack: {', '.join(refused)}")
    alarms = len(result["fairness_alarms"])
    if alarms:
        lines.append(f"  [yellow]fairness: {alarms} alarm(s)[/yellow], see `recsys fairness` or the model card")
    return lines


def _words(name: str) -> str:
    return name.replace("_", " ")


def _wide(name: str) -> bool:
    return name.split("@")[0] in _WITH_INTERVAL and name != "ndcg@5"


def _head(name: str) -> str:
    return f"{name:>21}" if _wide(name) else f"{name:>8}"


def _cell(name: str, interval: dict[str, float]) -> str:
    return f"{_interval(interval):>22}" if _wide(name) else f"{interval['mean']:>8.3f}"


def _interval(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} \\[{interval['low']:.3f}, {interval['high']:.3f}]"
