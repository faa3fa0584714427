"""The store's tables are made by migrations, and an earlier release's store keeps what is in it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import orjson
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, text

from recsys.errors import HomeError
from serving.store.database import Store, open_store, sqlite_url
from serving.store.decisions import DecisionStore
from serving.store.facts import FactStore
from serving.store.tables import HEAD, METADATA
from serving.store.upgrade import VERSION_TABLE, revision_of
from serving.store.verification import verify

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", "serving.store:migrations")
    return made


def write_first_release(url: str, decisions: int = 3) -> None:
    """A store as the first release left it: its tables and rows, and no trace of Alembic."""
    store, settings = Store(url), config()
    with store.writing() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        tables = MetaData()
        tables.reflect(connection)
        insert = {name: table.insert() for name, table in tables.tables.items()}
        when = NOW.replace(tzinfo=None) if connection.dialect.name == "sqlite" else NOW
        connection.execute(insert["schema_version"].values(version=1))
        facts = {"customer_id": "anna", "updated_at": when, "risk_level": "C3", "is_minor": False, "age": 40.0}
        connection.execute(insert["customer_facts"], [facts])
        connection.execute(insert["holdings"], [{"customer_id": "anna", "product_id": "p1", "opened_at": when}])
        connection.execute(insert["dismissals"], [{"customer_id": "anna", "product_id": "p2", "dismissed_at": when}])
        event = {"event_id": "e1", "customer_id": "anna", "event_type": "click", "event_timestamp": when}
        connection.execute(insert["events"], [{**event, "received_at": when}])
        rows = [_decision(number, when) for number in range(decisions)]
        if rows:
            connection.execute(insert["decisions"], rows)
    store.close()


def _decision(number: int, when: datetime) -> dict[str, object]:
    return {
        "decision_id": f"d{number:04}",
        "request_id": f"r{number}",
        "customer_id": "anna",
        "created_at": when + timedelta(seconds=number),
        "mode": "popular",
        "model_version": "m@1",
        "policy_version": "bank@1",
        "request": {"placements": [], "number": number},
        "answer": {"mode": "popular", "text": "für Sie"},
    }


def test_head_is_the_last_revision() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_migrated_schema_is_that_of_the_metadata(store: Store) -> None:
    with store.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)
    assert not found


def test_schema_comparison_finds_a_planted_difference(store: Store) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE events ADD COLUMN colour VARCHAR")
        connection.exec_driver_sql("DROP INDEX events_by_customer")
    with store.reading() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert {change[0] for change in found} == {"remove_column", "add_index"}


@pytest.mark.parametrize("decisions", [0, 3, 1203])
def test_upgrade_from_the_first_release_keeps_its_rows(store_url: str, decisions: int) -> None:
    write_first_release(store_url, decisions)
    with open_store(store_url) as store:
        record = FactStore(store).read("anna", NOW)
        assert record.facts is not None
        assert (record.facts["risk_level"], record.facts["age"], record.facts["is_minor"]) == ("C3", 40.0, False)
        assert [(row.product_id, row.since) for row in record.held] == [("p1", NOW)]
        assert [(row.product_id, row.since) for row in record.declined] == [("p2", NOW)]
        rows = list(DecisionStore(store).walk())
        assert [row.decision_id for row in rows] == [f"d{number:04}" for number in range(decisions)]
        assert [row.sequence for row in rows] == list(range(1, decisions + 1))
        for number, row in enumerate(rows):
            payload = orjson.loads(row.payload or "")
            assert row.created_at == NOW + timedelta(seconds=number)
            assert payload["request"] == {"placements": [], "number": number}
            assert payload["answer"] == {"mode": "popular", "text": "für Sie"}
        assert verify(store).finding is None
        with store.reading() as connection:
            assert "schema_version" not in inspect(connection).get_table_names()
            assert connection.scalar(text("SELECT count(*) FROM events")) == 1


def test_upgrade_twice_changes_nothing(store_url: str) -> None:
    write_first_release(store_url)
    for _ in range(2):
        with open_store(store_url) as store, store.reading() as connection:
            assert revision_of(connection) == HEAD
            assert len(list(DecisionStore(store).walk())) == 3


def test_upgrade_by_several_workers_at_once_happens_once(store_url: str) -> None:
    write_first_release(store_url)
    barrier = Barrier(4)

    def start(_: int) -> int:
        barrier.wait(30)
        with open_store(store_url) as store:
            return len(list(DecisionStore(store).walk()))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [3] * 4


def test_upgrade_that_fails_leaves_the_store_as_it_was(store_url: str) -> None:
    write_first_release(store_url)
    store = Store(store_url)
    with store.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE decision_chain (in_the_way INTEGER)")
    with pytest.raises(HomeError, match="cannot be used"):
        store.create()
    with store.reading() as connection:
        assert revision_of(connection) == "0001"
        names = set(inspect(connection).get_table_names())
        assert "consents" not in names
        assert connection.scalar(text("SELECT count(*) FROM decisions")) == 3
        columns = {column.name for column in Table("customer_facts", MetaData(), autoload_with=connection).columns}
        assert "kyc_status" not in columns
    store.close()


def test_open_store_that_is_current_does_not_import_alembic(tmp_path: Path) -> None:
    import subprocess
    import sys

    with open_store(sqlite_url(tmp_path)):
        pass
    program = (
        "import sys; from serving.store.database import open_store\n"
        f"with open_store({sqlite_url(tmp_path)!r}): pass\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
