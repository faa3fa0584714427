"""Erasure and retention in the SQL store, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from serving.store.database import Store, open_store, sqlite_url
from serving.store.erasure import ERASED, anonymise_decisions, erase_before, erase_customer, find_customer
from serving.store.tables import capacity_reservations, events
from serving.store.verification import verify
from tests.privacy.conftest import fill_store
from tests.serving.postgres import Postgres, running_postgres

WHEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Two customers, and a third who reserved something."""
    url = sqlite_url(tmp_path)
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database()
    with open_store(url) as opened:
        fill_store(opened, "c1", WHEN)
        fill_store(opened, "c2", WHEN + timedelta(days=10))
        reservation = {"reservation_id": "r1", "customer_id": "c1", "product_id": "p0", "state": "confirmed"}
        with opened.writing() as connection:
            connection.execute(insert(capacity_reservations), reservation | {"expires_at": WHEN})
        yield opened


def test_erase_customer_leaves_others_and_a_whole_chain(store: Store) -> None:
    assert "decisions.payload" in find_customer(store, "c1")
    counts = erase_customer(store, "c1")
    assert counts["decisions"] == counts["events"] == counts["capacity_reservations"] == 1
    assert find_customer(store, "c1") == []
    assert "decisions.payload" in find_customer(store, "c2")
    with store.reading() as connection:
        assert list(connection.scalars(select(capacity_reservations.c.customer_id))) == [ERASED]
    walked = verify(store)
    assert (walked.finding, walked.rows, walked.erased) == (None, 2, 1)
    assert erase_customer(store, "c1") == {}


def test_retention_in_the_store_goes_by_the_time_of_the_row(store: Store) -> None:
    before = WHEN + timedelta(days=5)
    for dry_run in (True, False):
        assert erase_before(store, events, "event_timestamp", before, dry_run=dry_run) == 1
        assert anonymise_decisions(store, before, dry_run=dry_run) == 1
    assert anonymise_decisions(store, before) == erase_before(store, events, "event_timestamp", before) == 0
    with store.reading() as connection:
        assert list(connection.scalars(select(events.c.customer_id))) == ["c2"]
    assert (verify(store).finding, verify(store).erased) == (None, 1)
