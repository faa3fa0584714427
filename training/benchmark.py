"""`recsys benchmark`: the model and its peers on the same questions, each method in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from recsys.errors import RecsysError
from recsys.metrics.bootstrap import bootstrap_difference, bootstrap_mean
from recsys.metrics.coverage import catalogue_coverage, novelty
from recsys.metrics.relevance import check_lists
from training.config import EvaluationConfig
from training.evaluate import interval_json
from training.peers.contest import BOOSTED, PEERS
from training.peers.interactions import Interactions
from training.peers.outsiders import OUTSIDERS, peers_python
from training.peers.results import Result
from training.peers.task import Task
from training.peers.worker import FAILURE, OWN

METHODS = (*PEERS, BOOSTED, *OUTSIDERS)
SLOWER_NOTE = 30
"""No peer that we beat in quality may be more than so many times faster to train without a note on why."""
_ALL = "all"
_SHOWN = 2000


def default_peers() -> list[str]:
    """Those that are installed beside us, and those of `make peers` where it was run."""
    return [name for name in METHODS if name not in OUTSIDERS or peers_python().exists()]


@dataclass(frozen=True)
class Contest:
    """What the methods did with one task."""

    task: Task
    results: dict[str, Result]
    failures: dict[str, str]
    """Method to why it has no result."""


def run_methods(folder: Path, methods: Sequence[str], progress: Progress | None = None) -> Contest:
    """Runs each method after the other, so that none takes the processor from another.

    Args:
        folder: holds a saved task; each method writes into a folder of its own in it.
        methods: names, `model` for ours.
        progress: shows the methods.
    """
    results: dict[str, Result] = {}
    failures: dict[str, str] = {}
    bar = progress.add_task("benchmark", total=len(methods)) if progress else None
    for name in methods:
        if progress and bar is not None:
            progress.update(bar, description=f"benchmark: {name}")
        out = folder / name
        command = [sys.executable, "-m", "training.peers.worker", str(folder), name, str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        if done.returncode == 0:
            results[name] = Result.load(out)
        elif (out / FAILURE).exists():
            failures[name] = json.loads((out / FAILURE).read_text())["error"]
        else:
            raise RecsysError(f"{name} died with code {done.returncode}: {done.stderr.strip()[-_SHOWN:]}")
        if progress and bar is not None:
            progress.advance(bar)
    return Contest(Task.load(folder), results, failures)


def _environment() -> dict[str, str]:
    """The children find the packages that this process runs from, and BLAS does not fight implicit's own threads."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return {"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}


def report_contest(contest: Contest, config: EvaluationConfig) -> dict[str, Any]:
    """All methods with intervals, the paired differences to the model, slices and cost."""
    task = contest.task
    own = contest.results.get(OWN)
    report: dict[str, Any] = {
        "k": task.k,
        "queries": len(task.exam.questions),
        "candidates": interval_json(bootstrap_mean(task.exam.questions.allowed.sum(axis=1), 100)),
        "slices": {name: int(rows.sum()) for name, rows in _slices(task).items()},
        "methods": {name: _method(result, task, config) for name, result in contest.results.items()},
        "failures": contest.failures,
        "differences": {},
    }
    if own is not None:
        report["differences"] = {
            name: _difference(own, result, task, config) for name, result in contest.results.items() if name != OWN
        }
        report["notes"] = _notes(own, contest, report["differences"])
    return report


def _slices(task: Task) -> dict[str, np.ndarray]:
    """Name to [Q] bool, both sides of each flag, where neither is empty."""
    slices = {_ALL: np.ones(len(task.exam.questions), bool)}
    for name, rows in task.flags.items():
        if rows.any() and not rows.all():
            slices |= {name: rows, f"not_{name}": ~rows}
    return slices


def _method(result: Result, task: Task, config: EvaluationConfig) -> dict[str, Any]:
    metrics, k = result.metrics, task.k
    values = {f"{name}@{k}": column for name, column in metrics._asdict().items()}
    known = task.exam.known
    news = novelty(result.ranked, _users_of_item(known), int((known.activity > 0).sum()))
    checks = check_lists(result.ranked)
    return {
        **{name: interval_json(bootstrap_mean(column, config.bootstrap_samples)) for name, column in values.items()},
        "novelty": _interval(news[~np.isnan(news)], config),
        "coverage": _coverage(result, task),
        "ndcg_by_slice": {name: _interval(metrics.ndcg[rows], config) for name, rows in _slices(task).items()},
        "short_lists": checks.short,
        "empty_lists": checks.empty,
        **result.report,
    }


def _coverage(result: Result, task: Task) -> float:
    """Of the products that at least one customer may get, the share that at least one is shown."""
    reachable = int(task.exam.questions.allowed.any(axis=0).sum())
    return catalogue_coverage(result.ranked, len(task.product_ids)) * len(task.product_ids) / max(reachable, 1)


def _users_of_item(known: Interactions) -> np.ndarray:
    return np.bincount(known.matrix().indices, minlength=known.n_products)


def _difference(own: Result, peer: Result, task: Task, config: EvaluationConfig) -> dict[str, Any]:
    """Ours minus the peer's NDCG, paired by customer, with its interval, over all and by slice."""
    ours, theirs, samples = own.metrics.ndcg, peer.metrics.ndcg, config.bootstrap_samples
    return {
        name: interval_json(bootstrap_difference(ours[rows], theirs[rows], samples))
        for name, rows in _slices(task).items()
    }


def _interval(values: np.ndarray, config: EvaluationConfig) -> dict[str, float] | None:
    return interval_json(bootstrap_mean(values, config.bootstrap_samples)) if len(values) else None


def _notes(own: Result, contest: Contest, differences: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers."""
    notes = []
    if own.report["learned_from"] == "train":
        notes.append(
            "the model is measured as `recsys evaluate` measures it: its towers have seen the training part only; "
            "the peers were refitted on train plus validation"
        )
    for name, difference in differences.items():
        times = own.report["fit_seconds"] / max(contest.results[name].report["fit_seconds"], 1e-3)
        if difference[_ALL]["mean"] > 0 and times > SLOWER_NOTE:
            notes.append(
                f"{name} is {times:,.0f} times faster to train: it solves one small problem once, "
                f"the model reads {own.report['samples_per_second']:,.0f} samples/s for several epochs"
            )
    return notes
