"""A start without the registry: the champion that served last serves again; an empty or spoilt copy is not trusted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from starlette.testclient import TestClient

from recsys.errors import ModelError
from serving.app import create_app
from serving.champion import ChampionSource, check_start, load_components
from serving.features import OnlineFeatures
from serving.kept_champion import FOLDER, KeptChampion
from serving.loading import find_champion
from serving.settings import Settings
from serving.testing import SIGNING_KEY, bearer, token_of
from tests.training.conftest import Governed, governed, register
from training.tracking import RegisteredVersion, tracking_uri

__all__ = ["governed", "register"]


@pytest.fixture
def home(governed: Governed, register: Callable[..., RegisteredVersion], tmp_path: Path) -> Path:
    """A copy of the home with a champion that has served once, and one version more."""
    version, _ = (register(passed=False).version for _ in range(2))
    home = tmp_path / "home"
    shutil.copytree(governed.home.path, home, ignore=shutil.ignore_patterns("champion"))
    crown(home, version)
    source(home).load_champion()
    return home


def crown(home: Path, version: str) -> None:
    uri = tracking_uri(home)
    mlflow.MlflowClient(uri, uri).set_registered_model_alias("recommender", "champion", version)


def source(home: Path) -> ChampionSource:
    return ChampionSource(home, OnlineFeatures(home).schema_hash)


def served(home: Path) -> str:
    return source(home).load_champion().registry_version


@pytest.mark.parametrize("how", ["gone", "garbage"])
def test_start_without_registry_serves_what_served_last_and_says_so(home: Path, how: str) -> None:
    version = served(home)
    home = home.rename(home.with_name("moved"))  # MLflow keeps connections to the databases that it has opened
    database = home / "mlflow" / "mlflow.db"
    database.unlink()
    if how == "garbage":
        database.write_bytes(b"no database " * 1000)
    settings = Settings(home=home, secret=SIGNING_KEY, reload_seconds=0.05)
    check_start(settings)
    with TestClient(create_app(settings, load_components), raise_server_exceptions=False) as client:
        body = {"customer_id": "c001", "placements": [{"name": "home", "kind": "products"}]}
        answer = client.post("/v1/recommendations", json=body, headers=bearer(token_of(None)))
        assert answer.status_code == 200
        assert answer.json()["versions"]["model"].endswith(f"@{version}")
        client.app.state.services.reloader.poll()  # type: ignore[attr-defined]
        ready = client.get("/readyz").json()
        assert ready["status"] == "ready"
        assert "the registry was refused" in ready["detail"]


def test_start_with_a_broken_champion_serves_what_served_last(home: Path) -> None:
    version = served(home)
    newer = str(int(version) + 1)
    crown(home, newer)
    folder = find_champion(home, newer).folder
    whole = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    try:
        assert served(home) == version
    finally:
        (folder / "manifest.json").write_bytes(whole)
    assert served(home) == newer
    assert KeptChampion(home).find().version == newer
    assert len(list((home / FOLDER).glob("*-*"))) == 1


def test_kept_champion_that_was_changed_is_not_trusted(home: Path) -> None:
    kept = KeptChampion(home).find()
    weights = next(kept.folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="not as it was written"):
        KeptChampion(home).find()
    (home / "mlflow" / "mlflow.db").unlink()
    with pytest.raises(ModelError, match="no champion in"):
        served(home)
