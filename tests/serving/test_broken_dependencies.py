"""Every store broken for real: the answer is lawful and prompt, says so, and is whole again when the store is.

Times in these tests are far from both sides: a store that hangs does so for seconds, and an answer that waited for it
would take those.
"""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.features.build import FeatureConfig, build_features
from recsys.testing.tiny_bank import write_tiny_bank
from recsys.testing.tiny_scorer import SEGMENT, tiny_pipeline
from serving.app import create_app
from serving.features import OnlineFeatures
from serving.guard import Breaker, Guard, GuardConfig, UnavailableError
from serving.loading import Components, ServedModel
from serving.metrics import Metrics
from serving.reading import CustomerReader
from serving.settings import Settings
from serving.store.database import Store, sqlite_url
from serving.testing import (
    SIGNING_KEY,
    WEIGHTS,
    Clock,
    MemoryFeatures,
    Service,
    add_customer,
    confirm_facts,
    event,
    token_of,
)
from tests.serving.postgres import running_postgres

ALL = [{"name": "all", "kind": "products", "limit": 50}]
HANGS_SECONDS = 3.0
PROMPT_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
"""That it recovers; how soon is configured, and asserted in `test_broken_features`."""
SETTINGS = {"read_timeout_ms": 75, "write_timeout_ms": 300, "journal_fsync": False}
SQLITE = StoreSettings(online_store="sqlite")


