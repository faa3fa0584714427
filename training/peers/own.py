"""The project's own model as one of the contestants, through the same recipe and paths as `recsys train`."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from recsys.bundle import SELECTION, Bundle
from recsys.config import BaseConfig
from recsys.data.contract import Dataset, SplitConfig
from recsys.errors import RecsysError
from recsys.home import Home
from recsys.privacy.suppression import SuppressionList
from recsys.recommender import Recommender
from recsys.schema import Kind
from training.config import TrainConfig
from training.peers.interactions import Questions
from training.peers.results import LIST_LENGTH, Result, answer, scores_of_lists
from training.peers.task import Task
from training.recommend import BatchRecommender, BatchRequest
from training.scoring import recommender_scores
from training.train import Training, TrainingOutcome

PLAN = "plan.json"


class OwnPlan(BaseConfig):
    """What the process that trains our model is told."""

    dataset: Path
    split: SplitConfig
    """The dataset's, or the one moved earlier."""
    home: Path
    recipe: TrainConfig
    outside: bool
    """Whether the answers are from outside the dataset: then what is served is measured, refitted on everything."""
    candidates: tuple[str, ...] | None = None

    def save(self, folder: Path) -> None:
        """Writes the plan beside the task."""
        (folder / PLAN).write_text(self.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> "OwnPlan":
        """Reads what `save` wrote."""
        return cls.parse(json.loads((folder / PLAN).read_text()), source=PLAN)


def run_own(task: Task, plan: OwnPlan, version: str) -> Result:
    """Trains in the plan's home (nothing is registered or promoted) and asks the exam's questions.

    Args:
        task: what is asked.
        plan: what is trained.
        version: names the run's working files, which are removed.
    """
    opened = SuppressionList(Home(plan.home)).apply(Dataset.open(plan.dataset))
    dataset = replace(opened, config=opened.config.model_copy(update={"split": plan.split}))
    recipe = plan.recipe if plan.outside else plan.recipe.model_copy(update={"refit": False})
    started = time.perf_counter()
    outcome = Training(dataset, plan.home, recipe, version).run()
    try:
        report = _costs(outcome, time.perf_counter() - started)
        ask = _ask_served if plan.outside else _ask_selected
        return ask(task, plan, dataset, outcome, report)
    finally:
        outcome.clean_up()


def _costs(outcome: TrainingOutcome, seconds: float) -> dict[str, Any]:
    """Seconds of everything, of the epochs up to the best one, and the speed of learning."""
    state = outcome.selection.state
    epochs = state.history
    return {
        "settings": {"epochs": state.best_epoch},
        "fit_seconds": seconds,
        "tune_seconds": 0.0,
        "best_epoch": state.best_epoch,
        "seconds_to_best": sum(epoch.seconds for epoch in epochs if epoch.number <= state.best_epoch),
        "samples_per_second": len(epochs) / sum(1 / epoch.labels_per_second for epoch in epochs),
    }


def _ask_selected(
    task: Task, plan: OwnPlan, dataset: Dataset, outcome: TrainingOutcome, report: dict[str, Any]
) -> Result:
    """The weights that have not seen the frozen split, on its questions."""
    recommender = Recommender(Bundle.load(outcome.folder / SELECTION))
    queries = outcome.split.measured[1]
    if queries.customer_ids != task.asked_ids or recommender.product_ids != task.product_ids:
        raise RecsysError(f"{plan.dataset} changed while the benchmark ran: run it again")
    started = time.perf_counter()
    scores = recommender_scores(recommender, queries)
    seconds = time.perf_counter() - started
    report |= {"learned_from": "train", "recommends": "features at hand to ranked lists"}
    result = answer(task, _rows_of(scores, task), report)
    result.report["recommend_seconds"] += seconds
    return result


def _ask_served(
    task: Task, plan: OwnPlan, dataset: Dataset, outcome: TrainingOutcome, report: dict[str, Any]
) -> Result:
    """The refitted weights, by the path of `recsys recommend`."""
    bundle = Bundle.load(outcome.folder)
    request = BatchRequest(task.asked_ids, Kind.PRODUCTS, min(LIST_LENGTH, len(task.product_ids)), plan.candidates)
    out = outcome.folder.parent / "lists.parquet"
    started = time.perf_counter()
    BatchRecommender(dataset, plan.home, bundle).write(request, out)
    seconds = time.perf_counter() - started
    scores = scores_of_lists(pl.read_parquet(out), task)
    report |= {"learned_from": "all", "recommends": "recsys recommend, feature join and policy included"}
    result = answer(task, _rows_of(scores, task), report)
    result.report["recommend_seconds"] = seconds
    return result


def _rows_of(scores: Any, task: Task) -> Any:
    """Scores that are there already, handed out batch by batch."""
    place = {int(row): position for position, row in enumerate(task.exam.questions.asked.customer)}

    def take(questions: Questions) -> Any:
        return scores[[place[int(row)] for row in questions.asked.customer]]

    return take
