"""The running service as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.loading import Components, ServedModel
from serving.settings import Settings
from serving.store.database import Store, open_store, sqlite_url
from serving.testing import SIGNING_KEY, WEIGHTS, Clock, MemoryFeatures, Service, add_customer, confirm_facts
from tests.serving.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "home")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Patient: on a busy machine a short time-out would decide about tests that are not about time-outs."""
    return Settings(
        home=tmp_path,
        secret=SIGNING_KEY,
        sqlite_synchronous="NORMAL",
        read_timeout_ms=10_000,
        write_timeout_ms=30_000,
    )


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    features, store, clock = MemoryFeatures(), Store(settings.store_url(), settings.sqlite_synchronous), Clock()
    store.create()
    confirm_facts(store)
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young"}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, load=lambda _: Components(model, features, store), clock=clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, features, store, clock)
