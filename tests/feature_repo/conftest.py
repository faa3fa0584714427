"""A home with features applied and materialised, and a Redis of the test's own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.features.build import FeatureConfig, build_features
from recsys.testing.tiny_bank import write_tiny_bank

CONFIG = FeatureConfig(history_length=5, customer_image_dim=16)
SQLITE = StoreSettings(online_store="sqlite")


def rebuild(home: Path, dataset: Dataset) -> None:
    build_features(dataset, home / "features", home / "encodings", CONFIG)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_tiny_bank(tmp_path_factory.mktemp("data") / "bank")


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory, bank: Dataset) -> Path:
    """Feature tables, not yet applied. For reading only."""
    home = tmp_path_factory.mktemp("built") / "home"
    rebuild(home, bank)
    return home


@pytest.fixture(scope="session")
def applied_home(tmp_path_factory: pytest.TempPathFactory, built_home: Path) -> Path:
    """The same, applied and materialised. For reading only."""
    home = tmp_path_factory.mktemp("applied") / "home"
    shutil.copytree(built_home, home)
    apply_and_materialise(home, settings=SQLITE)
    return home


@pytest.fixture
def fresh_home(tmp_path: Path, built_home: Path) -> Path:
    """Feature tables that a test may change, not yet applied."""
    shutil.copytree(built_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real Redis that lives as long as the tests."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("redis-server did not start within 10 seconds")
