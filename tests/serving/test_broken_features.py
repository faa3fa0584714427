"""The real feature store broken for real behind the whole service: slow by 500 ms, down, hanging, corrupt, empty.

Each time the answer has status 200, is lawful, says in its mode how much it knew, and so do the metrics; and it is
personal again by itself once the store is back. How soon is configured: see the last test.
"""

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis import Redis as RedisClient
from starlette.testclient import TestClient

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.features.build import FeatureConfig, build_features
from recsys.testing.tiny_bank import write_tiny_bank
from recsys.testing.tiny_scorer import tiny_pipeline
from serving.app import RELEASE_SECONDS, create_app
from serving.benchmarking.slow_proxy import SlowProxy
from serving.features import OnlineFeatures
from serving.guard import Guard
from serving.loading import Components, ServedModel
from serving.settings import Settings
from serving.store.database import Store
from serving.testing import SIGNING_KEY, WEIGHTS, Clock, MemoryFeatures, Service, add_customer, confirm_facts, token_of
from tests.serving.test_broken_dependencies import ALL, Redis, metrics_of, redis_server, until, up

__all__ = ["redis_server"]
UNLAWFUL = {"p09", "p11"}
"""Paused, and riskier than a C3 may have."""
SLOW_SECONDS = 0.5
TIMEOUT_MS = 200
GARBAGE = b"\xff\xfe no protobuf"


class Breakable(Protocol):
    """An online store that a test can break."""

    settings: StoreSettings

    def broken(self, how: str) -> None: ...

    def mend(self) -> None: ...


