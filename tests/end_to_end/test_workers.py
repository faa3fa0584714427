"""`recsys serve --workers 2`: a worker that dies is replaced while the other answers; none that starts is an error."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from recsys.home import Home
from serving.live_server import LiveServer
from serving.tokens import READ, issue_token
from tests.end_to_end.champions import crown
from tests.end_to_end.live import PLACEMENTS
from tests.trained_bank import TrainedBank

REPLACED_SECONDS = 240.0
"""Much: a process starts in some seconds on a quiet machine, and in half a minute beside two busy ones."""
MINUTES = timedelta(minutes=10)


@pytest.fixture
def home(trained: TrainedBank, tmp_path: Path) -> Path:
    home = tmp_path / "state"
    shutil.copytree(trained.home, home)
    crown(home, trained.result["version"])
    return home


def workers(server: LiveServer) -> set[int]:
    """The processes that answer, without multiprocessing's own helper."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def ask(server: LiveServer, token: str) -> httpx.Response:
    """Over a connection of its own, so that any worker may take it."""
    body = {"customer_id": "c0000001", "placements": PLACEMENTS}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{server.url}/v1/recommendations", json=body, headers=headers, timeout=30)


def test_a_worker_that_dies_is_replaced_while_the_other_answers(home: Path, tmp_path: Path) -> None:
    token = issue_token(Home(home).secret(), subject="tests", scopes=(READ,), customer_id=None, lifetime=MINUTES)
    with LiveServer(home, tmp_path / "server.log", workers=2) as server:
        before = workers(server)
        assert len(before) == 2
        until(lambda: server.log.read_text().count("Application startup complete") == 2)
        assert ask(server, token).status_code == 200
        os.kill(min(before), signal.SIGKILL)
        for _ in range(20):
            assert ask(server, token).status_code == 200
        until(lambda: len(workers(server)) == 2 and min(before) not in workers(server))
        assert max(before) in workers(server)
        until(lambda: server.log.read_text().count("Application startup complete") == 3)
        assert ask(server, token).status_code == 200
        assert server.stop() == 0


def test_a_worker_that_cannot_be_replaced_is_tried_again_and_the_other_answers(home: Path, tmp_path: Path) -> None:
    token = issue_token(Home(home).secret(), subject="tests", scopes=(READ,), customer_id=None, lifetime=MINUTES)
    features = home / "feast" / "online.db"
    with LiveServer(home, tmp_path / "server.log", workers=2) as server:
        until(lambda: server.log.read_text().count("Application startup complete") == 2)
        killed, other = sorted(workers(server))
        features.rename(features.with_suffix(".away"))
        os.kill(killed, signal.SIGKILL)
        until(lambda: server.log.read_text().count("a worker did not start and is tried again") >= 1)
        for _ in range(5):
            answer = ask(server, token)
            assert (answer.status_code, answer.json()["mode"]) == (200, "popular")
        features.with_suffix(".away").rename(features)
        until(lambda: server.log.read_text().count("Application startup complete") == 3)
        assert other in workers(server)
        until(lambda: {ask(server, token).json()["mode"] for _ in range(6)} <= {"personalised", "partial"})
        assert server.stop() == 0


def test_workers_that_cannot_start_end_the_service_with_an_error(home: Path, tmp_path: Path) -> None:
    nowhere = {"RECSYS_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    server = LiveServer(home, tmp_path / "server.log", environment=nowhere, workers=2)
    with pytest.raises(RuntimeError, match="did not get ready") as failed:
        server.start()
    assert "no worker started; the log above says why" in " ".join(str(failed.value).split())
    assert server.stop() == 1, "its exit code: who restarts on failure must see one"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + REPLACED_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
