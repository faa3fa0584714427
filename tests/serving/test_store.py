"""The SQL store, and the facts that are loaded into it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml
from sqlalchemy import func, select

from recsys.data.contract import Dataset
from recsys.errors import HomeError
from recsys.policy.facts import ProductFacts
from serving.store.database import Store, open_store, sqlite_url
from serving.store.facts import FactStore
from serving.store.sync import load_facts
from serving.store.tables import applications, consents, customer_facts, dismissals, holdings

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
TABLES = (customer_facts, holdings, dismissals, applications, consents)


def write_dataset(path: Path, policy: str = "bank", customers: int = 3) -> Dataset:
    path.mkdir(parents=True, exist_ok=True)
    ids = [f"c{number}" for number in range(customers)]
    (path / "dataset.yaml").write_text(yaml.safe_dump({"name": "tiny", "policy": policy}))
    pl.DataFrame(
        {
            "customer_id": ["c0", *ids],
            "event_timestamp": [START + DAY, *(START for _ in ids)],
            "segment": ["affluent", *("young" for _ in ids)],
            "risk_level": ["C4", *("C1" for _ in ids)],
            "risk_assessed_at": [START] * (customers + 1),
        }
    ).write_parquet(path / "customers.parquet")
    pl.DataFrame(
        {"product_id": ["p0", "p1", "p2", "p3"], "event_timestamp": [START] * 4, "name": ["A", "B", "C", "D"]}
    ).write_parquet(path / "products.parquet")
    pl.DataFrame(
        {"content_id": ["p3-a"], "event_timestamp": [START], "product_id": ["p3"], "headline": ["D!"]}
    ).write_parquet(path / "contents.parquet")
    rows = [
        ("e0", "c0", "convert", "p0", None, 2),
        ("e1", "c0", "click", "p1", None, 3),
        ("e2", "c1", "dismiss", "p2", None, 4),
        ("e3", "c1", "dismiss", "p2", None, 6),
        ("e4", "c1", "convert", None, "p3-a", 5),
        ("e5", "c2", "convert", "p1", None, 5),
    ]
    names = ["event_id", "customer_id", "event_type", "product_id", "content_id", "day"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    days = pl.lit(START) + pl.duration(days=pl.col("day"))
    frame.with_columns(event_timestamp=days.cast(pl.Datetime("us", "UTC"))).drop("day").write_parquet(
        path / "events.parquet"
    )
    pl.DataFrame(
        {
            "customer_id": ["c2", "c2"],
            "product_id": ["p1", "p2"],
            "opened_at": [START + 5 * DAY, START],
            "closed_at": [START + 9 * DAY, None],
        }
    ).write_parquet(path / "holdings.parquet")
    return Dataset.open(path)


def held(store: Store, customer: str) -> dict[str, tuple[datetime, datetime | None]]:
    return {row.product_id: (row.since, row.until) for row in FactStore(store).read(customer, NOW).held}


def count(store: Store, table: object = holdings) -> int:
    with store.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_load_facts_latest_row_holdings_conversions_and_dismissals(tmp_path: Path, store: Store) -> None:
    load_facts(write_dataset(tmp_path / "data"), store)
    facts = FactStore(store).read("c0", NOW).facts
    assert facts is not None
    assert (facts["segment"], facts["risk_level"], facts["risk_assessed_at"]) == ("affluent", "C4", START)
    assert held(store, "c0") == {"p0": (START + 2 * DAY, None)}
    assert held(store, "c1") == {"p3": (START + 5 * DAY, None)}  # through the content
    assert held(store, "c2") == {"p1": (START + 5 * DAY, START + 9 * DAY), "p2": (START, None)}
    declined = FactStore(store).read("c1", NOW).declined
    assert [(row.product_id, row.since) for row in declined] == [("p2", START + 6 * DAY)]


def test_load_facts_policy_none_every_positive_means_having(tmp_path: Path, store: Store) -> None:
    load_facts(write_dataset(tmp_path / "data", policy="none"), store)
    assert set(held(store, "c0")) == {"p0", "p1"}


def test_load_facts_twice_changes_nothing(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    first = load_facts(dataset, store)
    before = [count(store, table) for table in TABLES]
    assert load_facts(dataset, store) == first == sum(before)
    assert [count(store, table) for table in TABLES] == before


def test_load_facts_row_that_is_gone_is_removed_and_the_apps_own_stays(tmp_path: Path, store: Store) -> None:
    load_facts(write_dataset(tmp_path / "data", customers=5), store)
    with store.writing() as connection:
        connection.execute(holdings.insert(), [{"customer_id": "c0", "product_id": "p3", "opened_at": START}])
        connection.execute(dismissals.insert(), [{"customer_id": "c0", "product_id": "p2", "dismissed_at": START}])
        connection.execute(
            dismissals.update()
            .where(dismissals.c.customer_id == "c1")
            .values(dismissed_at=START + 40 * DAY, loaded_at=None)
        )
    load_facts(write_dataset(tmp_path / "data", customers=3), store)
    assert FactStore(store).read("c4", NOW).facts is None
    assert set(held(store, "c0")) == {"p0", "p3"}
    assert [row.product_id for row in FactStore(store).read("c0", NOW).declined] == ["p2"]
    assert FactStore(store).read("c1", NOW).declined[0].since == START + 40 * DAY


def test_read_unknown_customer_is_the_most_restricted(store: Store) -> None:
    record = FactStore(store).read("nobody", NOW)
    assert record.facts is None
    facts = record.as_facts(ProductFacts.from_frame(pl.DataFrame({"product_id": ["p0"]})))
    assert (facts.risk_level[0], facts.segment) == (0, (None,))


def test_open_store_of_a_later_version_is_refused(store: Store, store_url: str) -> None:
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(HomeError, match="has revision 0099"), open_store(store_url):
        pass


def test_open_store_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is not a database, it is a text file" * 50)
    with pytest.raises(HomeError, match="cannot be used"), open_store(sqlite_url(tmp_path)):
        pass


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db"])
def test_store_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(HomeError, match=r"use SQLite or PostgreSQL|cannot be read"):
        Store(url)


def test_utc_time_without_zone_is_refused(store: Store) -> None:
    naive = datetime(2026, 1, 1)
    row = {"customer_id": "c", "product_id": "p", "opened_at": naive}
    with pytest.raises(Exception, match="no time zone"), store.writing() as connection:
        connection.execute(holdings.insert(), [row])
    assert count(store) == 0
