"""PUT of products and creatives: live without retraining, withdrawn from the next answer on, there after a restart."""

import io
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from recsys.bundle import Bundle
from recsys.home import Home
from serving.app import create_app
from serving.champion import load_components
from serving.live_catalogue import open_live_catalogue
from serving.loading import load_champion
from serving.replay import Replayer
from serving.settings import Settings
from serving.store.decisions import DecisionStore
from serving.testing import SIGNING_KEY, add_customer, bearer, confirm_facts, token_of
from serving.tokens import CATALOGUE, READ
from tests.training.conftest import Governed, governed, register
from training.tracking import RegisteredVersion, tracking_uri

__all__ = ["governed", "register"]
ALL = [{"name": "all", "kind": "products", "limit": 50}, {"name": "banner", "kind": "contents", "limit": 50}]
PRODUCT = {"name": "Travel card", "category": "card", "description": "Pay anywhere", "status": "live", "value": 9.5}
APART = [{"name": "contents", "kind": "contents", "limit": 50}]


class Shop:
    """The real service on the real champion of the tiny bank."""

    def __init__(self, client: TestClient, app: FastAPI) -> None:
        self.client = client
        self.services = app.state.services

    def put(self, path: str, body: dict[str, Any], token: str | None = None) -> Any:
        return self.client.put(f"/v1/catalogue/{path}", json=body, headers=bearer(token or token_of(None)))

    def shown(self, placements: list[dict[str, Any]] = ALL) -> tuple[set[str], set[str], dict[str, Any]]:
        """Products and creatives of one answer, and the answer."""
        body = {"customer_id": "guest", "placements": placements}
        answer = self.client.post("/v1/recommendations", json=body, headers=bearer(token_of(None))).json()
        items = [item for place in answer["placements"] for item in place["items"]]
        return {item["product_id"] for item in items}, {item["content_id"] for item in items}, answer

    def wait(self, revision: int) -> None:
        deadline = time.monotonic() + 10
        while self.services.models.current.catalogue_revision < revision:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def open_shop(governed: Governed, register: Callable[..., RegisteredVersion], tmp_path: Path) -> Callable[..., Any]:
    home, uri = governed.home.path, tracking_uri(governed.home.path)
    version = register(passed=False).version
    mlflow.MlflowClient(uri, uri).set_registered_model_alias("recommender", "champion", version)

    @contextmanager
    def run(reload_seconds: float = 0.05) -> Iterator[Shop]:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        settings = Settings(home=home, secret=SIGNING_KEY, database_url=url, reload_seconds=reload_seconds)
        app = create_app(settings, load_components)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield Shop(client, app)

    return run


def fill(shop: Shop) -> None:
    """A customer whom the rules know, so that there are answers to look at."""
    now = shop.services.clock()
    confirm_facts(shop.services.store, now)
    add_customer(shop.services.store, "guest", updated_at=now, risk_assessed_at=now)


def picture(colour: str = "teal") -> str:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def test_catalogue_new_items_are_live_and_there_after_a_restart(open_shop: Callable[..., Any]) -> None:
    with open_shop() as shop:
        fill(shop)
        before = shop.shown()[0]
        put = shop.put("products/p-new", {**PRODUCT, "picture": picture(), "features": {"tags": ["safe"]}})
        assert put.status_code == 200, put.text
        creative = {"product_id": "p-new", "headline": "Fly away", "status": "approved", "picture": picture("red")}
        answer = shop.put("contents/k-new", creative).json()
        shop.wait(answer["revision"])
        products, _, found = shop.shown()
        assert products == before | {"p-new"}
        titles = {item["product_id"]: item["title"] for item in found["placements"][0]["items"]}
        assert titles["p-new"] == "Travel card"
        assert "k-new" in shop.shown(APART)[1]
        event = {"event_id": "e1", "customer_id": "guest", "event_type": "click", "product_id": "p-new"}
        event["event_timestamp"] = shop.services.clock().isoformat()
        sent = shop.client.post("/v1/events", json=event, headers=bearer(token_of(None)))
        assert sent.json()["accepted"] == 1
    with open_shop() as shop:
        assert "p-new" in shop.shown()[0]
        assert "k-new" in shop.shown(APART)[1]


def test_catalogue_withdrawn_item_is_gone_from_the_next_answer_on_before_any_reload(
    open_shop: Callable[..., Any],
) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        products = shop.shown()[0]
        gone = sorted(products)[0]
        assert shop.put(f"products/{gone}", {**PRODUCT, "status": "paused"}).json()["live"] is False
        assert shop.shown()[0] == products - {gone}
        contents = shop.shown(APART)[1]
        assert len(contents) > 1
        about = {item["content_id"]: item["product_id"] for item in shop.shown(APART)[2]["placements"][0]["items"]}
        withdrawn = sorted(contents)[0]
        shop.put(f"contents/{withdrawn}", {"product_id": about[withdrawn], "status": "withdrawn"})
        assert withdrawn not in shop.shown(APART)[1]
        assert gone not in about.values()


