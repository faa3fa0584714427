import os
import subprocess
import sys
from pathlib import Path

import pytest
from feast.repo_operations import get_repo_files

import feature_repo
from feature_repo import definitions
from feature_repo.operations import open_store
from feature_repo.services import repository
from feature_repo.settings import StoreSettings
from recsys.errors import HomeError
from recsys.features.spec import AS_OF, CUSTOMER_SERVICE, FeatureManifest

REPO = Path(feature_repo.__file__).parent
SQLITE = StoreSettings(online_store="sqlite")


def test_feast_scans_the_definitions_and_nothing_else() -> None:
    assert [file.name for file in get_repo_files(REPO)] == ["definitions.py"]


def test_definitions_follow_the_manifest(built_home: Path) -> None:
    manifest = FeatureManifest.read(built_home / "features")
    made = repository(manifest, built_home / "features")
    assert [view.name for view in made.views] == [view.name for view in manifest.views]
    assert [service.name for service in made.services] == ["recommender_v1", "products_v1", "contents_v1"]
    for view, feast_view in zip(manifest.views, made.views, strict=True):
        assert [field.name for field in feast_view.features] == [AS_OF, *(column.name for column in view.columns)]
        assert feast_view.join_keys == [view.entity.value]
    in_service = [projection.name for projection in made.services[0].feature_view_projections]
    assert in_service == [view.name for view in manifest.views_of("customer_id")]  # type: ignore[arg-type]


def test_feast_apply_from_the_folder_makes_the_same_registry(fresh_home: Path, applied_home: Path) -> None:
    (fresh_home / "feast").mkdir()
    environment = {**os.environ, "RECSYS_HOME": str(fresh_home)}
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(REPO), "apply"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stores = [open_store(home, SQLITE) for home in (fresh_home, applied_home)]
    services = [store.get_feature_service(CUSTOMER_SERVICE).feature_view_projections for store in stores]
    features = [[(projection.name, projection.features) for projection in service] for service in services]
    assert features[0] == features[1]
    views = [
        {view.name: (view.schema, view.ttl, view.entities) for view in store.list_feature_views()} for store in stores
    ]
    assert views[0] == views[1]
    assert len(views[0]) == 12


def test_definitions_without_a_home_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    definitions._definitions.cache_clear()
    for value in (None, "relative/path"):
        if value is None:
            monkeypatch.delenv("RECSYS_HOME", raising=False)
        else:
            monkeypatch.setenv("RECSYS_HOME", value)
        with pytest.raises(HomeError, match="RECSYS_HOME"):
            dir(definitions)


def test_definitions_unknown_name_is_an_attribute_error(monkeypatch: pytest.MonkeyPatch, built_home: Path) -> None:
    definitions._definitions.cache_clear()
    monkeypatch.setenv("RECSYS_HOME", str(built_home))
    assert "customer_profile" in dir(definitions)
    assert definitions.customer_profile.name == "customer_profile"
    with pytest.raises(AttributeError, match="nothing"):
        _ = definitions.nothing
    definitions._definitions.cache_clear()


def test_yaml_of_both_stores_names_its_online_store() -> None:
    assert StoreSettings(online_store="redis", redis="h:1,password=x").identity == "redis:h:1"
    for kind in ("sqlite", "redis"):
        text = (REPO / StoreSettings(online_store=kind).yaml_name).read_text()  # type: ignore[arg-type]
        assert f"type: {kind}" in text
        assert "type: duckdb" in text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_ONLINE_STORE", "redis")
    monkeypatch.setenv("RECSYS_REDIS", "cache.bank:6380,db=2")
    assert StoreSettings().identity == "redis:cache.bank:6380"
