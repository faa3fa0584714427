"""A home of a tiny bank with everything that `recsys features` makes and some of what serving adds."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import polars as pl
import pytest

from recsys.cli.app import main
from recsys.home import Home
from recsys.testing.tiny_bank import write_tiny_bank
from serving.decision_log import JOURNAL_FOLDER, encode
from serving.journal import Journal
from serving.store.database import Store, open_store, sqlite_url
from serving.store.decisions import DecisionEntry, DecisionStore
from serving.store.events import Consequences, EventRecord, EventStore
from tests.feature_repo.conftest import redis_address

__all__ = ["redis_address"]


class World(NamedTuple):
    """A dataset, its home, and a customer with something in every place."""

    data: Path
    home: Path
    customer: str
    other: str


def run(*arguments: str | Path) -> int:
    """Runs the command line in this process and returns its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    return int(exit_info.value.code or 0)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """For reading only."""
    folder = tmp_path_factory.mktemp("privacy")
    data, home = folder / "bank", folder / "home"
    write_tiny_bank(data, prefix="person-")
    assert run("--home", home, "features", data) == 0
    Home(home).secret()
    texts = pl.read_parquet(home / "features" / "customer_text.parquet").filter(pl.col("n_messages") > 0)
    customer, other = texts["customer_id"].unique().sort().to_list()[:2]
    with open_store(sqlite_url(home)) as store:
        fill_store(store, customer, datetime(2026, 3, 1, tzinfo=UTC))
        fill_store(store, other, datetime(2026, 3, 1, tzinfo=UTC))
    write_exports(home, (customer, other))
    leave_journal(home, (customer, other))
    return World(data, home, customer, other)


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy that a test may change."""
    shutil.copytree(made.data, tmp_path / "bank")
    shutil.copytree(made.home, tmp_path / "home")
    Home(tmp_path / "home").claim("tiny-bank", tmp_path / "bank")
    return World(tmp_path / "bank", tmp_path / "home", made.customer, made.other)


def fill_store(store: Store, customer: str, when: datetime) -> None:
    """An event with its consequences, and a decision with what its replay needs."""
    event = EventRecord(f"e-{customer}-1", customer, "click", when, "p0", None, "app", "home", None, None, None, when)
    EventStore(store).add([event], lambda events: Consequences([], [(customer, "p0", when)], [], []))
    DecisionStore(store).append([decision(customer, when)])


def decision(customer: str, when: datetime) -> DecisionEntry:
    """As the service logs one."""
    record, payload = {"decision_id": uuid4().hex}, {"customer_id": customer, "salt": uuid4().hex}
    return DecisionEntry.build(record, payload, {"n_events": 3.0}, when)


def leave_journal(home: Path, customers: tuple[str, ...]) -> None:
    """Decisions that a killed server did not bring into the store."""
    journal = Journal(home / JOURNAL_FOLDER)
    for customer in customers:
        asyncio.run(journal.append(encode(decision(customer, datetime(2026, 3, 1, tzinfo=UTC)))))
    journal.close()
    journal.remove()


def write_exports(home: Path, customers: tuple[str, ...]) -> None:
    """A ranked list, an audience, a log and a working file of a training."""
    for name in ("exports", "logs", "runs/abc"):
        (home / name).mkdir(parents=True)
    pl.DataFrame({"customer_id": customers, "rank": range(len(customers))}).write_parquet(
        home / "exports/lists.parquet"
    )
    lines = [f"{customer},p0" for customer in customers]
    (home / "exports" / "audience.csv").write_text("\n".join(["customer_id,product_id", *lines]) + "\n")
    (home / "logs" / "server.log").write_text(
        "started\n" + "".join(f"asked for {customer}\n" for customer in customers)
    )
    (home / "runs" / "abc" / "selection.checkpoint").write_bytes(b"\x00" + customers[0].encode() + b"\x00")
