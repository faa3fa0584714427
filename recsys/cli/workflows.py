"""What the verbs do, composed from the packages. Imports happen inside: a verb pays only for what it uses."""

import hashlib
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from recsys.cli.people import People, sign
from recsys.config import apply_overrides, read_yaml
from recsys.data.contract import Dataset
from recsys.errors import ConfigError, ModelError, RecsysError
from recsys.home import Home, read_ids
from recsys.schema import Kind

if TYPE_CHECKING:
    from training.config import TrainConfig

DEFAULT_SCOPES = ("recommendations:read", "events:write")


def load_config(file: Path | None, settings: list[str]) -> "TrainConfig":
    """The recipe: the defaults, changed by a file, changed by `--set`.

    Raises:
        ConfigError: a key is unknown or a value out of bounds.
    """
    from training.config import TrainConfig

    values = read_yaml(file) if file is not None else {}
    return TrainConfig.parse(apply_overrides(values, settings), source=str(file or "--set"))


def open_dataset(home: Home, directory: Path) -> Dataset:
    """A dataset as the home may read it: without the customers who were erased from the home.

    Raises:
        DatasetError: it is no dataset directory.
    """
    from recsys.privacy.suppression import SuppressionList

    return SuppressionList(home).apply(Dataset.open(directory))


def build_features_and_materialise(
    home: Home, directory: Path, config: "TrainConfig", progress: Progress | None = None
) -> dict[str, Any]:
    """Validates, builds what is stale, applies and materialises the feature repo, loads the facts."""
    from recsys.data.validation import require_valid
    from recsys.features.build import build_features, is_current

    dataset = open_dataset(home, directory)
    home.require_owner(dataset.config.name)
    if not is_current(dataset, home.features, config.features):
        require_valid(directory, progress)
    home.claim(dataset.config.name, directory)  # only now: what breaks the contract leaves no trace
    report = build_features(dataset, home.features, home.encodings, config.features, progress)
    home.remember_features(dataset.fingerprint())
    materialised = _materialise(home, progress)
    facts = _load_facts(home, dataset, report.changed or materialised.changed, progress)
    return {
        "changed": report.changed or materialised.changed,
        "rows": report.rows,
        "missing": report.missing,
        "materialised": materialised.written,
        "facts": facts,
        "schema_hash": report.manifest.schema_hash,
    }


def _materialise(home: Home, progress: Progress | None) -> Any:
    from feature_repo.operations import apply_and_materialise

    os.environ["RECSYS_HOME"] = str(home.path)
    return apply_and_materialise(home.path, progress)


def _load_facts(home: Home, dataset: Dataset, changed: bool, progress: Progress | None) -> int:
    from recsys.policy.registry import pack_in_force
    from serving.settings import Settings
    from serving.store.database import open_store
    from serving.store.sync import load_or_confirm_facts

    pack = pack_in_force(home.path, dataset.config.policy)
    with open_store(Settings(home=home.path).store_url()) as store:
        return load_or_confirm_facts(dataset, store, changed, progress, pack)


