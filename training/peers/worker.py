"""The process of one method: `python -m training.peers.worker TASK METHOD OUT`, so that its cost is its own."""

import json
import os
import sys
import warnings
from pathlib import Path

from recsys.errors import RecsysError
from training.peers.contest import BOOSTED, PEERS, run_boosted, run_peer
from training.peers.resources import peak_megabytes
from training.peers.results import Result
from training.peers.task import Task

OWN = "model"
FAILURE = "failure.json"


def run_method(method: str, folder: Path, out: Path) -> Result:
    """Asks one method the task of a folder.

    Args:
        method: `model`, one of `PEERS`, `lightgbm`, `sasrec` or `bert4rec`.
        folder: the task's.
        out: a folder for the method's own files.
    """
    task = Task.load(folder)
    if method == OWN:
        from training.peers.own import OwnPlan, run_own

        return run_own(task, OwnPlan.load(folder), version=f"benchmark-{os.getpid()}")
    if method == BOOSTED:
        return run_boosted(task)
    if method in PEERS:
        return run_peer(method, task)
    from training.peers.outsiders import run_outsider

    return run_outsider(method, task, folder, out)


def main(folder: Path, method: str, out: Path) -> int:
    """Writes the result, or why there is none; returns the exit code."""
    warnings.filterwarnings("ignore", message="OpenBLAS")  # implicit's advice; threads are the caller's choice
    out.mkdir(parents=True)
    try:
        result = run_method(method, folder, out)
    except (RecsysError, ValueError) as error:
        (out / FAILURE).write_text(json.dumps({"error": str(error)}))
        return 1
    result.report.setdefault("peak_mb", peak_megabytes())
    result.report.setdefault("learned_from", "all that the exam may know")
    result.save(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
