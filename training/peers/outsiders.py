"""Peers that live in an environment of their own: their script is run by that environment's Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from recsys.errors import RecsysError
from recsys.schema import CUSTOMER_ID, PRODUCT_ID
from training.peers.contest import NewcomersFallback
from training.peers.interactions import Questions
from training.peers.results import Result, answer, scores_of_lists
from training.peers.task import Task

OUTSIDERS = ("sasrec", "bert4rec")
_SCRIPT = Path(__file__).with_name("sequential.py")
_SHOWN = 2000


def peers_python() -> Path:
    """Where `make peers` puts the interpreter: `.venv-peers` beside the environment that runs this."""
    return Path(sys.prefix).parent / ".venv-peers" / "bin" / "python"


def run_outsider(method: str, task: Task, folder: Path, out: Path) -> Result:
    """Runs the script and reads its lists; customers without a list get what is popular.

    Raises:
        RecsysError: the environment is missing, or the script failed.
    """
    python = peers_python()
    if not python.exists():
        raise RecsysError(f"{method} needs {python}: run `make peers` first, or leave it out of --peers")
    command = [str(python), str(_SCRIPT), str(folder), method, str(out)]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    costs = out / "costs.json"
    if done.returncode or not costs.exists():  # Lightning ends with 0 where it was told to stop
        raise RecsysError(f"{method} failed in {python}, code {done.returncode}: {done.stderr.strip()[-_SHOWN:]}")
    report = json.loads(costs.read_text())
    fallback = NewcomersFallback(task)
    scores = scores_of_lists(_candidates_only(pl.read_parquet(out / "lists.parquet"), task), task)
    row = {int(customer): place for place, customer in enumerate(task.exam.questions.asked.customer)}

    def take(questions: Questions) -> np.ndarray:
        return fallback.fill(scores[[row[int(one)] for one in questions.asked.customer]], questions.asked)

    result = answer(task, take, report)
    result.report["recommend_seconds"] = report["recommend_seconds"]
    return result


def _candidates_only(lists: pl.DataFrame, task: Task) -> pl.DataFrame:
    """The script ranks all products; what a customer may not get is taken out here, by his mask."""
    column = {name: place for place, name in enumerate(task.product_ids)}
    row = {name: place for place, name in enumerate(task.asked_ids)}
    owners = np.array([row[name] for name in lists[CUSTOMER_ID].to_list()], np.int64)
    items = np.array([column[name] for name in lists[PRODUCT_ID].to_list()], np.int64)
    return lists.filter(task.exam.questions.allowed[owners, items])
