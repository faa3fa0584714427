"""What the runs of an ablation measured, kept on disk: hours of training that was stopped goes on where it was."""

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from training.config import TrainConfig
from training.evaluate import MODEL, POPULARITY, Evaluation

_MISSING = "missing."
_REPORT = "report"
_PACKAGES = ("recsys", "feature_repo", "training")


class AblationRun(NamedTuple):
    """One variant, trained with one seed and measured."""

    ndcg: np.ndarray
    """[Q] of each question."""
    popularity: np.ndarray
    """[Q] of the baseline."""
    missing: dict[str, np.ndarray]
    """Modality to [Q] NDCG with it missing in serving."""
    calibration: dict[str, Any] | None
    """What the response model measured on the test part, where one was fitted."""
    measured_on: str
    seconds: float

    @classmethod
    def of(cls, evaluation: Evaluation, seconds: float) -> Self:
        """What is kept of an evaluation."""
        return cls(
            ndcg=evaluation.per_query[MODEL].ndcg,
            popularity=evaluation.per_query[POPULARITY].ndcg,
            missing=dict(evaluation.missing),
            calibration=(evaluation.report.get("response") or {}).get("test"),
            measured_on=evaluation.report["measured_on"],
            seconds=seconds,
        )


class AblationRuns:
    """Runs by recipe. They hold no identifier: a number for each question.

    Args:
        folder: where they are.
        context: what a run depends on beside its recipe: data, who is left out of them, policy, code.
    """

    def __init__(self, folder: Path, *context: str) -> None:
        self._folder = folder
        self._context = context

    def name(self, recipe: TrainConfig) -> str:
        """16 hex digits of what is trained on what."""
        return sha256("\n".join((*self._context, recipe.model_dump_json())).encode()).hexdigest()[:16]

    def get_or_make(self, recipe: TrainConfig, make: Callable[[], AblationRun]) -> tuple[AblationRun, bool]:
        """The run of a recipe, and whether it was there before."""
        file = self._folder / f"{self.name(recipe)}.npz"
        if file.exists():
            return _read(file), True
        run = make()
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(run, file)
        return run, False


def code_digest(packages: Path = Path(__file__).parents[1]) -> str:
    """16 hex digits over the sources that a measurement comes from, committed or not."""
    digest = sha256()
    for file in sorted(file for name in _PACKAGES for file in (packages / name).rglob("*.py")):
        digest.update(f"{file.relative_to(packages)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _write(run: AblationRun, file: Path) -> None:
    report = {"calibration": run.calibration, "measured_on": run.measured_on, "seconds": run.seconds}
    arrays: dict[str, Any] = {_MISSING + name: values for name, values in run.missing.items()}
    arrays |= {"ndcg": run.ndcg, "popularity": run.popularity, _REPORT: np.array(json.dumps(report))}
    temporary = file.with_suffix(f".{os.getpid()}.partial")
    with temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    temporary.replace(file)


def _read(file: Path) -> AblationRun:
    with np.load(file, allow_pickle=False) as stored:
        missing = {name.removeprefix(_MISSING): stored[name] for name in stored.files if name.startswith(_MISSING)}
        return AblationRun(stored["ndcg"], stored["popularity"], missing, **json.loads(str(stored[_REPORT])))