def train_and_register(
    home: Home,
    directory: Path,
    config: "TrainConfig",
    progress: Progress | None = None,
    people: People | None = None,
) -> dict[str, Any]:
    """Features if stale, then a training run that is logged, registered and, through the gate, promoted.

    Raises:
        ApprovalError: the approver is the trainer.
    """
    from recsys.metrics.ranking import RankingMetrics
    from training.evaluate import MODEL, ORACLE
    from training.model_card import RunRecord
    from training.promote import decide_promotion
    from training.tracking import Tracker
    from training.train import Training

    signatures = sign(home, open_dataset(home, directory), config, people or People.of_process())
    build_features_and_materialise(home, directory, config, progress)
    dataset = open_dataset(home, directory)
    fingerprint = dataset.fingerprint()
    settings = config.model_dump(mode="json")
    version = hashlib.sha256(json.dumps([fingerprint, settings], sort_keys=True).encode()).hexdigest()[:12]
    tracker = Tracker(home.path)
    started = time.perf_counter()
    training = Training(dataset, home.path, config, version)
    outcome = training.run(progress)
    fairness = _measure_fairness(home, outcome, training.pack, config)
    per_query: dict[str, RankingMetrics] = outcome.evaluation.per_query
    baselines = {name: values.ndcg for name, values in per_query.items() if name not in (MODEL, ORACLE)}
    champion = _champion_ndcg(tracker, home, outcome.split, config)
    decision = decide_promotion(per_query[MODEL].ndcg, baselines, champion, config.evaluation)
    with tracker.run(dataset.config.name, version):
        tracker.log_outcome(outcome, settings, fingerprint, time.perf_counter() - started)
        tracker.log_fairness(fairness, [column.key for column in outcome.refused])
        registered = tracker.register(RunRecord(outcome, fairness, fingerprint, decision, signatures))
    outcome.clean_up()
    return {
        "version": registered.version,
        "run_id": registered.run_id,
        "promoted": registered.promoted,
        "waits_for_approval": decision.passed and not registered.promoted,
        "trainer": signatures.trainer,
        "approver": signatures.approver,
        "gate": decision.reasons,
        "refused_columns": [column._asdict() for column in outcome.refused],
        "fairness_alarms": [alarm for alarm in fairness["alarms"] if alarm["certain"]],
        "evaluation": outcome.evaluation.report,
        "best_epoch": outcome.selection.state.best_epoch,
        "labels": outcome.labels,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _measure_fairness(home: Home, outcome: Any, pack: Any, config: "TrainConfig") -> dict[str, Any]:
    """By the weights of the run that have not seen the frozen split."""
    from threadpoolctl import threadpool_limits

    from recsys.bundle import SELECTION, Bundle
    from training.fairness.report import measure_fairness
    from training.loop import loop_threads

    bundle = Bundle.load(outcome.folder / SELECTION)
    with threadpool_limits(loop_threads(config.loop), "blas"):
        return measure_fairness(bundle, outcome.split, home.path, pack, config.fairness, config.evaluation.k)


def _champion_ndcg(tracker: Any, home: Home, split: Any, config: "TrainConfig") -> Any:
    """[Q] NDCG of the present champion on the same questions; None where there is none that fits the features."""
    from recsys.errors import SchemaMismatchError
    from training.evaluate import MODEL, evaluate_bundle, load_selection

    try:
        bundle = load_selection(tracker.bundle_folder(), home.path)
    except (SchemaMismatchError, ModelError):
        return None
    if set(bundle.products["product_id"]) != set(split.catalogue.product_ids):
        return None
    return evaluate_bundle(bundle, split, config.evaluation).per_query[MODEL].ndcg


def evaluate_champion(home: Home, directory: Path) -> dict[str, Any]:
    """The champion's selection weights and the baselines on the frozen split."""
    from training.config import EvaluationConfig
    from training.evaluate import evaluate_bundle, load_selection, load_split
    from training.tracking import Tracker

    dataset = open_known(home, directory)
    bundle = load_selection(Tracker(home.path).bundle_folder(), home.path)
    return evaluate_bundle(bundle, load_split(dataset, home.path), EvaluationConfig()).report


def recommend_batch(
    home: Home,
    directory: Path,
    asked: tuple[str, Kind, int, Path | None],
    out: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Ranked lists by the champion; `asked` is customers, kind, k and candidates as on the command line.

    Where no version ever passed its gate, popularity was the better ranker, and the lists are by it.

    Raises:
        RecsysError: `out` cannot be written (found before anything is loaded), or there is nothing to rank with.
    """
    from recsys.bundle import Bundle
    from training.recommend import BatchRecommender, BatchRequest
    from training.tracking import Tracker

    customers, kind, k, candidates = asked
    require_writable(out)
    dataset = open_known(home, directory)
    request = BatchRequest(
        customers=None if customers == "all" else read_ids(Path(customers)),
        kind=kind,
        k=k,
        candidates=None if candidates is None else read_ids(candidates),
    )
    tracker = Tracker(home.path)
    refused = tracker.refused()
    folder = tracker.bundle_folder() if refused is None else tracker.refused_bundle_folder(refused)
    bundle = Bundle.load(folder)
    check_schema(home, bundle.manifest.schema_hash)
    report = BatchRecommender(dataset, home.path, bundle, popular_only=refused is not None).write(
        request, out, progress
    )
    return {
        "refused_version": refused,
        "out": str(out),
        "customers": report.customers,
        "rows": report.rows,
        "short_lists": report.short_lists,
        "modes": report.modes,
    }


def require_writable(file: Path) -> None:
    """Finds at the start what would else show after all the work.

    Raises:
        RecsysError: `file` is a directory, or its folder can be neither written nor made.
    """
    if file.is_dir():
        raise RecsysError(f"{file}: is a directory: name a file")
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise RecsysError(f"{file}: cannot be written: {folder} is not a folder that you may write to")


def write_file(file: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def check_schema(home: Home, schema_hash: str) -> None:
    """Refuses a bundle that was trained on other features than the home holds.

    Raises:
        SchemaMismatchError: it was.
    """
    from recsys.errors import SchemaMismatchError
    from recsys.features.spec import FeatureManifest

    present = FeatureManifest.read(home.features).schema_hash
    if present != schema_hash:
        raise SchemaMismatchError(schema_hash, present)


def open_known(home: Home, directory: Path) -> Dataset:
    """The dataset of a home that was trained on it, in the state that it was trained on.

    Raises:
        ModelError: nothing was trained yet.
        HomeError: the home is another dataset's, or the dataset changed since.
    """
    dataset = open_dataset(home, directory)
    record = home.record()
    if record is None or not record.features_of:
        raise ModelError(f"the home {home.path} has no champion yet: run `recsys train {directory}` first")
    home.require_owner(dataset.config.name)
    home.require_current_features(dataset.fingerprint())
    home.claim(dataset.config.name, directory)
    return dataset


def serve_champion(home: Home, host: str, port: int, workers: int, console: Console) -> None:
    """Serves until it is told to stop; says on the console where the page is.

    Raises:
        ConfigError: it would stand open to other machines.
        HomeError: the port is busy, or the store cannot be used.
        ModelError: there is no champion, or it does not fit the features.
    """
    from serving.run import serve
    from serving.settings import read_settings

    os.environ["RECSYS_HOME"] = str(home.path)

    def announce(address: str) -> None:
        console.print(f"page: {address}", highlight=False, soft_wrap=True, markup=False)

    serve(read_settings(home=home.path, host=host, port=port), workers, announce)


def issue_local_token(home: Home, customer: str | None, service: str | None, scopes: list[str] | None) -> str:
    """A bearer token for the local server: of a customer, or of a service.

    Raises:
        HomeError: the home, which keeps the signing key, cannot be written.
        ConfigError: the server is set to take the identity provider's tokens only.
    """
    from serving.settings import Mode, read_settings
    from serving.tokens import issue_token

    settings = read_settings(home=home.path)
    if settings.mode is not Mode.LOCAL:
        raise ConfigError("RECSYS_MODE=production", "tokens come from the bank's identity provider, not from here")
    return issue_token(
        settings.signing_key(),
        subject=customer or service or "",
        scopes=scopes or DEFAULT_SCOPES,
        customer_id=customer,
        lifetime=timedelta(hours=12),
    )
