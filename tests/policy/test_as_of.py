"""What was known when: facts as of each customer's own instant."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.data.validation import validate
from recsys.policy.as_of import (
    FactsOnFile,
    customer_facts_as_of,
    declined_before,
    had_before,
    pending_before,
    taken_before,
)
from recsys.policy.facts import CustomerFacts, ProductFacts
from recsys.policy.sources import consent_rows, declined_rows, pending_rows, taken_rows

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def _products() -> pl.DataFrame:
    names = [f"p{number}" for number in range(1, 7)]
    capacity = [None, 10.0, None, 1.0, 5.0, None]
    return pl.DataFrame({"product_id": names, "name": names, "category": ["fx"] * 6, "capacity": capacity})


def write(folder: Path, policy: str) -> Dataset:
    folder.mkdir(exist_ok=True)
    events = [
        ("e1", 1, "view", "p1", None, "app"),
        ("e2", 2, "convert", "p2", None, "app"),
        ("e3", 3, "dismiss", "p3", None, "app"),
        ("e5", 5, "apply", "p4", None, "app"),
        ("e6", 6, "dismiss", None, "x1", "email"),
        ("e7", 7, "impression", "p1", "x1", "email"),
        ("e8", 7.5, "impression", "p2", None, "app"),
        ("e4", 9, "convert", "p4", None, "app"),
    ]
    pl.DataFrame(
        {
            "event_id": [row[0] for row in events],
            "customer_id": ["c"] * len(events),
            "event_timestamp": [day(row[1]) for row in events],
            "event_type": [row[2] for row in events],
            "product_id": [row[3] for row in events],
            "content_id": [row[4] for row in events],
            "channel": [row[5] for row in events],
        }
    ).write_parquet(folder / "events.parquet")
    customers = {"customer_id": ["c", "c"], "event_timestamp": [START, day(4)], "in_arrears": [False, True]}
    pl.DataFrame({**customers, "segment": ["mass", "mass"], "age": ["30-40", "30-40"]}).write_parquet(
        folder / "customers.parquet"
    )
    _products().with_columns(event_timestamp=pl.lit(START)).write_parquet(folder / "products.parquet")
    pl.DataFrame({"content_id": ["x1"], "event_timestamp": [START], "product_id": ["p5"]}).write_parquet(
        folder / "contents.parquet"
    )
    answers = [("marketing", None, 1, True), ("marketing", "email", 2, False), ("profiling", None, 6, True)]
    pl.DataFrame(
        {
            "customer_id": ["c"] * 3,
            "purpose": [row[0] for row in answers],
            "channel": pl.Series([row[1] for row in answers], dtype=pl.String),
            "event_timestamp": [day(row[2]) for row in answers],
            "granted": [row[3] for row in answers],
        }
    ).write_parquet(folder / "consents.parquet")
    pl.DataFrame(
        {
            "customer_id": ["c"] * 3,
            "product_id": ["p2", "p5", "p6"],
            "opened_at": [day(2), day(0), day(8)],
            "closed_at": pl.Series([day(4), None, None], dtype=TIME),
        }
    ).write_parquet(folder / "holdings.parquet")
    (folder / "dataset.yaml").write_text(f"name: d\npolicy: {policy}\nfeatures: {{customers: {{age: categorical}}}}\n")
    return Dataset.open(folder)


def asked(number: float) -> pl.DataFrame:
    return pl.DataFrame(
        {"customer_id": ["c"], "event_timestamp": [day(number)]}, schema_overrides={"event_timestamp": TIME}
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1.5, ["p5"]), (3.5, ["p2", "p5"]), (5, ["p5"]), (8.5, ["p5", "p6"]), (10, ["p4", "p5", "p6"])],
)
def test_had_before_under_bank_follows_openings_closings_and_conversions(
    tmp_path: Path, number: float, expected: list[str]
) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert sorted(had_before(dataset, asked(number))["product_id"]) == expected


def test_had_before_under_none_counts_every_positive(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "none")
    assert "p1" in had_before(dataset, asked(1.5))["product_id"].to_list()


def test_declined_before_knows_no_later_dismissal(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert declined_before(dataset, asked(2.5)).is_empty()
    assert declined_before(dataset, asked(3.5))["product_id"].to_list() == ["p3"]


@pytest.mark.parametrize(("number", "expected"), [(4.5, []), (5.5, ["p4"]), (8.5, ["p4"]), (9.5, [])])
def test_pending_before_an_application_ends_with_its_conversion(
    tmp_path: Path, number: float, expected: list[str]
) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert pending_before(dataset, asked(number))["product_id"].to_list() == expected


def test_declined_before_a_refused_content_refuses_its_product(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert sorted(declined_before(dataset, asked(6.5))["product_id"]) == ["p3", "p5"]


def test_customer_facts_as_of_are_those_of_the_instant(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    products = ProductFacts.from_frame(_products())
    early, late = (customer_facts_as_of(dataset, asked(number), products, ["email"]) for number in (3.5, 8))
    assert [bool(facts.flags["in_arrears"][0]) for facts in (early, late)] == [False, True]
    assert early.kept == {"in_arrears", "segment"}  # the age is declared as something else than a number
    assert [products.ids[item] for item in late.pending.products] == ["p4"]
    assert early.consents is not None
    assert late.consents is not None
    now = np.datetime64("2026-01-09", "us")
    assert [bool(facts.consents.agrees("profiling", now)[0]) for facts in (early, late)] == [False, True]
    assert late.consents.agrees_to("marketing", "app", now).tolist() == [True]
    assert late.consents.agrees_to("marketing", "email", now).tolist() == [False]
    assert [facts.contacts.channel.tolist() for facts in (early, late)] == [[], ["email"]]
    assert late.contacts.category.tolist() == ["fx"]


def test_customer_facts_as_of_somebody_not_on_file_yet_are_the_most_restricted(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    facts = customer_facts_as_of(dataset, asked(-1), ProductFacts.from_frame(_products()))
    assert facts.flags["in_arrears"].tolist() == [True]
    assert facts.consents is not None
    assert not facts.consents.agrees("profiling", np.datetime64("2026-01-09", "us"))[0]


def test_taken_before_counts_conversions_of_limited_products(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    assert taken_before(dataset, day(8)) == {"p2": 1, "p4": 0, "p5": 0}
    assert taken_before(dataset, day(9)) == {"p2": 1, "p4": 1, "p5": 0}
    assert dict(taken_rows(dataset).collect().iter_rows()) == {"p2": 1, "p4": 1, "p5": 0}


def test_sources_say_now_what_as_of_says_at_the_end(tmp_path: Path) -> None:
    """What the service loads is what batch recommendation reads."""
    dataset = write(tmp_path / "d", "bank")
    end = asked(10)
    for rows, before in (
        (declined_rows(dataset).collect(), declined_before(dataset, end)),
        (pending_rows(dataset).collect(), pending_before(dataset, end)),
    ):
        columns = ["customer_id", "product_id", "since"]
        assert rows.select(columns).sort(columns).equals(before.select(columns).sort(columns))


def test_consent_rows_latest_answer_and_of_one_time_the_refusal(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", "bank")
    more = pl.DataFrame(
        {
            "customer_id": ["c"] * 3,
            "purpose": ["profiling", "profiling", "text_analysis"],
            "channel": pl.Series([None] * 3, dtype=pl.String),
            "event_timestamp": [day(7), day(7), day(1)],
            "granted": [True, False, True],
        }
    )
    path = tmp_path / "d" / "consents.parquet"
    pl.concat([pl.read_parquet(path), more]).write_parquet(path)
    rows = {(row["purpose"], row["channel"]): row["granted"] for row in consent_rows(dataset).collect().to_dicts()}
    assert rows == {
        ("marketing", None): True,
        ("marketing", "email"): False,
        ("profiling", None): False,
        ("text_analysis", None): True,
    }


def test_validation_consent_in_the_future_names_file_column_and_row(tmp_path: Path) -> None:
    write(tmp_path / "d", "bank")
    path = tmp_path / "d" / "consents.parquet"
    rows = pl.read_parquet(path).with_columns(event_timestamp=pl.lit(datetime(2999, 1, 1, tzinfo=UTC)))
    rows.head(1).write_parquet(path)
    findings = "\n".join(validate(tmp_path / "d").findings)
    assert "consents.parquet" in findings
    assert "event_timestamp" in findings
    assert "is later than" in findings


def test_facts_on_file_of_some_customers_are_those_of_each_alone(tmp_path: Path) -> None:
    dataset = _many(tmp_path / "d")
    products = ProductFacts.from_frame(_products())
    ids = [f"c{number:02}" for number in range(40)]
    everybody = pl.DataFrame({"customer_id": ids}).with_columns(pl.lit(day(20)).cast(TIME).alias("event_timestamp"))
    on_file = FactsOnFile.read(dataset, everybody, products, ["email"])
    for some in (ids[7:19], ["c30", "c12", "c31"], ["c39"]):
        mine = everybody.filter(pl.col("customer_id").is_in(some))
        asked_alone = pl.DataFrame({"customer_id": some}).join(mine, on="customer_id", maintain_order="left")
        _assert_same(on_file.of(some), customer_facts_as_of(dataset, asked_alone, products, ["email"]))


def test_contacts_before_the_window_are_not_read(tmp_path: Path) -> None:
    dataset = _many(tmp_path / "d")
    asked_all = pl.DataFrame({"customer_id": [f"c{n:02}" for n in range(40)]}).with_columns(
        pl.lit(day(20)).cast(TIME).alias("event_timestamp")
    )
    products = ProductFacts.from_frame(_products())
    ids = asked_all["customer_id"].to_list()
    whole = FactsOnFile.read(dataset, asked_all, products, ["email"]).of(ids).contacts
    late = FactsOnFile.read(dataset, asked_all, products, ["email"], day(10)).of(ids).contacts
    now = np.datetime64("2026-01-21", "us")
    assert len(late.at) < len(whole.at)
    assert (late.tally(late.within(10, now)) == whole.tally(whole.within(10, now))).all()


@pytest.mark.parametrize("late", [0.0, 5.0])
def test_events_need_no_order_where_everybody_is_asked_later(tmp_path: Path, late: float) -> None:
    """The short way, which `late` allows, gives what the long one gives."""
    dataset = _many(tmp_path / "d")
    last = dataset.end() + timedelta(microseconds=100) + timedelta(days=late)
    asked_all = pl.DataFrame({"customer_id": [f"c{n:02}" for n in range(40)]}).with_columns(
        pl.lit(last).cast(TIME).alias("event_timestamp")
    )
    products = ProductFacts.from_frame(_products())
    facts = customer_facts_as_of(dataset, asked_all, products, ["email"])
    other = customer_facts_as_of(
        dataset, asked_all.with_columns(pl.col("event_timestamp") + pl.duration(days=1)), products, ["email"]
    )
    _assert_same(facts, other)


def _many(folder: Path) -> Dataset:
    """40 customers with 600 events, many of them of one time."""
    write(folder, "bank")
    rng = np.random.default_rng(0)
    count = 600
    names = [f"c{number:02}" for number in range(40)]
    kinds = ["dismiss", "apply", "convert", "impression", "view"]
    pl.DataFrame(
        {
            "event_id": [f"e{number:04}" for number in range(count)],
            "customer_id": rng.choice(names, count).tolist(),
            "event_timestamp": [day(int(number)) for number in rng.integers(1, 19, count)],
            "event_type": rng.choice(kinds, count).tolist(),
            "product_id": [f"p{number}" for number in rng.integers(1, 7, count)],
            "content_id": pl.Series([None] * count, dtype=pl.String),
            "channel": rng.choice(["email", "app"], count).tolist(),
        }
    ).write_parquet(folder / "events.parquet")
    pl.DataFrame(
        {"customer_id": names, "event_timestamp": [START] * 40, "segment": ["mass", "youth"] * 20}
    ).write_parquet(folder / "customers.parquet")
    answers = {"purpose": ["marketing"] * 40, "channel": pl.Series([None] * 40, dtype=pl.String)}
    pl.DataFrame(
        {"customer_id": names, **answers, "event_timestamp": [day(1)] * 40, "granted": [True, False, True, True] * 10}
    ).write_parquet(folder / "consents.parquet")
    return Dataset.open(folder)


def _assert_same(facts: CustomerFacts, wanted: CustomerFacts) -> None:
    assert facts.segment == wanted.segment
    for name in ("held", "declined", "pending", "contacts"):
        mine, theirs = getattr(facts, name), getattr(wanted, name)
        assert mine.offsets.tolist() == theirs.offsets.tolist(), name
        for one, other in zip(_entries(mine), _entries(theirs), strict=True):
            assert one == other, name
    assert facts.consents is not None
    assert wanted.consents is not None
    now = np.datetime64("2026-01-21", "us")
    assert facts.consents.agrees("marketing", now).tolist() == wanted.consents.agrees("marketing", now).tolist()


def _entries(relations: Any) -> list[list[tuple[Any, ...]]]:
    """Each customer's entries, in whatever order they are kept."""
    rows = list(zip(*(values.tolist() for values in relations[1:]), strict=True))
    bounds = relations.offsets.tolist()
    return [sorted(rows[a:b], key=str) for a, b in pairwise(bounds)]
