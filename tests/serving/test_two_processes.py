"""Two servers on one store and one online store: an event has one effect, whoever gets it and how often."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.features.build import FeatureConfig, build_features
from recsys.testing.tiny_bank import write_tiny_bank
from serving.features import OnlineFeatures
from serving.store.database import open_store
from serving.store.tables import events
from serving.testing import bearer, event, token_of
from tests.serving.test_durability import know, running_server

SQLITE = StoreSettings(online_store="sqlite")
CUSTOMERS = ("c001", "c002", "c003")
BATCH = 30
TRIES = 20
"""Of a batch that the store had no time for; nothing of it was stored."""


def make_home(folder: Path) -> Path:
    """Real features in a real online store, which both servers read and write."""
    bank = write_tiny_bank(folder / "bank", customers=5)
    home = folder / "home"
    build_features(bank, home / "features", home / "encodings", FeatureConfig(history_length=200))
    apply_and_materialise(home, settings=SQLITE)
    return home


def make_batch(name: str) -> list[dict[str, Any]]:
    """Clicks of some customers, a second apart, not in order."""
    now = datetime.now(UTC)
    made = [
        event(f"{name}-{number}", event_timestamp=(now - timedelta(seconds=number)).isoformat())
        | {"customer_id": CUSTOMERS[number % len(CUSTOMERS)]}
        for number in range(BATCH)
    ]
    return made[::2] + made[1::2]


def send(address: str, batch: list[dict[str, Any]]) -> list[str]:
    """What became of each event; a batch that was not acknowledged is sent again."""
    for _ in range(TRIES):
        response = httpx.post(
            f"{address}/v1/events", json={"events": batch}, headers=bearer(token_of(None)), timeout=120
        )
        if response.status_code == 200:
            return [result["status"] for result in response.json()["results"]]
        assert response.status_code in (429, 503)
    raise AssertionError("the batch was never acknowledged")


def online(home: Path) -> dict[str, tuple[list[str], int]]:
    """Each customer's events in the online store, and how many it has counted."""
    features, found = OnlineFeatures(home, SQLITE), {}
    for customer in CUSTOMERS:
        row = features.read_customer(customer) or {}
        found[customer] = (
            list(row.get("customer_history__event_ids") or []),
            row.get("customer_behaviour__n_total") or 0,
        )
    return found


@pytest.mark.parametrize("store_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_event_that_two_servers_get_at_once_and_again_after_a_restart_has_one_effect(
    tmp_path: Path, store_url: str
) -> None:
    home, batch = make_home(tmp_path), make_batch("e")
    before = online(home)
    settings = {"RECSYS_DATABASE_URL": store_url, "RECSYS_WRITE_TIMEOUT_MS": "60000"}
    with open_store(store_url) as store:
        know(store, *CUSTOMERS)
    statuses: list[str] = []
    with running_server(home, **settings) as (first, one):
        with running_server(home, **settings) as (_, other), ThreadPoolExecutor(4) as pool:
            for result in pool.map(send, [one, other, one, other], [batch, batch, batch[::-1], batch[::-1]]):
                statuses += result
            kill(first)
            statuses += send(other, batch)
        with running_server(home, **settings) as (_, again):
            statuses += send(again, batch)
    assert statuses.count("accepted") == BATCH
    assert statuses.count("duplicate") == len(statuses) - BATCH
    with open_store(store_url) as store, store.reading() as connection:
        rows = connection.execute(select(events.c.event_id, events.c.applied_at)).all()
    assert sorted(row.event_id for row in rows) == sorted(one["event_id"] for one in batch)
    assert all(row.applied_at is not None for row in rows)
    for customer, (ids, count) in online(home).items():
        own = [one["event_id"] for one in batch if one["customer_id"] == customer]
        assert sorted(name for name in ids if name.startswith("e-")) == sorted(own)
        assert count == before[customer][1] + len(own)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """As a crash would."""
    process.kill()
    process.wait(20)
