"""Loads what is served: the champion from the MLflow registry, the feature store, the SQL store. Refuses a mismatch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from recsys.bundle import Bundle, BundleManifest
from recsys.config import read_yaml
from recsys.decisions.answer import DecisionRequest, Placement
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.errors import ConfigError, ModelError, SchemaMismatchError
from recsys.features.spec import FeatureManifest
from recsys.home import Home
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts
from recsys.policy.pack import PolicyPack, load_pack
from recsys.policy.registry import pack_in_force
from recsys.schema import Kind, PolicyName
from serving.items import NewItem
from serving.settings import Settings
from serving.store.catalogue import CatalogueStore, Revision
from serving.store.database import Store

REGISTERED_MODEL = "recommender"
CHAMPION = "champion"
_ANSWERS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says where there is no such model or alias; anything else is no answer."""
_NO_CHAMPION = "no champion in {home}: train and promote one with `recsys train DATASET`"


class NoChampionError(ModelError):
    """The registry answers, and what it says is that no version is the champion."""


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
    catalogue_version: str = ""
    """Digest of the items that it was trained with, with all that is known of them, and `+` the revision."""
    catalogue_revision: int = 0
    """The last change of the catalogue that is in it."""
    personal: bool = True
    """False: no version is the champion, and this one only knows what can be shown and what is popular."""

    @property
    def policy_version(self) -> str:
        """Pack and its version."""
        pack = self.pipeline.policy.pack
        return f"{pack.name}@{pack.version}"

    @property
    def registry_version(self) -> str:
        """Under which the registry has it."""
        return self.version.rpartition("@")[2]


class ModelSource(Protocol):
    """Where new models and policies come from; `serving.champion.ChampionSource` is the real one."""

    def champion(self) -> str:
        """The registry version that is to be served.

        Raises:
            ModelError: there is none, or the registry does not answer.
        """

    def load(self, version: str) -> ServedModel:
        """A version, checked and warm. Raises whatever is wrong with it."""

    def files(self, version: str) -> object:
        """Equal as long as a version's files are what they were; never raises."""

    def policy(self, name: PolicyName) -> PolicyPack | None:
        """The pack of that name where its file has changed since the last call; None: it has not.

        Raises:
            ConfigError: it has, and is not valid.
        """

    def catalogue(self) -> int:
        """The number of the last change of the catalogue.

        Raises:
            StoreError: it cannot be read.
        """


class ItemTaker(Protocol):
    """Takes items of the catalogue in; `serving.live_catalogue.LiveCatalogue` is the real one."""

    store: CatalogueStore

    def put(self, item: NewItem, subject: str, now: datetime) -> Revision:
        """Stores an item, durably.

        Raises:
            RefusedItemError: it cannot be taken; nothing was stored.
            StoreError: nothing was stored.
        """


@dataclass(frozen=True)
class Components:
    """All that a request needs."""

    model: ServedModel
    features: FeatureReader
    store: Store
    source: ModelSource | None = None
    """Of newer models and policies; None: what is served stays."""
    catalogue: ItemTaker | None = None
    """Takes items in; None: the catalogue is the model's."""


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
    pack: PolicyPack | None = None
    """The bank's own policy pack where the home has one; None: the packaged one."""


def find_champion(home: Path, version: str | None = None) -> Champion:
    """Asks the registry for `models:/recommender@champion`, or for a version of it.

    Raises:
        ModelError: there is none (yet), or its files are gone.
    """
    if version is None:
        version = champion_version(home)
    uri = registry_uri(home)
    import mlflow

    try:
        source = mlflow.MlflowClient(uri, uri).get_model_version_download_uri(REGISTERED_MODEL, version)
        folder = mlflow.artifacts.download_artifacts(artifact_uri=source, tracking_uri=uri)
    except mlflow.exceptions.MlflowException as error:
        raise ModelError(f"the registry of {home} has no version {version} of the model any more") from error
    except (OSError, SQLAlchemyError) as error:
        raise ModelError(f"the champion of {home} cannot be read ({error}): train again") from error
    return Champion(version, Path(folder) / "artifacts" / "bundle")