class SlowFeatures(MemoryFeatures):
    """A store that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.delay = 0.0
        self.reads = 0

    def read_customer(self, customer_id: str) -> dict[str, Any] | None:
        self.reads += 1
        time.sleep(self.delay)
        return super().read_customer(customer_id)


@contextmanager
def running(home: Path, url: str | None = None) -> Iterator[Service]:
    """The service with time-outs as in production, over SQLite in `home` or the database at `url`."""
    settings = Settings(home=home, secret=SIGNING_KEY, database_url=url, **SETTINGS)  # type: ignore[arg-type]
    features, store, clock = SlowFeatures(), Store(settings.store_url()), Clock()
    store.create()
    confirm_facts(store)
    add_customer(store, "anna")
    features.plain["anna"] = {SEGMENT: "young"}
    model = ServedModel(tiny_pipeline(), "test@1", features.manifest.schema_hash, WEIGHTS)
    app = create_app(settings, lambda _: Components(model, features, store), clock)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(client, app, features, store, clock)


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path) as service:
        becomes(service, "partial")
        yield service


def mode(service: Service) -> str:
    """Of an answer, which must be prompt and lawful: no investment where the facts are not read."""
    started = time.perf_counter()
    response = service.ask("anna", token_of("anna"), placements=ALL)
    assert time.perf_counter() - started < PROMPT_SECONDS
    assert response.status_code == 200, response.text
    body = response.json()
    products = {item["product_id"] for item in body["placements"][0]["items"]}
    assert products
    if body["mode"] == "safe":
        assert body["suitability"] == "unreadable"
        assert not {"p02", "p05", "p08", "p11"} & products
    return str(body["mode"])


def becomes(service: Service, wanted: str) -> None:
    """Every answer on the way is prompt and lawful too."""
    until(lambda: mode(service) == wanted)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def up(metrics: Metrics, dependency: str) -> float | None:
    return metrics.registry.get_sample_value("recsys_dependency_up", {"dependency": dependency})


def metrics_of(service: Service) -> Metrics:
    found: Metrics = service.app.state.services.metrics
    return found


def test_breaker_opens_after_failures_in_a_row_and_probes_once_an_interval() -> None:
    now = [0.0]
    breaker = Breaker(failures=3, probe_seconds=1.0, timer=lambda: now[0])
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome()
        assert breaker.admits()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.admits()
    now[0] = 1.0
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.failed()
    now[0] = 1.9
    assert not breaker.admits()
    now[0] = 2.0
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3


def test_guard_lets_errors_of_the_program_through_and_counts_none() -> None:
    metrics = Metrics()
    guard = Guard("sql", GuardConfig(5.0), metrics, OSError)

    async def scene() -> None:
        with pytest.raises(ZeroDivisionError):
            await guard.call(lambda: 1 // 0)
        with pytest.raises(UnavailableError):
            await guard.call(os.listdir, "/does/not/exist")
        assert await guard.call(lambda: 7) == 7

    asyncio.run(scene())
    guard.close()
    assert metrics.registry.get_sample_value("recsys_dependency_failures_total", {"dependency": "sql"}) == 1


def test_guard_a_result_that_the_loop_is_late_to_notice_counts() -> None:
    guard = Guard("sql", GuardConfig(0.05), Metrics())

    async def scene() -> int:
        asked = asyncio.create_task(guard.call(lambda: 7))
        await asyncio.sleep(0)
        time.sleep(0.2)
        return await asked

    assert asyncio.run(scene()) == 7
    guard.close()


def test_features_slow_are_waited_for_once_a_probe_and_come_back_by_themselves(prompt: Service) -> None:
    features = prompt.features
    assert isinstance(features, SlowFeatures)
    features.delay, features.reads = HANGS_SECONDS, 0
    assert [mode(prompt) for _ in range(20)] == ["cached"] * 20
    assert up(metrics_of(prompt), "features") == 0
    assert features.reads <= 4
    features.delay = 0.0
    becomes(prompt, "partial")
    assert up(metrics_of(prompt), "features") == 1


@pytest.mark.parametrize("how", ["overwritten", "replaced", "deleted"])
def test_sqlite_store_file_broken_is_safe_and_whole_again_when_restored(prompt: Service, how: str) -> None:
    path = Path(prompt.store.engine.url.database or "")
    prompt.app.state.services.log.flush()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = Path(shutil.copy(path, path.with_suffix(".backup")))
    _break(path, how)
    becomes(prompt, "safe")
    assert [mode(prompt) for _ in range(5)] == ["safe"] * 5
    assert prompt.client.get("/readyz").status_code in (200, 503)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    backup.replace(path)
    becomes(prompt, "partial")
    assert prompt.send(token_of("anna"), event("after")).json()["accepted"] == 1


def _break(path: Path, how: str) -> None:
    garbage = b"this is no database" * 5000
    if how == "overwritten":
        path.write_bytes(garbage)
    elif how == "replaced":
        other = path.with_suffix(".other")
        other.write_bytes(garbage)
        other.replace(path)
    else:
        for name in ("", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)


def test_sqlite_store_locked_by_another_writer_holds_up_no_answer(prompt: Service) -> None:
    path = prompt.store.engine.url.database
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert [mode(prompt) for _ in range(5)] == ["partial"] * 5
        responses = [prompt.send(token_of("anna"), event("e1")) for _ in range(5)]
        assert {response.status_code for response in responses} == {503}  # what is not durable is not acknowledged
        assert responses[-1].headers["retry-after"]
        assert mode(prompt) == "partial"
        other.execute("ROLLBACK")
    until(lambda: prompt.send(token_of("anna"), event("e1")).status_code == 200)
    result = prompt.send(token_of("anna"), event("e1")).json()
    assert result["duplicate"] == 1


def test_postgresql_that_hangs_or_is_stopped_is_safe_and_comes_back(tmp_path: Path) -> None:
    with running_postgres() as server, running(tmp_path, server.new_database()) as service:
        becomes(service, "partial")
        schema = service.store.engine.url.query["options"].rpartition("%3D")[2].rpartition("=")[2]  # type: ignore[union-attr]
        with server.connect() as other, other.transaction():
            other.execute(f"LOCK TABLE {schema}.customer_facts IN ACCESS EXCLUSIVE MODE")
            assert [mode(service) for _ in range(8)] == ["safe"] * 8
            assert up(metrics_of(service), "sql") == 0
        becomes(service, "partial")
        server.stop()
        becomes(service, "safe")
        assert service.send(token_of("anna"), event("e1")).status_code == 503
        server.start()
        becomes(service, "partial")
        until(lambda: service.send(token_of("anna"), event("e1")).status_code == 200)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_tiny_bank(tmp_path_factory.mktemp("broken") / "bank", customers=20)


@pytest.fixture
def home(tmp_path: Path, bank: Dataset) -> Path:
    """Feature tables, not yet in an online store."""
    home = tmp_path / "home"
    build_features(bank, home / "features", home / "encodings", FeatureConfig(history_length=5))
    return home


@contextmanager
def reading(home: Path, settings: StoreSettings) -> Iterator[tuple[OnlineFeatures, Callable[[], Any], Metrics]]:
    """A reader of the real online store, with the time-out of production once it is warm."""
    features, metrics, store = OnlineFeatures(home, settings), Metrics(), Store(sqlite_url(home))
    features.warm()
    model = ServedModel(tiny_pipeline(), "test@1", features.schema_hash, WEIGHTS)
    reader = CustomerReader(Components(model, features, store), metrics, 0.2)

    def read() -> Any:
        """What the store says; None where it does not, and what it said last stands in."""
        started = time.perf_counter()
        found = asyncio.run(reader.read_features("c001", datetime.now(UTC)))
        assert time.perf_counter() - started < PROMPT_SECONDS
        assert found.row is not None
        return None if found.cached else found.row

    yield features, read, metrics
    reader.close()
    store.close()


@pytest.mark.parametrize("how", ["overwritten", "replaced", "deleted"])
def test_online_sqlite_broken_is_none_and_whole_again_when_restored(home: Path, how: str) -> None:
    apply_and_materialise(home, settings=SQLITE)
    path = home / "feast" / "online.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = Path(shutil.copy(path, path.with_suffix(".backup")))
    with reading(home, SQLITE) as (_, read, metrics):
        row = read()
        assert row is not None
        _break(path, how)
        if how == "overwritten":  # what SQLite has in memory it may still read
            assert all(found in (None, row) for found in (read() for _ in range(10)))
        else:
            until(lambda: read() is None and up(metrics, "features") == 0)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        backup.replace(path)
        until(lambda: read() == row)
        assert up(metrics, "features") == 1


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator["Redis"]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    server = Redis(binary, tmp_path)
    server.start()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.process.kill()
    server.process.wait(10)


class Redis:
    """A Redis that keeps its data over a restart."""

    def __init__(self, binary: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]

    def start(self) -> None:
        self.process = subprocess.Popen([*self._command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


def test_redis_that_hangs_or_is_stopped_is_none_and_comes_back(home: Path, redis_server: Redis) -> None:
    settings = StoreSettings(online_store="redis", redis=f"127.0.0.1:{redis_server.port}")
    apply_and_materialise(home, settings=settings)
    with reading(home, settings) as (_, read, metrics):
        row = read()
        assert row is not None
        redis_server.process.send_signal(signal.SIGSTOP)
        assert [read() for _ in range(6)] == [None] * 6
        assert up(metrics, "features") == 0
        redis_server.process.send_signal(signal.SIGCONT)
        until(lambda: read() == row)
        redis_server.stop()
        assert [read() for _ in range(6)] == [None] * 6
        redis_server.start()
        until(lambda: read() == row)


def test_impatient_keeps_the_operators_own_options() -> None:
    given = StoreSettings(online_store="redis", redis="cache:6379,db=1,socket_timeout=9")
    assert given.impatient().redis == "cache:6379,db=1,socket_timeout=9,socket_connect_timeout=0.5,retry=null"
    assert given.impatient().identity == given.identity
