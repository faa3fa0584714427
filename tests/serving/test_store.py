"""The SQL store, and the facts that are loaded into it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import polars as pl
import pytest
import yaml
from sqlalchemy import func, select

from recsys.data.contract import Dataset
from recsys.errors import DatasetError, HomeError
from recsys.policy.facts import ProductFacts, as_instant
from serving.store.capacity import CapacityStore
from serving.store.chain import canonical
from serving.store.consents import ConsentStore, GivenConsent
from serving.store.contacts import ContactStore, PlannedContact
from serving.store.database import Store, open_store, sqlite_url
from serving.store.events import Consequences, EventRecord, EventStore, follow
from serving.store.facts import CustomerRecord, FactStore
from serving.store.sync import load_facts, load_or_confirm_facts
from serving.store.tables import applications, consents, customer_facts, dismissals, holdings

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PRODUCTS = ProductFacts.from_frame(pl.DataFrame({"product_id": ["p0"]}))
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


def write_consents(path: Path, *rows: tuple[str, str, str | None, int, bool]) -> None:
    names = ["customer_id", "purpose", "channel", "day", "granted"]
    frame = pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"channel": pl.String})
    days = pl.lit(START) + pl.duration(days=pl.col("day"))
    frame = frame.with_columns(event_timestamp=days.cast(pl.Datetime("us", "UTC"))).drop("day")
    frame.write_parquet(path / "consents.parquet")


def answers(store: Store, customer: str) -> dict[tuple[str, str | None], tuple[bool, datetime]]:
    found = FactStore(store).read(customer, NOW).consents
    return {(one.purpose, one.channel): (one.granted, one.since) for one in found}


def test_load_facts_latest_consent_per_purpose_and_channel(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    write_consents(
        dataset.path,
        ("c0", "profiling", None, 1, True),
        ("c0", "profiling", None, 2, False),
        ("c0", "marketing", None, 1, True),
        ("c0", "marketing", "email", 1, True),
        ("c0", "marketing", "email", 1, False),  # of one time the refusal stands
        ("c1", "profiling", None, 1, True),
    )
    load_facts(dataset, store)
    assert answers(store, "c0") == {
        ("profiling", None): (False, START + 2 * DAY),
        ("marketing", None): (True, START + DAY),
        ("marketing", "email"): (False, START + DAY),
    }
    assert answers(store, "c2") == {}
    for customer, agreed in (("c0", False), ("c1", True), ("c2", False), ("nobody", False)):
        consents_ = FactStore(store).read(customer, NOW).as_facts(PRODUCTS).consents
        assert consents_ is not None
        assert bool(consents_.agrees("profiling", as_instant(NOW))[0]) is agreed


def test_load_facts_dataset_without_consents_allows_everything_but_what_was_refused(
    tmp_path: Path, store: Store
) -> None:
    load_facts(write_dataset(tmp_path / "data"), store)
    assert FactStore(store).read("c0", NOW).as_facts(PRODUCTS).consents is None
    ConsentStore(store).put("c0", [GivenConsent("profiling", None, False, START)])
    consents_ = FactStore(store).read("c0", NOW).as_facts(PRODUCTS).consents
    assert consents_ is not None
    assert not consents_.agrees("profiling", as_instant(NOW))[0]
    assert consents_.agrees("text_analysis", as_instant(NOW))[0]
    assert consents_.agrees_to("marketing", "email", as_instant(NOW))[0]


def test_load_facts_consents_of_the_app_outlive_a_load_unless_the_dataset_knows_later_ones(
    tmp_path: Path, store: Store
) -> None:
    dataset = write_dataset(tmp_path / "data")
    write_consents(dataset.path, ("c0", "profiling", None, 1, True), ("c1", "profiling", None, 9, True))
    load_facts(dataset, store)
    for customer in ("c0", "c1"):
        ConsentStore(store).put(customer, [GivenConsent("profiling", None, False, START + 5 * DAY)])
    load_facts(dataset, store)
    assert answers(store, "c0")[("profiling", None)] == (False, START + 5 * DAY)
    assert answers(store, "c1")[("profiling", None)] == (True, START + 9 * DAY)
    (dataset.path / "consents.parquet").unlink()
    load_facts(Dataset.open(dataset.path), store)
    assert answers(store, "c0")[("profiling", None)] == (False, START + 5 * DAY)
    assert answers(store, "c1") == {}


def test_load_facts_consent_in_the_future_is_refused_and_nothing_changes(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    write_consents(dataset.path, ("c0", "profiling", None, 100_000, True))
    with pytest.raises(DatasetError, match=r"consents\.parquet: event_timestamp: c0 answered about profiling at 22"):
        load_facts(dataset, store)
    assert count(store, customer_facts) == 0


def test_load_facts_no_dataset_yet_nobody_agreed_to_anything(store: Store) -> None:
    consents_ = FactStore(store).read("c0", NOW).as_facts(PRODUCTS).consents
    assert consents_ is not None
    assert not consents_.agrees("profiling", as_instant(NOW))[0]


def test_load_facts_columns_that_the_dataset_does_not_have_are_not_kept(tmp_path: Path, store: Store) -> None:
    load_facts(write_dataset(tmp_path / "data"), store)
    facts = FactStore(store).read("c0", NOW).as_facts(PRODUCTS)
    assert facts.kept == {"segment", "risk_level", "risk_assessed_at"}


def test_load_or_confirm_facts_unchanged_dataset_is_confirmed_and_not_read(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    assert load_or_confirm_facts(dataset, store, changed=False) > 0
    first = FactStore(store).read("c0", NOW).as_of
    assert load_or_confirm_facts(dataset, store, changed=False) == 0
    second = FactStore(store).read("c0", NOW).as_of
    assert first is not None
    assert second is not None
    assert second > first


def test_as_of_of_a_customer_whom_the_dataset_does_not_know_is_his_rows_own(tmp_path: Path, store: Store) -> None:
    load_facts(write_dataset(tmp_path / "data"), store)
    with store.writing() as connection:
        connection.execute(customer_facts.insert(), [{"customer_id": "own", "updated_at": START}])
    assert FactStore(store).read("own", NOW).as_of == START
    assert FactStore(store).read("nobody", NOW).as_of is None


def write_events(path: Path, *rows: tuple[str, str, str, str, int]) -> None:
    names = ["event_id", "customer_id", "event_type", "product_id", "day"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    days = pl.lit(START) + pl.duration(days=pl.col("day"))
    frame.with_columns(event_timestamp=days.cast(pl.Datetime("us", "UTC"))).drop("day").write_parquet(
        path / "events.parquet"
    )


def test_load_facts_applications_wait_until_their_conversion(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    write_events(
        dataset.path,
        ("e1", "c0", "apply", "p0", 1),
        ("e2", "c0", "apply", "p0", 3),
        ("e3", "c1", "apply", "p1", 1),
        ("e4", "c1", "convert", "p1", 2),
    )
    load_facts(dataset, store)
    pending = FactStore(store).read("c0", NOW).pending
    assert [(row.product_id, row.since) for row in pending] == [("p0", START + 3 * DAY)]
    assert not FactStore(store).read("c1", NOW).pending
    sold = Consequences([("c0", "p0", START + 4 * DAY)], [], [], [("c0", "p0", START + 4 * DAY)])
    with store.writing() as connection:
        follow(sold, store, connection)
    assert not FactStore(store).read("c0", NOW).pending
    load_facts(dataset, store)  # the dataset does not know of the app's conversion yet
    assert not FactStore(store).read("c0", NOW).pending


def test_load_facts_capacity_counts_what_the_dataset_and_the_app_sold(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    pl.DataFrame(
        {
            "product_id": ["p0", "p1"],
            "event_timestamp": [START, START],
            "name": ["A", "B"],
            "capacity": [10, None],
        }
    ).write_parquet(dataset.path / "products.parquet")
    rows = [("e1", "c0", "convert", "p0", 1), ("e2", "c1", "convert", "p0", 3), ("e3", "c2", "convert", "p1", 3)]
    write_events(dataset.path, *rows)
    load_facts(dataset, store)
    assert FactStore(store).read("c0", NOW).taken == {"p0": 2}
    book = CapacityStore(store)
    book.reserve("r1", "c5", "p0", NOW, DAY)
    book.reserve("r2", "c6", "p0", NOW, DAY)
    book.confirm("r2")
    EventStore(store).add([sale("a1", "c7")], lambda new: Consequences([], [], [], [("c7", "p0", NOW) for _ in new]))
    EventStore(store).add([sale("a1", "c7")], lambda new: Consequences([], [], [], [("c7", "p0", NOW) for _ in new]))
    assert FactStore(store).read("c0", NOW).taken == {"p0": 5}
    load_facts(dataset, store)
    assert FactStore(store).read("c0", NOW).taken == {"p0": 5}
    write_events(dataset.path, *rows, ("a1", "c7", "convert", "p0", 200))  # the dataset has caught up with the app
    load_facts(dataset, store)
    assert FactStore(store).read("c0", NOW).taken == {"p0": 5}


def sale(event_id: str, customer: str) -> EventRecord:
    values = dict.fromkeys(EventRecord._fields)
    values |= {"event_id": event_id, "customer_id": customer, "event_type": "convert", "product_id": "p0"}
    return EventRecord(**{**values, "event_timestamp": NOW, "received_at": NOW})


def test_record_through_json_is_the_same(tmp_path: Path, store: Store) -> None:
    dataset = write_dataset(tmp_path / "data")
    write_consents(dataset.path, ("c1", "marketing", "email", 1, True))
    load_facts(dataset, store)
    ContactStore(store).reserve(PlannedContact("m1", "c1", "email", "card", "p1", NOW), [], DAY)
    for customer in ("c0", "c1", "c2", "nobody"):
        record = FactStore(store).read(customer, NOW)
        assert CustomerRecord.from_json(orjson.loads(canonical(record.to_json()))) == record


def test_read_unknown_customer_is_the_most_restricted(store: Store) -> None:
    record = FactStore(store).read("nobody", NOW)
    assert record.facts is None
    facts = record.as_facts(PRODUCTS)
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