def champion_version(home: Path) -> str:
    """Which version has the alias `champion`; costs a few ms.

    Raises:
        ModelError: none has (yet), or the registry does not answer.
    """
    uri = registry_uri(home)
    import mlflow

    try:
        return str(mlflow.MlflowClient(uri, uri).get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).version)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code in _ANSWERS:
            raise NoChampionError(_NO_CHAMPION.format(home=home)) from error
        raise ModelError(f"the registry of {home} does not answer: {error}") from error
    except SQLAlchemyError as error:
        raise ModelError(f"the registry of {home} cannot be read: {type(error).__name__}") from error


def newest_version(home: Path) -> str:
    """The version that was registered last, whatever its gate said.

    Raises:
        NoChampionError: there is none.
        ModelError: the registry does not answer.
    """
    uri = registry_uri(home)
    import mlflow

    try:
        found = mlflow.MlflowClient(uri, uri).search_model_versions(f"name='{REGISTERED_MODEL}'")
    except (mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
        raise ModelError(f"the registry of {home} does not answer: {type(error).__name__}") from error
    if not found:
        raise NoChampionError(_NO_CHAMPION.format(home=home))
    return max((str(one.version) for one in found), key=int)


def find_stand_in(home: Path) -> Champion:
    """What is served by popularity alone where the registry knows versions, but none of them is the champion.

    Raises:
        NoChampionError: it knows none.
        ModelError: the registry does not answer, or the files are gone.
    """
    return find_champion(home, newest_version(home))


def registry_uri(home: Path) -> str:
    """The registry of a home.

    Raises:
        ModelError: it has none yet.
    """
    database = home.resolve() / "mlflow" / "mlflow.db"
    if not database.exists():
        raise ModelError(_NO_CHAMPION.format(home=home))
    return f"sqlite:///{database}"


def load_champion(home: Path, version: str | None = None) -> LoadedChampion:
    """The champion's bundle, or that of a version.

    Raises:
        ModelError: there is none, or it is incomplete.
        ConfigError: the bank's own policy pack is not valid.
    """
    champion = find_champion(home, version)
    bundle = Bundle.load(champion.folder)
    return LoadedChampion(bundle, champion.version, pack_in_force(home, bundle.manifest.policy))


def check_ready(settings: Settings) -> None:
    """Finds what would stop the service from starting, without loading the model.

    Raises:
        NoChampionError: there is no version of the model.
        ModelError: the champion cannot be read.
        FeatureError: there are no features.
        SchemaMismatchError: they do not fit.
    """
    try:
        champion = find_champion(settings.home)
    except NoChampionError:
        champion = find_stand_in(settings.home)
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
    """Runs the model once, for a customer of whom nothing is known: its first pass is slower than the others.

    Raises:
        ModelError: it gives scores that are no numbers.
    """
    scorer, now = model.pipeline.scorer, datetime.now(UTC)
    vectors = scorer.encode([{}], [now])
    for kind in Kind:
        if np.isnan(scorer.score(vectors, kind)).any():
            raise ModelError(f"model {model.version} gives {kind} scores that are no numbers: train again")
    placements = tuple(Placement(kind, kind, 1) for kind in Kind)
    model.pipeline.decide({}, CustomerFacts.unknown(1), DecisionRequest(now, placements))


def assemble(champion: LoadedChampion) -> ServedModel:
    """A bundle as it decides: with the policy it names and the catalogue that it was trained on."""
    from recsys.recommender import Recommender

    bundle, manifest = champion.bundle, champion.bundle.manifest
    policy = PolicyEngine(champion.pack or load_pack(manifest.policy), manifest.repeatable)
    catalogue = Catalogue.from_frames(bundle.products, bundle.contents)
    return ServedModel(
        pipeline=DecisionPipeline(Recommender(bundle), policy, catalogue),
        version=f"{manifest.model_version}@{champion.version}",
        schema_hash=manifest.schema_hash,
        event_weights=manifest.event_weights,
        catalogue_version=catalogue_version(bundle),
    )


def catalogue_version(bundle: Bundle) -> str:
    """16 hex digits over every item and all that is known of it."""
    frames = [frame.write_json() for frame in (bundle.products, bundle.contents) if frame is not None]
    return sha256("\n".join(frames).encode()).hexdigest()[:16]
