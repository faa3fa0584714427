"""Experiment tracking and the model registry: the only training file that knows MLflow."""

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.errors import ModelError
from training.plots import plot_methods, plot_slices, plot_training
from training.promote import GateDecision
from training.train import TrainingOutcome, flatten

REGISTERED_MODEL = "recommender"
CHAMPION, CHALLENGER = "champion", "challenger"
_PINNED = ("torch", "torchrec", "fbgemm-gpu-cpu", "numpy", "polars", "pyarrow", "pydantic", "safetensors", "mlflow")


class RegisteredVersion(NamedTuple):
    """A version of the registered model."""

    version: str
    run_id: str
    promoted: bool


def tracking_uri(home: Path) -> str:
    """The MLflow backend of a home."""
    return f"sqlite:///{home.resolve() / 'mlflow' / 'mlflow.db'}"


class Tracker:
    """Logs runs and registers models in a home's MLflow."""

    def __init__(self, home: Path) -> None:
        import mlflow

        self.home = home
        self.folder = home.resolve() / "mlflow"
        self.folder.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(tracking_uri(home))
        mlflow.set_registry_uri(tracking_uri(home))
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient()

    @contextmanager
    def run(self, experiment: str, name: str) -> Iterator[str]:
        """An MLflow run in the experiment; yields its id."""
        existing = self._client.get_experiment_by_name(experiment)
        if existing is None:
            self._client.create_experiment(experiment, artifact_location=(self.folder / "artifacts").as_uri())
        self._mlflow.set_experiment(experiment)
        with self._mlflow.start_run(run_name=name) as run:
            yield run.info.run_id

    def log_outcome(self, outcome: TrainingOutcome, config: dict[str, Any], fingerprint: str, seconds: float) -> None:
        """Parameters, metrics per epoch, the frozen split's report, plots and cost of the active run."""
        mlflow = self._mlflow
        mlflow.log_params({key: str(value)[:250] for key, value in flatten(config).items()})
        commit = git_commit()
        mlflow.set_tags({"dataset": outcome.manifest.dataset, "dataset_fingerprint": fingerprint, "git_commit": commit})
        mlflow.set_tags({"schema_hash": outcome.manifest.schema_hash, "model_version": outcome.manifest.model_version})
        for epoch in outcome.selection.state.history:
            values = {"train_loss": epoch.loss, "labels_per_second": epoch.labels_per_second}
            values["validation_ndcg"] = epoch.score
            mlflow.log_metrics(values, step=epoch.number)
        mlflow.log_metrics({"best_epoch": outcome.selection.state.best_epoch, "seconds": seconds})
        mlflow.log_metrics({"labels": outcome.labels, "peak_memory_mb": peak_memory_mb()})
        mlflow.log_metrics(report_metrics(outcome.evaluation.report))
        self._log_files(outcome)

    def _log_files(self, outcome: TrainingOutcome) -> None:
        report = outcome.evaluation.report
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "evaluation.json").write_text(json.dumps(report, indent=1))
            plot_training(outcome.selection.state.history, folder / "training.png")
            plot_methods(report, folder / "methods.png")
            plot_slices(report, folder / "slices.png")
            self._mlflow.log_artifacts(name, "evaluation")

    def register(self, outcome: TrainingOutcome, decision: GateDecision) -> RegisteredVersion:
        """Logs the bundle as a registered model; alias challenger, and champion if the gate passed."""
        mlflow = self._mlflow
        mlflow.log_dict({"passed": decision.passed, "reasons": decision.reasons, **decision.differences}, "gate.json")
        signature = mlflow.models.ModelSignature(
            inputs=mlflow.types.Schema([mlflow.types.ColSpec("string", "features")]),
            outputs=mlflow.types.Schema(
                [mlflow.types.ColSpec("string", "product_id"), mlflow.types.ColSpec("double", "score")]
            ),
        )
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": str(outcome.folder)},
            signature=signature,
            pip_requirements=[f"{package}=={metadata.version(package).split('+')[0]}" for package in _PINNED],
            registered_model_name=REGISTERED_MODEL,
        )
        version = str(info.registered_model_version)
        self._client.set_registered_model_alias(REGISTERED_MODEL, CHALLENGER, version)
        self._client.set_model_version_tag(
            REGISTERED_MODEL, version, "gate", "passed" if decision.passed else "refused"
        )
        if decision.passed:
            self._client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
        return RegisteredVersion(version, info.run_id or "", decision.passed)

    def bundle_folder(self, alias: str = CHAMPION) -> Path:
        """The bundle behind an alias.

        Raises:
            ModelError: there is none yet.
        """
        mlflow = self._mlflow
        try:
            path = mlflow.artifacts.download_artifacts(f"models:/{REGISTERED_MODEL}@{alias}")
        except mlflow.exceptions.MlflowException as error:
            raise ModelError(
                f"no {alias} in {self.folder}: train one with `recsys train DATASET` ({error.message[:120]})"
            ) from error
        return Path(path) / "artifacts" / "bundle"

    def version_of(self, alias: str = CHAMPION) -> str:
        """The version number behind an alias."""
        return str(self._client.get_model_version_by_alias(REGISTERED_MODEL, alias).version)


def report_metrics(report: dict[str, Any]) -> dict[str, float]:
    """The report's numbers under flat names: `model.ndcg_at_10`, `model.ndcg_at_10.low`, `slice.new_customers`, ..."""
    flat: dict[str, float] = {}
    for method, metrics in report["methods"].items():
        for name, interval in metrics.items():
            flat |= _interval_metrics(f"{method}.{name}", interval)
    for name, interval in report["slices"].items():
        flat |= _interval_metrics(f"slice.{name}.ndcg@{report['k']}", interval)
    for name, interval in report["differences"].items():
        flat |= _interval_metrics(f"difference.{name}.ndcg@{report['k']}", interval)
    flat |= {name: value for name, value in report.items() if name.startswith("share_of_oracle")}
    flat["coverage"] = report["coverage"]
    return {name.replace("@", "_at_"): float(value) for name, value in flat.items() if np.isfinite(value)}


def _interval_metrics(name: str, interval: dict[str, float]) -> dict[str, float]:
    return {name: interval["mean"], f"{name}.low": interval["low"], f"{name}.high": interval["high"]}


def peak_memory_mb() -> float:
    """The most resident memory that this process has had, in MB (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024 * 1024)


def git_commit() -> str:
    """The commit of the code, or `unknown` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
