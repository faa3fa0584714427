"""kill -9 in the middle of 1,000 requests, over a real socket to a real process: no answered decision is lost."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import select

from serving.live_server import free_port
from serving.store.database import Store, open_store, sqlite_url
from serving.store.decisions import DecisionStore
from serving.store.tables import events
from serving.store.verification import verify
from serving.testing import add_customer, bearer, confirm_facts, event, token_of

ROOT = Path(__file__).parents[2]
CLIENTS = 8
REQUESTS = 1000
BATCH = 5
START_SECONDS = 120.0


@contextmanager
def running_server(
    home: Path, read_seconds: float = 0.0, **settings: str
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A server over the tiny bank; `settings` become environment variables."""
    port = free_port()
    arguments = [sys.executable, "-m", "tests.serving.tiny_server", str(home), str(port), str(read_seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        while not is_ready(address):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, address
    finally:
        process.kill()
        process.wait(20)


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def know(store: Store, *customers: str) -> None:
    """Stores facts of now: older ones are not believed, and the answers would be `safe`."""
    confirm_facts(store, datetime.now(UTC))
    for customer in customers:
        add_customer(store, customer, updated_at=datetime.now(UTC))


async def ask_until_it_dies(address: str, process: "subprocess.Popen[bytes]", kill_after: int) -> set[str]:
    """The decision_ids of what was answered; the server is killed after so many answers."""
    answered: set[str] = set()
    left = iter(range(REQUESTS))
    body = {"placements": [{"name": "home", "kind": "products", "limit": 3}]}

    async def client(http: httpx.AsyncClient) -> None:
        for number in left:
            values = {**body, "customer_id": f"c{number % 20}"}
            try:
                response = await http.post("/v1/recommendations", json=values, headers=bearer(token_of(None)))
            except httpx.TransportError:
                return
            assert response.status_code == 200
            answered.add(response.json()["decision_id"])
            if len(answered) == kill_after:
                process.kill()

    async with httpx.AsyncClient(base_url=address, timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return answered


async def send_until_it_dies(address: str, process: "subprocess.Popen[bytes]", kill_after: int) -> set[str]:
    """The event_ids that were acknowledged; the server is killed after so many batches."""
    acknowledged: set[str] = set()
    batches = 0
    left = iter(range(REQUESTS))

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal batches
        for number in left:
            now = datetime.now(UTC).isoformat()
            batch = [
                event(f"e{number}-{place}", product_id="p03", event_timestamp=now) | {"customer_id": f"c{number % 20}"}
                for place in range(BATCH)
            ]
            try:
                response = await http.post("/v1/events", json={"events": batch}, headers=bearer(token_of(None)))
            except httpx.TransportError:
                return
            assert response.status_code == 200
            acknowledged.update(
                result["event_id"] for result in response.json()["results"] if result["status"] == "accepted"
            )
            batches += 1
            if batches == kill_after:
                process.kill()

    async with httpx.AsyncClient(base_url=address, timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return acknowledged


def test_kill_in_the_middle_of_many_batches_loses_no_acknowledged_event(tmp_path: Path) -> None:
    with open_store(sqlite_url(tmp_path)) as store:
        know(store, *(f"c{number}" for number in range(20)))
    with running_server(tmp_path) as (process, address):
        acknowledged = asyncio.run(send_until_it_dies(address, process, random.randrange(50, 100)))
        assert process.wait(20) == -9
    assert len(acknowledged) >= 50 * BATCH
    with running_server(tmp_path) as (_, address), open_store(sqlite_url(tmp_path)) as store:
        with store.reading() as connection:
            rows = connection.execute(select(events.c.event_id, events.c.applied_at)).all()
        assert acknowledged <= {row.event_id for row in rows}
        assert len(rows) % BATCH == 0  # a batch is stored as a whole or not at all
        assert all(row.applied_at is not None for row in rows)  # the features were told at the start


def test_kill_in_the_middle_of_a_thousand_requests_loses_no_answered_decision(tmp_path: Path) -> None:
    with open_store(sqlite_url(tmp_path)) as store:
        know(store, *(f"c{number}" for number in range(20)))
    with running_server(tmp_path) as (process, address):
        answered = asyncio.run(ask_until_it_dies(address, process, random.randrange(300, 700)))
        assert process.wait(20) == -9
    assert list((tmp_path / "journal").rglob("*.journal"))
    with running_server(tmp_path) as (_, address), open_store(sqlite_url(tmp_path)) as store:
        logged = [row.decision_id for row in DecisionStore(store).walk()]
        assert 300 <= len(answered) < REQUESTS
        assert answered <= set(logged)
        assert len(logged) == len(set(logged))
        found = verify(store)
        assert found.finding is None
        assert found.rows == len(logged)
