"""A home as the source of what is served: the champion of its registry, the policy packs, features and facts."""

import logging
import os
import sys
from pathlib import Path
from typing import Final

from recsys.bundle import Bundle
from recsys.errors import ModelError
from recsys.home import Home
from recsys.policy.pack import PolicyPack
from recsys.policy.registry import OWN_PACKS, PackRegistry
from recsys.schema import PolicyName
from serving.kept_champion import KeptChampion
from serving.live_catalogue import LiveCatalogue, open_live_catalogue
from serving.loading import (
    Champion,
    Components,
    LoadedChampion,
    NoChampionError,
    ServedModel,
    assemble,
    champion_version,
    check_ready,
    check_schema,
    find_champion,
    find_stand_in,
    warm,
)
from serving.settings import Settings
from serving.store.database import Store
from serving.store.facts import FactStore

LOGGER: Final = logging.getLogger("recsys.serving")
Stamp = tuple[int, int, int] | None
"""What changes when a file does; None: there is no file."""


class ChampionSource:
    """Loads champions and policy packs of a home.

    Args:
        home: the state directory.
        schema_hash: of the features that this process reads; a model of other features is refused.
        catalogue: what changed since the models were trained; None: nothing can.
    """

    def __init__(self, home: Path, schema_hash: str, catalogue: LiveCatalogue | None = None) -> None:
        self._home = home
        self._schema_hash = schema_hash
        self._catalogue = catalogue
        self._packs = PackRegistry(home / OWN_PACKS)
        self._stamps: dict[PolicyName, Stamp] = {}
        self._kept = KeptChampion(home)
        self._last: tuple[str, Bundle] | None = None

    def champion(self) -> str:
        """The registry version that has the alias.

        Raises:
            ModelError: none has, or the registry does not answer.
        """
        return champion_version(self._home)

    def load(self, version: str) -> ServedModel:
        """A version with the catalogue of now, checked and warm.

        Raises:
            ModelError: it is incomplete, or does not fit the features or the catalogue.
            StoreError: the changes of the catalogue cannot be read.
            ConfigError: there is no policy pack for it that was ever valid.
        """
        if self._last is not None and self._last[0] == version:  # another catalogue, while the registry may be down
            return self._assemble(version, self._last[1])
        found = find_champion(self._home, version)
        model = self._load(found)
        self._kept.keep(found)
        return model

    def files(self, version: str) -> tuple[tuple[str, Stamp], ...] | None:
        """Names and stamps of a version's files; None where nobody says which they are."""
        try:
            folder = find_champion(self._home, version).folder
            return tuple((path.name, _stamp(path)) for path in sorted(folder.rglob("*")))
        except (ModelError, OSError):
            return None

    def load_champion(self) -> ServedModel:
        """What a start serves: the champion, or the one that served last where the champion cannot be loaded.

        Where no version is the champion, none may rank: the newest one's catalogue and popularity stand in.

        Raises:
            NoChampionError: the registry has no version at all.
            ModelError: neither can be loaded; the error is the champion's.
        """
        try:
            return self.load(self.champion())
        except NoChampionError:
            model = self._load(find_stand_in(self._home))._replace(personal=False)
            LOGGER.warning(
                "no version is the champion: what is popular is served, with the catalogue of %s", model.version
            )
            return model
        except ModelError as error:
            try:
                model = self._load(self._kept.find())
            except ModelError as second:
                LOGGER.info("there is nothing to fall back on: %s", second)
                raise error from second
            LOGGER.error("%s serves, as it did before: %s", model.version, error)
            return model

    def _load(self, found: Champion) -> ServedModel:
        bundle = Bundle.load(found.folder)
        check_schema(bundle.manifest.schema_hash, self._schema_hash)
        model = self._assemble(found.version, bundle)
        self._last = found.version, bundle
        return model

    def _assemble(self, version: str, bundle: Bundle) -> ServedModel:
        champion = LoadedChampion(bundle, version, self._packs.get(bundle.manifest.policy))
        model = assemble(champion) if self._catalogue is None else self._catalogue.assemble(champion)
        warm(model)
        return model

    def catalogue(self) -> int:
        """The number of the last change of the catalogue.

        Raises:
            StoreError: it cannot be read.
        """
        return 0 if self._catalogue is None else self._catalogue.store.head()

    def policy(self, name: PolicyName) -> PolicyPack | None:
        """The pack of that name where its file has changed since the last call; None: it has not.

        Raises:
            ConfigError: it has, and is not valid: the last good one stays in force.
        """
        stamp = _stamp(self._home / OWN_PACKS / f"{name}.yaml")
        if name in self._stamps and self._stamps[name] == stamp:
            return None
        self._stamps[name] = stamp  # before it is read: what is written meanwhile is read the next time
        self._packs.get(name)
        failures = self._packs.reload()
        if failures:
            raise failures[0]
        return self._packs.get(name)


def check_start(settings: Settings) -> None:
    """As `check_ready`, but where the champion cannot be loaded a kept one will do.

    Raises:
        ModelError: there is neither; the error is the champion's.
    """
    try:
        check_ready(settings)
    except NoChampionError:
        raise
    except ModelError as error:
        try:
            KeptChampion(settings.home).find()
        except ModelError:
            raise error from None


def load_components(settings: Settings) -> Components:
    """Loads and checks everything; the first request finds it warm.

    Raises:
        RecsysError: something is missing or does not fit; the message says what to do.
    """
    from threadpoolctl import threadpool_limits

    from serving.features import OnlineFeatures

    _bound_torch(settings.torch_threads)
    features = OnlineFeatures(settings.home)
    store = Store(settings.store_url(), settings.sqlite_synchronous)
    store.create()
    FactStore(store).warm()
    catalogue = open_live_catalogue(store, Home(settings.home))
    source = ChampionSource(settings.home, features.schema_hash, catalogue)
    model = source.load_champion()
    features.warm()
    threadpool_limits(settings.torch_threads, "blas")  # of what is loaded by now: small products only wait for others
    return Components(model, features, store, source, catalogue)


def _bound_torch(threads: int) -> None:
    """Bounds torch's threads whether it is there already or comes later, with the first new item of the catalogue."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
