"""What a method answered: its metrics per question, its lists, and what it cost."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.errors import RecsysError
from recsys.metrics.ranking import RankingMetrics, top_k
from recsys.schema import CUSTOMER_ID, PRODUCT_ID, RANK, SCORE
from training.peers.interactions import Questions
from training.peers.task import Task
from training.peers.tuning import measure

LIST_LENGTH = 1000
"""Methods that answer with lists are asked for so many items: ties beyond the first k are then seen."""
_ARRAYS, _REPORT = "result.npz", "report.json"


@dataclass(frozen=True)
class Result:
    """One method's answers to the Q questions of the exam."""

    metrics: RankingMetrics
    ranked: np.ndarray
    """[Q, k] int64 rows of products, -1 = none."""
    report: dict[str, Any]
    """Settings, what was tried, seconds, memory."""

    def save(self, folder: Path) -> None:
        """Writes the result; the report last, so that a folder with one is complete."""
        np.savez(folder / _ARRAYS, allow_pickle=False, ranked=self.ranked, **self.metrics._asdict())
        (folder / _REPORT).write_text(json.dumps(self.report))

    @classmethod
    def load(cls, folder: Path) -> "Result":
        """Reads what `save` wrote."""
        with np.load(folder / _ARRAYS, allow_pickle=False) as stored:
            metrics = RankingMetrics(stored["recall"], stored["ndcg"], stored["mrr"])
            return cls(metrics, stored["ranked"], json.loads((folder / _REPORT).read_text()))


def answer(task: Task, scores: Callable[[Questions], np.ndarray], report: dict[str, Any]) -> Result:
    """Asks a method for its scores, a batch of questions at a time; only scoring and sorting are timed.

    Args:
        task: whose exam is asked.
        scores: B questions to [B, P] scores.
        report: what is known of the method's cost; `recommend_seconds` is added.
    """
    seconds, parts, lists = 0.0, [], []
    for rows in task.exam.questions.batches():
        part = task.exam.questions.take(rows)
        started = time.perf_counter()
        given = scores(part)
        lists.append(top_k(np.where(part.allowed, given, -np.inf), task.k))
        seconds += time.perf_counter() - started
        parts.append(measure(given, part, task.k))
    metrics = RankingMetrics(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return Result(metrics, np.concatenate(lists), report | {"recommend_seconds": seconds})


def scores_of_lists(lists: pl.DataFrame, task: Task) -> np.ndarray:
    """Lists as scores, so that equal scores stay ties: [Q, P] float32, -inf where an item is not listed.

    Args:
        lists: customer_id, rank, product_id, score; rows of customers who are not asked about are not looked at.
        task: whose exam was asked.

    Raises:
        RecsysError: an item is repeated for a customer, is unknown, or is none of his candidates (one that he has
            seen, for example): such lists are refused, never repaired.
    """
    row = {name: place for place, name in enumerate(task.asked_ids)}
    column = {name: place for place, name in enumerate(task.product_ids)}
    mine = lists.filter(pl.col(CUSTOMER_ID).is_in(task.asked_ids)).sort(CUSTOMER_ID, RANK)
    unknown = set(mine[PRODUCT_ID].to_list()) - set(column)
    if unknown:
        raise RecsysError(f"the lists name products that the dataset does not have: {', '.join(sorted(unknown)[:5])}")
    owners = np.array([row[name] for name in mine[CUSTOMER_ID].to_list()], np.int64)
    items = np.array([column[name] for name in mine[PRODUCT_ID].to_list()], np.int64)
    _refuse(mine, mine.select(CUSTOMER_ID, PRODUCT_ID).is_duplicated().to_numpy(), "an item is repeated")
    _refuse(mine, ~task.exam.questions.allowed[owners, items], "an item is no candidate of the customer")
    values = mine[SCORE].to_numpy()
    new = np.ones(len(mine), bool)
    new[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    out = np.full((len(row), len(column)), -np.inf, np.float32)
    out[owners, items] = -_place_in_list(owners, new)
    return out


def _place_in_list(owners: np.ndarray, new: np.ndarray) -> np.ndarray:
    """[N] float32: which group of equal scores each row is of, from 0 for each owner; float32 counts them exactly."""
    group = np.cumsum(new)
    first = np.ones(len(owners), bool)
    first[1:] = owners[1:] != owners[:-1]
    start = np.maximum.accumulate(np.where(first, group, 0)) if len(group) else group
    return (group - start).astype(np.float32)


def _refuse(lists: pl.DataFrame, bad: np.ndarray, what: str) -> None:
    if bad.any():
        shown = ", ".join(f"{one[CUSTOMER_ID]} {one[PRODUCT_ID]}" for one in lists.filter(bad).head(5).to_dicts())
        raise RecsysError(f"the lists are refused: {what} in {int(bad.sum())} rows: {shown}")
