"""What the project does with Feast: open the store of a home, and bring it up to date with the feature tables.

Feast takes seconds to import, so nothing here imports it before it is needed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from rich.progress import Progress

from feature_repo.lean import ONLINE_ONLY, import_feast
from feature_repo.settings import StoreSettings
from recsys.errors import HomeError
from recsys.features.spec import FeatureManifest
from recsys.features.tables import check_tables

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.materialise import MaterialiseReport

REPOSITORY: Final = Path(__file__).parent


def features_folder(home: Path) -> Path:
    """Where the feature tables of a home lie."""
    return home / "features"


def feast_folder(home: Path) -> Path:
    """Where Feast keeps its registry and, with SQLite, the online values of a home."""
    return home / "feast"


def open_store(home: Path, settings: StoreSettings | None = None, online_only: bool = False) -> "FeatureStore":
    """The feature store of a home whose features were applied.

    Args:
        home: the state directory.
        settings: which online store; by default what the environment says.
        online_only: whether point-in-time joins will not be asked for: saves what they would need.

    Raises:
        HomeError: the home has no feature store yet.
    """
    if not (feast_folder(home) / "registry.db").exists():
        raise HomeError(f"{home} has no feature store yet: run `recsys features DATASET` first")
    return make_store(home, settings or StoreSettings(), online_only)


def make_store(home: Path, settings: StoreSettings, online_only: bool = False) -> "FeatureStore":
    """The feature store of a home as the YAML files beside this module define it, applied or not."""
    import_feast()
    from feast import FeatureStore, RepoConfig

    text = (REPOSITORY / settings.yaml_name).read_text()
    text = text.replace("${RECSYS_HOME}", str(home.resolve())).replace("${RECSYS_REDIS}", settings.redis)
    feast_folder(home).mkdir(parents=True, exist_ok=True)
    values = yaml.safe_load(text) | ({"offline_store": ONLINE_ONLY} if online_only else {})
    return FeatureStore(config=RepoConfig(**values, repo_path=REPOSITORY))


@contextmanager
def offline_engine() -> Iterator[None]:
    """A DuckDB in memory for Feast's joins, which go through ibis' default one, closed with all rows given to it.

    DuckDB draws a progress bar of its own on the standard output, where `--json` results go: it is turned off.
    """
    import ibis

    backend = ibis.duckdb.connect()
    backend.raw_sql("SET enable_progress_bar = false")
    ibis.options.default_backend = backend
    try:
        yield
    finally:
        ibis.options.default_backend = None
        backend.disconnect()


def apply_and_materialise(
    home: Path, progress: Progress | None = None, settings: StoreSettings | None = None
) -> "MaterialiseReport":
    """Checks the feature tables, tells Feast their definitions and writes what is new to the online store.

    Does nothing where this very build was materialised into this very store already.

    Args:
        home: the state directory, with feature tables.
        progress: where to show how far it is.
        settings: which online store; by default what the environment says.

    Raises:
        FeatureError: there are no tables, or they are not what their manifest promises.
    """
    import_feast()
    from feature_repo.materialise import Materialiser

    settings = settings or StoreSettings()
    folder = features_folder(home)
    manifest = FeatureManifest.read(folder)
    store = make_store(home, settings)
    materialiser = Materialiser(folder, feast_folder(home), manifest, store, settings)
    if _was_applied(home, settings) and (report := materialiser.unchanged()) is not None:
        return report
    check_tables(folder, manifest)
    apply(store, manifest, folder)
    if settings.online_store == "sqlite":
        _let_readers_in(feast_folder(home) / "online.db")
    return materialiser.run(progress)


def apply(store: "FeatureStore", manifest: FeatureManifest, folder: Path) -> None:
    """Makes Feast's registry hold the definitions of these tables and no others."""
    from feature_repo.services import repository

    wanted = repository(manifest, folder).objects()
    names = {item.name for item in wanted}
    known = [
        *store.list_feature_services(),
        *store.list_batch_feature_views(),
        *store.list_data_sources(),
        *store.list_entities(),
    ]
    stale = [item for item in known if item.name not in names]
    store.apply(wanted, objects_to_delete=stale, partial=False)


def _was_applied(home: Path, settings: StoreSettings) -> bool:
    """Whether the files are there that Feast makes when definitions are applied."""
    names = ["registry.db", "online.db"] if settings.online_store == "sqlite" else ["registry.db"]
    return all((feast_folder(home) / name).exists() for name in names)


def _let_readers_in(database: Path) -> None:
    """A write-ahead log, so that serving reads on while values are written. SQLite remembers it in the file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
