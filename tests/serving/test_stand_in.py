"""A start where no version is the champion: what is popular is served until one is."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from starlette.testclient import TestClient

from recsys.schema import Table
from serving.app import create_app
from serving.champion import ChampionSource, check_start, load_components
from serving.features import OnlineFeatures
from serving.loading import NoChampionError, find_stand_in
from serving.settings import Settings
from serving.testing import SIGNING_KEY, bearer, token_of
from tests.training.conftest import Governed, governed, register
from training.tracking import RegisteredVersion, Tracker, tracking_uri

__all__ = ["governed", "register"]


@pytest.fixture
def refused(governed: Governed, register: Callable[..., RegisteredVersion], tmp_path: Path) -> Path:
    """A copy of the home in which no version is the champion; the last two were refused by their gate."""
    for _ in range(2):
        register(passed=False)
    home = tmp_path / "home"
    shutil.copytree(governed.home.path, home, ignore=shutil.ignore_patterns("champion"))
    client = registry(home)
    if client.get_registered_model("recommender").aliases.get("champion"):
        client.delete_registered_model_alias("recommender", "champion")
    return home


@pytest.fixture
def client(refused: Path) -> Iterator[TestClient]:
    settings = Settings(home=refused, secret=SIGNING_KEY, reload_seconds=5)
    check_start(settings)
    with TestClient(create_app(settings, load_components)) as client:
        yield client


def registry(home: Path) -> mlflow.MlflowClient:
    uri = tracking_uri(home)
    return mlflow.MlflowClient(uri, uri)


def newest(home: Path) -> str:
    return max((str(one.version) for one in registry(home).search_model_versions()), key=int)


def ask(client: TestClient, customer: str) -> dict[str, Any]:
    placements = [{"name": "home", "kind": "products", "limit": 3}, {"name": "banner", "kind": "contents", "limit": 1}]
    body = {"customer_id": customer, "placements": placements}
    response = client.post("/v1/recommendations", json=body, headers=bearer(token_of(None)))
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def poll(client: TestClient) -> None:
    client.app.state.services.reloader.poll()  # type: ignore[attr-defined]


def test_start_without_champion_serves_what_is_popular_and_says_so(
    client: TestClient, refused: Path, governed: Governed
) -> None:
    bundle = governed.selection
    ids = bundle.products["product_id"].to_list()
    segments = [None, *governed.dataset.scan(Table.CUSTOMERS).collect()["segment"].unique()]
    popularity = np.stack([bundle.product_popularity.scores(segment) for segment in segments])
    modes = set()
    for customer in governed.dataset.scan(Table.CUSTOMERS).collect()["customer_id"].unique().sort()[:8]:
        answer = ask(client, customer)
        modes.add(answer["mode"])
        assert answer["versions"]["model"].endswith(f"@{newest(refused)}")
        for item in (item for place in answer["placements"] for item in place["items"]):
            assert {reason["code"] for reason in item["reasons"]} <= {"POPULAR", "POPULAR_SEGMENT"}, (
                "nobody was looked at"
            )
        for item in answer["placements"][0]["items"]:
            assert item["score"] in [pytest.approx(score) for score in popularity[:, ids.index(item["product_id"])]]
    assert "popular" in modes
    assert modes <= {"popular", "safe"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["detail"].startswith("no version is the champion, so what is popular is served")


def test_a_version_that_becomes_champion_is_taken_over(client: TestClient, refused: Path, governed: Governed) -> None:
    customers = governed.dataset.scan(Table.CUSTOMERS).collect()["customer_id"].unique().sort()[:8]
    before = [ask(client, customer)["mode"] for customer in customers]
    poll(client)
    assert [ask(client, customer)["mode"] for customer in customers] == before
    registry(refused).set_registered_model_alias("recommender", "champion", newest(refused))  # the very same version
    poll(client)
    assert {ask(client, customer)["mode"] for customer in customers} & {"personalised", "partial"}
    assert client.get("/readyz").json()["detail"] is None


def test_start_with_an_empty_registry_is_refused(governed: Governed, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(governed.home.path, home, ignore=shutil.ignore_patterns("champion", "mlflow"))
    tracker = Tracker(home)
    with tracker.run("tiny", "tiny"):
        pass
    with pytest.raises(NoChampionError, match="train and promote"):
        find_stand_in(home)
    with pytest.raises(NoChampionError):
        check_start(Settings(home=home, secret=SIGNING_KEY))
    with pytest.raises(NoChampionError):
        ChampionSource(home, OnlineFeatures(home).schema_hash).load_champion()
