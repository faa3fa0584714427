from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.features.build import BuildReport
from recsys.features.consent import Consent, Purpose
from recsys.testing.tiny_bank import write_tiny_bank

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_tiny_bank(tmp_path / "bank", customers=4)


def consent_of(dataset: Dataset, rows: list[tuple[str, int, bool]]) -> Consent:
    """Rows: customer, day, granted; all of text_analysis."""
    values = [(id_, "text_analysis", START + day * DAY, granted) for id_, day, granted in rows]
    schema = {"customer_id": pl.String, "purpose": pl.String, "event_timestamp": TIME, "granted": pl.Boolean}
    pl.DataFrame(values, schema=schema, orient="row").write_parquet(dataset.path / "consents.parquet")
    return Consent(dataset)


def days_kept(consent: Consent, *days: int) -> list[int]:
    rows = pl.LazyFrame(
        {"customer_id": ["a"] * len(days), "event_timestamp": [START + day * DAY for day in days], "day": days},
        schema_overrides={"event_timestamp": TIME},
    )
    return sorted(consent.keep_at_the_time(rows, Purpose.TEXT_ANALYSIS).collect()["day"].to_list())


def test_consent_never_asked_means_no(dataset: Dataset) -> None:
    assert days_kept(consent_of(dataset, [("b", 0, True)]), 1) == []


def test_consent_given_counts_from_its_time_on(dataset: Dataset) -> None:
    assert days_kept(consent_of(dataset, [("a", 5, True)]), 4, 5, 6) == [5, 6]


def test_consent_withdrawn_takes_back_what_lies_before(dataset: Dataset) -> None:
    assert days_kept(consent_of(dataset, [("a", 0, True), ("a", 5, False)]), 1, 6) == []


def test_consent_given_again_leaves_out_the_time_between(dataset: Dataset) -> None:
    consent = consent_of(dataset, [("a", 0, True), ("a", 5, False), ("a", 8, True)])
    assert days_kept(consent, 1, 6, 9) == [1, 9]


def test_consent_contradicting_at_one_time_means_no(dataset: Dataset) -> None:
    assert days_kept(consent_of(dataset, [("a", 0, True), ("a", 0, False)]), 1) == []


def test_consent_of_another_purpose_means_no(dataset: Dataset) -> None:
    consent = consent_of(dataset, [("a", 0, True)])
    rows = pl.LazyFrame({"customer_id": ["a"]})
    assert consent.keep_now(rows, Purpose.TEXT_ANALYSIS).collect().height == 1
    assert consent.keep_now(rows, Purpose.PROFILING).collect().height == 0


def test_consent_without_a_table_allows_everything(dataset: Dataset) -> None:
    (dataset.path / "consents.parquet").unlink()
    assert days_kept(Consent(dataset), 1, 2) == [1, 2]


def test_customer_who_refused_profiling_is_in_no_view(bank: Dataset, built: BuildReport, tables: Path) -> None:
    refused = {f"c{number:03}" for number in range(30) if number % 7 == 3}
    for view in built.manifest.views:
        if view.entity == "customer_id":
            present = set(pl.read_parquet(tables / f"{view.name}.parquet")["customer_id"])
            assert len(present) > 10
            assert not refused & present


def test_customer_who_withdrew_text_analysis_has_no_text(built: BuildReport, tables: Path) -> None:
    withdrawn = {f"c{number:03}" for number in range(30) if number % 5 == 2}
    assert not withdrawn & set(pl.read_parquet(tables / "customer_text.parquet")["customer_id"])
    assert withdrawn & set(pl.read_parquet(tables / "customer_behaviour.parquet")["customer_id"])
