"""Experiment tracking and the model registry: the only training file that knows MLflow."""

import json
import re
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.errors import ModelError
from training.approval import GATE_PASSED, GATE_WAITS, Signatures, require_other, require_passed
from training.card_text import render_card, render_description
from training.fairness.plot import plot_fairness
from training.model_card import Registered, RunRecord, approval_entry, build_card, summarise_fairness
from training.plots import plot_ablation, plot_label_curve, plot_methods, plot_reliability, plot_slices, plot_training
from training.train import TrainingOutcome, flatten

REGISTERED_MODEL = "recommender"
CHAMPION, CHALLENGER = "champion", "challenger"
_CARD = "model_card"
_PINNED = ("torch", "torchrec", "fbgemm-gpu-cpu", "numpy", "polars", "pyarrow", "pydantic", "safetensors", "mlflow")


class RegisteredVersion(NamedTuple):
    """A version of the registered model."""

    version: str
    run_id: str
    promoted: bool
    gate: str
    """Of `training.approval`: passed, refused, or passed and waiting for somebody else's approval."""


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
            if (report.get("response") or {}).get("test"):
                plot_reliability(report["response"]["test"], folder / "reliability.png")
            self._mlflow.log_artifacts(name, "evaluation")

    def log_fairness(self, report: dict[str, Any], refused: Iterable[str]) -> None:
        """The fairness report of the active run as JSON, plot and metrics, and the features that were refused."""
        self._mlflow.set_tags({"policy": report["policy"], "refused_columns": ", ".join(refused) or "none"})
        self._mlflow.log_metrics(fairness_metrics(report))
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "fairness.json").write_text(json.dumps(report, indent=1))
            plot_fairness(report, Path(name) / "fairness.png")
            self._mlflow.log_artifacts(name, "evaluation")

    def log_ablation(self, report: dict[str, Any], table: str) -> None:
        """What each part is worth, of the active run: the table, its numbers, and a metric a variant."""
        for row in report["variants"]:
            name = re.sub(r"[^A-Za-z0-9_. /-]", "", row["variant"].replace("%", " percent"))
            self._mlflow.log_metric(f"ndcg/{name}", row["ndcg"]["mean"])
            if row["worth"] is not None:
                self._mlflow.log_metric(f"worth/{name}", row["worth"]["mean"])
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "ablation.json").write_text(json.dumps(report, indent=1))
            (Path(folder) / "ablation.md").write_text(table)
            plot_ablation(report, Path(folder) / "ablation.png")
            plot_label_curve(report, Path(folder) / "label_curve.png")
            self._mlflow.log_artifacts(folder, "ablation")

    def register(self, run: RunRecord) -> RegisteredVersion:
        """Logs the bundle as a registered model with its card; alias challenger, and champion if nothing stands against
        it: the gate passed, and somebody approved where that is asked for."""
        mlflow, decision, signatures = self._mlflow, run.decision, run.signatures
        mlflow.log_dict({"passed": decision.passed, "reasons": decision.reasons, **decision.differences}, "gate.json")
        signature = mlflow.models.ModelSignature(
            inputs=mlflow.types.Schema([mlflow.types.ColSpec("string", "features")]),
            outputs=mlflow.types.Schema(
                [mlflow.types.ColSpec("string", "product_id"), mlflow.types.ColSpec("double", "score")]
            ),
        )
        with warnings.catch_warnings():  # an example would be some customer's row
            warnings.filterwarnings("ignore", message=".*input example was not provided")
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"bundle": str(run.outcome.folder)},
                signature=signature,
                pip_requirements=[f"{package}=={metadata.version(package).split('+')[0]}" for package in _PINNED],
                registered_model_name=REGISTERED_MODEL,
            )
        version, now = str(info.registered_model_version), datetime.now(UTC)
        gate = signatures.gate(decision.passed)
        registered = Registered(version, info.run_id or "", git_commit(), now)
        self._write_card(build_card(run, registered))
        self._client.set_registered_model_alias(REGISTERED_MODEL, CHALLENGER, version)
        self._tag(version, {"gate": gate, "trainer": signatures.trainer})
        promoted = decision.passed and signatures.complete
        if promoted:
            self._crown(version, signatures.approver, now)
        return RegisteredVersion(version, registered.run_id, promoted, gate)

    def promote(self, version: str, approver: str) -> RegisteredVersion:
        """Moves the alias champion to a version that passed its gate, by somebody other than its trainer.

        Raises:
            ModelError: there is no such version.
            ApprovalError: it did not pass, or the approver trained it.
        """
        found = self._version(version)
        version = str(found.version)
        require_passed(version, found.tags.get("gate"))
        card = self.card(version)
        trainer = found.tags.get("trainer", "")
        require_other(approver, trainer)
        now = datetime.now(UTC)
        signatures = Signatures(trainer, approver, card["approval"]["needs_approver"])
        self._write_card({**card, "approval": approval_entry(GATE_PASSED, signatures, now)})
        self._tag(version, {"gate": GATE_PASSED})
        self._crown(version, approver, now)
        return RegisteredVersion(version, found.run_id or "", True, GATE_PASSED)

    def crown_unproven(self, version: str) -> None:
        """Moves the alias whatever the gate said: to measure the speed of a service that nobody is served by."""
        self._client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)

    def card(self, version: str) -> dict[str, Any]:
        """The model card of a version, as it stands after the latest approval.

        Raises:
            ModelError: there is no such version, or it was registered before there were cards.
        """
        found = self._version(version)
        try:
            card: dict[str, Any] = self._mlflow.artifacts.load_dict(f"runs:/{found.run_id}/{_CARD}.json")
        except (self._mlflow.exceptions.MlflowException, OSError) as error:
            raise ModelError(f"version {version} in {self.folder} has no model card: train again") from error
        return card

    def schema_hash(self, version: str) -> str:
        """Of the features that a version was trained on.

        Raises:
            ModelError: there is no such version.
        """
        return str(self._client.get_run(self._version(version).run_id).data.tags.get("schema_hash", ""))

    def waiting(self) -> str | None:
        """The newest version that passed its gate and waits for approval; None where there is none."""
        return self._newest(GATE_WAITS)

    def _newest(self, *gates: str) -> str | None:
        """The newest version of whose gate one of these is said; without any, the newest of all."""
        found = self._client.search_model_versions(f"name='{REGISTERED_MODEL}'")
        fitting = [str(one.version) for one in found if not gates or one.tags.get("gate") in gates]
        return max(fitting, key=int, default=None)

    def _crown(self, version: str, approver: str | None, now: datetime) -> None:
        """The alias comes last: who reads it finds the names beside it."""
        at = now.isoformat(timespec="seconds")
        self._tag(
            version, {"promoted_at": at} | ({} if approver is None else {"approver": approver, "approved_at": at})
        )
        self._client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)

    def _tag(self, version: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(REGISTERED_MODEL, version, key, value)

    def _write_card(self, card: dict[str, Any]) -> None:
        """The card as artefacts of its run, and as the version's description."""
        version, run_id = card["model"]["version"], card["model"]["run_id"]
        self._client.log_dict(run_id, card, f"{_CARD}.json")
        self._client.log_text(run_id, render_card(card), f"{_CARD}.md")
        self._client.update_model_version(REGISTERED_MODEL, version, render_description(card))

    def _version(self, version: str) -> Any:
        """Of the registry, by number or alias."""
        exceptions = self._mlflow.exceptions
        try:
            if version in (CHAMPION, CHALLENGER):
                version = self.version_of(version)
            return self._client.get_model_version(REGISTERED_MODEL, version)
        except exceptions.MlflowException as error:
            raise ModelError(
                f"{self.folder} has no version {version} of the model: `recsys train DATASET` prints the versions"
            ) from error

    def bundle_folder(self, alias: str = CHAMPION) -> Path:
        """The bundle behind an alias.

        Raises:
            ModelError: there is none yet.
        """
        return self._folder(f"@{alias}")

    def refused_bundle_folder(self, version: str) -> Path:
        """The bundle of a version that did not pass its gate: what it counted is true, how it ranks is not served.

        Raises:
            ModelError: it cannot be read.
        """
        return self._folder(f"/{version}")

    def _folder(self, which: str) -> Path:
        mlflow = self._mlflow
        try:
            path = mlflow.artifacts.download_artifacts(f"models:/{REGISTERED_MODEL}{which}")
        except mlflow.exceptions.MlflowException as error:
            raise ModelError(f"no {which[1:]} in {self.folder}: {self._remedy()} ({error.message[:120]})") from error
        return Path(path) / "artifacts" / "bundle"

    def refused(self) -> str | None:
        """The newest version where none ever passed its gate; None where one did, or none was trained."""
        with suppress(self._mlflow.exceptions.MlflowException):
            self.version_of(CHAMPION)
            return None
        return None if self._newest(GATE_PASSED, GATE_WAITS) else self._newest()

    def _remedy(self) -> str:
        if self.refused() is not None:
            return "no version passed its gate (their model cards say why): train one that does"
        for gate, state in ((GATE_WAITS, "waits"), (GATE_PASSED, "is not the champion any more")):
            if (version := self._newest(gate)) is not None:
                return f"version {version} passed its gate and {state}: `recsys promote {version} --approver NAME`"
        return "train one with `recsys train DATASET`"

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


def fairness_metrics(report: dict[str, Any]) -> dict[str, float]:
    """The groups' numbers under flat names: `fairness.sex.female.credit_ratio`, the same with `.low`, ..."""
    flat: dict[str, float] = {"fairness.alarms": sum(alarm["certain"] for alarm in report["alarms"])}
    for name, values in summarise_fairness(report)["attributes"].items():
        for group, entry in values["groups"].items():
            named = {key: entry.get(key) for key in ("credit_ratio", "ndcg_gap", "calibration_gap")}
            named["probe_auc"] = entry.get("probe", {}).get("auc")
            for key, interval in named.items():
                if interval is not None:
                    flat |= _interval_metrics(f"fairness.{_metric_name(name)}.{_metric_name(group)}.{key}", interval)
    return flat


def _metric_name(text: str) -> str:
    """What MLflow takes as a name: other characters become `_`."""
    return re.sub(r"[^\w\- ]", "_", text, flags=re.ASCII)


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
