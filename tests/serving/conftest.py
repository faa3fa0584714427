"""The running service as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.settings import Settings
from serving.store.database import Store, open_store, sqlite_url
from serving.testing import SIGNING_KEY, Service
from tests.serving.postgres import Postgres, running_postgres
from tests.serving.running import running


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
    with running(settings, "anna") as made:
        yield made