def test_catalogue_changed_product_is_held_back_until_its_new_facts_are_known(open_shop: Callable[..., Any]) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        assert "p2" in shop.shown()[0]
        revision = shop.put("products/p2", {**PRODUCT, "name": "Platinum card"}).json()["revision"]
        assert "p2" not in shop.shown()[0]
        shop.services.reloader.poll()
        shop.wait(revision)
        items = shop.shown()[2]["placements"][0]["items"]
        assert {item["title"] for item in items if item["product_id"] == "p2"} == {"Platinum card"}


def test_catalogue_decisions_under_every_revision_replay(open_shop: Callable[..., Any], governed: Governed) -> None:
    home = governed.home.path
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        made = [shop.shown()[2]["decision_id"]]
        shop.put("products/p-new", {**PRODUCT, "picture": picture()})
        shop.put("products/p2", {**PRODUCT, "status": "paused"})
        made.append(shop.shown()[2]["decision_id"])  # both are held back
        shop.services.reloader.poll()
        made.append(shop.shown()[2]["decision_id"])
        shop.put("products/p-new", {**PRODUCT, "name": "Other"})
        shop.services.reloader.poll()
        shop.services.log.flush()
        catalogue = open_live_catalogue(shop.services.store, Home(home))
        replayer = Replayer(
            DecisionStore(shop.services.store),
            lambda version, revision: catalogue.assemble(load_champion(home, version), revision),
        )
        found = [replayer.replay(decision_id) for decision_id in made]
    assert [replay.changed_inputs for replay in found] == [[], [], []]
    assert all(replay.identical for replay in found)


def test_catalogue_what_cannot_be_put_is_refused_and_changes_nothing(open_shop: Callable[..., Any]) -> None:
    with open_shop() as shop:
        fill(shop)
        refused: list[tuple[str, dict[str, Any], str]] = [
            ("products/x", {**PRODUCT, "status": "withdrawn"}, "status"),
            ("products/x", {**PRODUCT, "colour": "red"}, "colour"),
            ("products/x", {**PRODUCT, "features": {"colour": "red"}}, "there are: tags"),
            ("products/x", {**PRODUCT, "picture": "not base64"}, "picture"),
            ("products/x", {**PRODUCT, "picture": b64encode(b"no picture").decode()}, "none that can be read"),
            ("contents/x", {"product_id": "nobody", "status": "approved"}, "put it first"),
        ]
        for path, body, said in refused:
            answer = shop.put(path, body)
            assert answer.status_code == 422
            assert said in answer.text
        assert shop.put("products/x", PRODUCT, token_of(None, READ)).status_code == 403
        assert shop.put("products/x", PRODUCT, token_of("anna", CATALOGUE)).status_code == 403
        assert shop.services.catalogue.store.head() == 0


def test_catalogue_item_that_no_model_can_take_leaves_the_service_as_it_is(open_shop: Callable[..., Any]) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        fill(shop)
        products = shop.shown()[0]
        revision = shop.put("products/p-new", PRODUCT).json()["revision"]
        with shop.services.store.writing() as connection:
            connection.exec_driver_sql('UPDATE catalogue_changes SET columns = \'{"available_from": "soon"}\'')
        shop.services.reloader.poll()
        assert shop.shown()[0] == products
        ready = shop.client.get("/readyz").json()
        assert ready["status"] == "ready"
        assert f"catalogue {revision} was refused" in ready["detail"]
        assert 'recsys_reload_refused{part="catalogue"} 1.0' in shop.client.get("/metrics").text


def test_catalogue_dataset_row_that_is_newer_than_a_change_wins(
    open_shop: Callable[..., Any], governed: Governed
) -> None:
    with open_shop(reload_seconds=0.0) as shop:
        shop.put("products/p0", {**PRODUCT, "name": "Old news"})
        champion = load_champion(governed.home.path)
        later = champion.bundle.products.with_columns(event_timestamp=shop.services.clock())
        retrained: Bundle = champion.bundle._replace(products=later)
        known = shop.services.catalogue.assemble(champion._replace(bundle=retrained)).pipeline.catalogue
        changed = shop.services.catalogue.assemble(champion).pipeline.catalogue
        assert "Old news" in changed.product_titles
        assert "Old news" not in known.product_titles