class SqliteOnline:
    """Feast's SQLite file."""

    settings = StoreSettings(online_store="sqlite")

    def __init__(self, home: Path) -> None:
        self._path = home / "feast" / "online.db"
        self._copy = self._path.with_suffix(".copy")

    def broken(self, how: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self._path, self._copy)
        if how == "empty":
            with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (name,) in tables:
                    connection.execute(f'DELETE FROM "{name}"')  # noqa: S608 - Feast's own names
            return
        self._forget()
        if how == "corrupt":
            self._path.write_bytes(GARBAGE * 1000)

    def mend(self) -> None:
        self._forget()
        self._copy.replace(self._path)

    def _forget(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


class RedisOnline:
    """A Redis behind a proxy."""

    def __init__(self, server: Redis, proxy: SlowProxy) -> None:
        self.settings = StoreSettings(online_store="redis", redis=f"127.0.0.1:{proxy.port}")
        self._server, self._proxy = server, proxy
        self._direct = RedisClient(port=server.port)
        self._kept: dict[bytes, dict[bytes, bytes]] = {}

    def broken(self, how: str) -> None:
        if how == "slow":
            self._proxy.delay = SLOW_SECONDS
        elif how == "down":
            self._proxy.cut()
        elif how == "hangs":
            self._server.process.send_signal(signal.SIGSTOP)
        else:
            self._kept = {key: dict(self._direct.hgetall(key)) for key in self._direct.keys()}  # noqa: SIM118
            if how == "empty":
                self._direct.flushall()
            for key, fields in self._kept.items() if how == "corrupt" else ():
                self._direct.hset(key, mapping=dict.fromkeys(fields, GARBAGE))

    def mend(self) -> None:
        self._proxy.mend()
        self._server.process.send_signal(signal.SIGCONT)
        for key, fields in self._kept.items():
            self._direct.hset(key, mapping=fields)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with feature tables; nothing is in an online store yet."""
    folder = tmp_path_factory.mktemp("broken-features")
    bank: Dataset = write_tiny_bank(folder / "bank", customers=20)
    build_features(bank, folder / "home" / "features", folder / "home" / "encodings", FeatureConfig(history_length=5))
    return folder / "home"


@contextmanager
def serving(home: Path, store_settings: StoreSettings) -> Iterator[Service]:
    """The whole service over the real online store."""
    apply_and_materialise(home, settings=store_settings)
    settings = Settings(home=home, secret=SIGNING_KEY, journal_fsync=False, read_timeout_ms=TIMEOUT_MS)
    store, clock, features = Store(settings.store_url()), Clock(), OnlineFeatures(home, store_settings)
    store.create()
    confirm_facts(store)
    for customer in ("c001", "c002"):
        add_customer(store, customer, "text_analysis")  # the tiny scorer knows no real text vectors
    features.warm()
    model = ServedModel(tiny_pipeline(), "test@1", features.schema_hash, WEIGHTS)
    app = create_app(settings, lambda _: Components(model, features, store), clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, MemoryFeatures(), store, clock)


def mode(service: Service, customer: str = "c001") -> str:
    """Of an answer, which must be one, and lawful."""
    response = service.ask(customer, token_of(None), placements=ALL)
    assert response.status_code == 200, response.text
    body = response.json()
    shown = {item["product_id"] for item in body["placements"][0]["items"]}
    assert shown
    assert not shown & UNLAWFUL
    return str(body["mode"])


def answers(service: Service, name: str) -> float:
    """How many the metrics say had a mode."""
    return metrics_of(service).registry.get_sample_value("recsys_answers_total", {"mode": name}) or 0.0


def ladder(service: Service, store: Breakable, how: str) -> None:
    """Breaks the store, looks at the answers, mends it, and looks again."""
    until(lambda: mode(service) in ("personalised", "partial"))
    usual, before = mode(service), answers(service, "popular")
    store.broken(how)
    try:
        if how == "empty":
            until(lambda: mode(service) == "popular")
            assert [mode(service) for _ in range(3)] == ["popular"] * 3
        else:
            until(lambda: bool(mode(service)) and up(metrics_of(service), "features") == 0)
            assert {mode(service) for _ in range(5)} == {"cached"}  # he asked a moment ago
            assert mode(service, "c002") == "popular"  # he did not
            failures = {"dependency": "features"}
            assert metrics_of(service).registry.get_sample_value("recsys_dependency_failures_total", failures)
            assert answers(service, "cached") >= 5
        assert answers(service, "popular") > before
    finally:
        store.mend()
    until(lambda: mode(service) == usual)
    assert up(metrics_of(service), "features") == 1


@pytest.mark.parametrize("how", ["down", "corrupt", "empty"])
def test_sqlite_features_broken_answers_by_the_ladder_and_recovers(built: Path, tmp_path: Path, how: str) -> None:
    home = Path(shutil.copytree(built, tmp_path / "home"))
    with serving(home, SqliteOnline.settings) as service:
        ladder(service, SqliteOnline(home), how)


@pytest.mark.parametrize("how", ["slow", "down", "hangs", "corrupt", "empty"])
def test_redis_features_broken_answers_by_the_ladder_and_recovers(
    built: Path, tmp_path: Path, redis_server: Redis, how: str
) -> None:
    home = Path(shutil.copytree(built, tmp_path / "home"))
    with SlowProxy(redis_server.port) as proxy:
        store = RedisOnline(redis_server, proxy)
        with serving(home, store.settings) as service:
            ladder(service, store, how)


def test_every_dependency_is_tried_again_within_five_seconds_of_its_return(tmp_path: Path) -> None:
    """A probe an interval, and the answer within the time-out: nothing else stands between a return and its use."""
    settings = Settings(home=tmp_path, secret=SIGNING_KEY)
    store = Store(settings.store_url())
    store.create()
    features = MemoryFeatures()
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, lambda _: Components(model, features, store), Clock())
    with TestClient(app):
        guards = list(_guards(app.state.services))
        assert {guard._name for guard in guards} >= {"sql", "features", "sql_writes", "idempotency"}
        for guard in guards:
            assert guard._config.probe_seconds + guard._config.timeout <= 5.0, guard._name
        assert settings.reload_seconds <= 5.0
        assert RELEASE_SECONDS <= 5.0


def _guards(part: Any, seen: set[int] | None = None) -> Iterator[Guard]:
    """All guards of a running service, wherever they are."""
    seen = set() if seen is None else seen
    if id(part) in seen or not type(part).__module__.startswith("serving"):
        return
    seen.add(id(part))
    if isinstance(part, Guard):
        yield part
    fields = getattr(part, "__dict__", {}).values() if not isinstance(part, tuple) else part
    for field in fields:
        yield from _guards(field, seen)
