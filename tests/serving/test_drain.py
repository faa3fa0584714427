"""SIGTERM: what was begun is answered, nothing new is taken, the journal is empty, and the exit code is 0."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from serving.store.database import open_store, sqlite_url
from serving.store.decisions import DecisionStore
from serving.store.verification import verify
from serving.testing import bearer, event, token_of
from tests.serving.test_durability import know, running_server

BEGUN = 5
READ_SECONDS = 0.5
"""Of each request, one after the other: the last is answered well after the signal."""
HANGS_SECONDS = 600.0
PATIENT = {"RECSYS_READ_TIMEOUT_MS": "60000"}
WAIT_SECONDS = 60.0


def ask(address: str, number: int) -> httpx.Response:
    body = {"customer_id": f"c{number}", "placements": [{"name": "home", "kind": "products", "limit": 3}]}
    return httpx.post(f"{address}/v1/recommendations", json=body, headers=bearer(token_of(None)), timeout=60)


def begun(address: str) -> float:
    """How many requests were let in."""
    line = 'recsys_stage_seconds_count{stage="auth"} '
    found = [row for row in httpx.get(f"{address}/metrics").text.splitlines() if row.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def until(condition: object) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses(address: str) -> bool:
    try:
        httpx.get(f"{address}/livez")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False
    return False


def test_sigterm_answers_what_was_begun_takes_nothing_new_and_loses_nothing(tmp_path: Path) -> None:
    with open_store(sqlite_url(tmp_path)) as store:
        know(store, *(f"c{number}" for number in range(BEGUN)))
    with running_server(tmp_path, READ_SECONDS, **PATIENT) as (process, address), ThreadPoolExecutor(BEGUN) as pool:
        sent = event("e1", event_timestamp=datetime.now(UTC).isoformat()) | {"customer_id": "c1"}
        taken = httpx.post(f"{address}/v1/events", json=sent, headers=bearer(token_of(None)), timeout=30)
        assert taken.json()["accepted"] == 1
        asked = [pool.submit(ask, address, number) for number in range(BEGUN)]
        until(lambda: begun(address) >= BEGUN + 1)
        unfinished = sum(not one.done() for one in asked)
        process.send_signal(signal.SIGTERM)
        until(lambda: refuses(address))
        assert unfinished > 1  # else nothing was drained
        answers = [one.result(WAIT_SECONDS) for one in asked]
        assert [answer.status_code for answer in answers] == [200] * BEGUN
        assert all(answer.json()["placements"][0]["items"] for answer in answers)
        assert process.wait(WAIT_SECONDS) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/livez")
    assert list((tmp_path / "journal").rglob("*.journal")) == []  # all of it is in the store
    with open_store(sqlite_url(tmp_path)) as store:
        logged = {row.decision_id for row in DecisionStore(store).walk()}
        assert {answer.json()["decision_id"] for answer in answers} == logged
        assert verify(store).finding is None


def test_sigterm_does_not_wait_for_a_store_that_hangs(tmp_path: Path) -> None:
    with open_store(sqlite_url(tmp_path)) as store:
        know(store, "c0")
    with running_server(tmp_path, HANGS_SECONDS, RECSYS_READ_TIMEOUT_MS="1000") as (process, address):
        answer = ask(address, 0)  # within its time-out, without features
        assert answer.status_code == 200
        assert answer.json()["mode"] == "popular"
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
