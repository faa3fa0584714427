"""Loads what is served: the champion from the MLflow registry, the feature store, the SQL store. Refuses a mismatch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from recsys.bundle import Bundle, BundleManifest
from recsys.config import read_yaml
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.errors import ConfigError, ModelError, SchemaMismatchError
from recsys.features.spec import FeatureManifest
from recsys.home import Home
from recsys.policy.engine import PolicyEngine
from recsys.policy.pack import load_pack
from recsys.schema import Kind
from serving.settings import Settings
from serving.store.database import Store

REGISTERED_MODEL = "recommender"
CHAMPION = "champion"


class FeatureReader(Protocol):
    """The online features; `serving.features.OnlineFeatures` is the real one."""

    manifest: FeatureManifest

    def warm(self) -> None:
        """Makes the first real read as fast as the others."""

    def read_customer(self, customer_id: str) -> Mapping[str, Any] | None:
        """`<view>__<column>` to value; None where no view has the customer."""

    def update_customer_view(
        self, view: str, customer_id: str, change: Callable[[dict[str, Any] | None], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        """Reads a row of one view, changes it and writes it back, while nobody else does."""


class ServedModel(NamedTuple):
    """A model that is ready to decide; swapped as a whole."""

    pipeline: DecisionPipeline
    version: str
    schema_hash: str
    event_weights: Mapping[str, float]

    @property
    def policy_version(self) -> str:
        """Pack and its version."""
        pack = self.pipeline.policy.pack
        return f"{pack.name}@{pack.version}"


@dataclass(frozen=True)
class Components:
    """All that a request needs."""

    model: ServedModel
    features: FeatureReader
    store: Store


class Champion(NamedTuple):
    """Where the champion is."""

    version: str
    """In the registry."""
    folder: Path
    """The bundle."""


class LoadedChampion(NamedTuple):
    """The champion in memory."""

    bundle: Bundle
    version: str


def find_champion(home: Path) -> Champion:
    """Asks the registry for `models:/recommender@champion`.

    Raises:
        ModelError: there is none yet, or its files are gone.
    """
    database = home.resolve() / "mlflow" / "mlflow.db"
    none = f"no champion in {home}: train and promote one with `recsys train DATASET`"
    if not database.exists():
        raise ModelError(none)
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")
    try:
        version = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
        source = client.get_model_version_download_uri(REGISTERED_MODEL, version.version)
        folder = mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=f"sqlite:///{database}")
    except mlflow.exceptions.MlflowException as error:
        raise ModelError(none) from error
    except OSError as error:
        raise ModelError(f"the champion of {home} cannot be read ({error}): train again") from error
    return Champion(str(version.version), Path(folder) / "artifacts" / "bundle")


def load_champion(home: Path) -> LoadedChampion:
    """The champion's bundle.

    Raises:
        ModelError: there is none, or it is incomplete.
    """
    champion = find_champion(home)
    return LoadedChampion(Bundle.load(champion.folder), champion.version)


def check_ready(settings: Settings) -> None:
    """Finds what would stop the service from starting, without loading the model.

    Raises:
        ModelError: there is no champion.
        FeatureError: there are no features.
        SchemaMismatchError: they do not fit.
    """
    champion = find_champion(settings.home)
    path = champion.folder / "manifest.json"
    try:
        manifest = BundleManifest.parse(read_yaml(path), source=str(path))  # JSON is YAML
    except ConfigError as error:
        raise ModelError(f"the champion cannot be read ({error}): train again") from error
    check_schema(manifest.schema_hash, FeatureManifest.read(Home(settings.home).features).schema_hash)


def check_schema(bundle_hash: str, store_hash: str) -> None:
    """Raises SchemaMismatchError where the model was trained on other features than the store holds."""
    if bundle_hash != store_hash:
        raise SchemaMismatchError(bundle_hash, store_hash)


def warm(model: ServedModel) -> None:
    """Runs the model once, for a customer of whom nothing is known: its first pass is slower than the others."""
    scorer = model.pipeline.scorer
    vectors = scorer.encode([{}], [datetime.now(UTC)])
    for kind in Kind:
        scorer.score(vectors, kind)


def load_components(settings: Settings) -> Components:
    """Loads and checks everything; the first request finds it warm.

    Raises:
        RecsysError: something is missing or does not fit; the message says what to do.
    """
    import torch

    from recsys.recommender import Recommender
    from serving.features import OnlineFeatures

    torch.set_num_threads(settings.torch_threads)
    bundle, version = load_champion(settings.home)
    features = OnlineFeatures(settings.home)
    check_schema(bundle.manifest.schema_hash, features.schema_hash)
    store = Store(settings.store_url(), settings.sqlite_synchronous)
    store.create()
    policy = PolicyEngine(load_pack(bundle.manifest.policy), bundle.manifest.repeatable)
    catalogue = Catalogue.from_frames(bundle.products, bundle.contents)
    model = ServedModel(
        pipeline=DecisionPipeline(Recommender(bundle), policy, catalogue),
        version=f"{bundle.manifest.model_version}@{version}",
        schema_hash=bundle.manifest.schema_hash,
        event_weights=bundle.manifest.event_weights,
    )
    features.warm()
    warm(model)
    return Components(model, features, store)
