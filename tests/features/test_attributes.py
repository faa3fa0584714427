from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from recsys.data.contract import Dataset
from recsys.encoders.cache import Encoded
from recsys.errors import ConfigError, FeatureError
from recsys.features.attributes import attribute_columns, attribute_expressions, joined_text, slug, vector_series
from recsys.features.build import FeatureConfig, build_features
from recsys.features.consent import Consent
from recsys.features.contents import plan_contents
from recsys.features.customers import CANONICAL, plan_profile
from recsys.features.plan import CustomerRange, Encodings, Sources
from recsys.features.products import plan_products
from recsys.features.spec import ColumnType
from recsys.schema import Table
from recsys.testing.tiny_bank import START, write_tiny_bank


@pytest.fixture
def own_bank(tmp_path: Path) -> Dataset:
    """A bank that a test may change."""
    return write_tiny_bank(tmp_path / "bank", customers=6)


def declare(dataset: Dataset, table: str, **kinds: str) -> Dataset:
    file = dataset.path / "dataset.yaml"
    values = yaml.safe_load(file.read_text())
    values["features"].setdefault(table, {}).update(kinds)
    file.write_text(yaml.safe_dump(values))
    return Dataset.open(dataset.path)


def sources_of(dataset: Dataset, encodings: Path) -> Sources:
    return Sources(dataset, FeatureConfig(), Encodings(encodings, FeatureConfig()), Consent(dataset))


def test_attributes_are_stored_by_kind(bank: Dataset) -> None:
    columns = attribute_columns(bank, Table.CUSTOMERS, CANONICAL)
    assert {column.name: column.type for column in columns} == {
        "segment": ColumnType.STRING,
        "risk_level": ColumnType.STRING,
        "liquid_amount": ColumnType.FLOAT,
        "joined_at": ColumnType.INT,
        "age": ColumnType.FLOAT,
        "occupation": ColumnType.STRING,
    }
    raw = bank.scan(Table.CUSTOMERS).collect()
    rows = raw.select(attribute_expressions(columns))
    assert rows["joined_at"].to_list() == raw["joined_at"].dt.epoch("s").to_list()
    assert rows["age"].null_count() == raw["age"].null_count() > 0
    assert " " in raw["occupation"].to_list()
    assert " " not in rows["occupation"].to_list()


def test_product_flags_become_categories_and_lists_stay_lists(bank: Dataset, sources: Sources) -> None:
    plan = plan_products(sources)[0]
    rows = pl.concat(plan.frames(CustomerRange()))
    assert rows["is_credit"].to_list() == ["false", "false", "false", "true", "true", "true", "false"]
    assert rows["tags"].to_list()[3:5] == [[], None]
    assert rows["rate"].to_list()[:2] == [1.5, 2.5]
    assert "value" not in rows.columns


def test_views_of_a_dataset_without_contents_do_not_exist(own_bank: Dataset, encodings_folder: Path) -> None:
    (own_bank.path / "contents.parquet").unlink()
    assert plan_contents(sources_of(own_bank, encodings_folder)) == []


@pytest.mark.parametrize("name", ["in_arrears", "bereaved"])
def test_profile_declared_vulnerability_flag_is_refused(own_bank: Dataset, encodings_folder: Path, name: str) -> None:
    dataset = declare(own_bank, "customers", **{name: "categorical"})
    with pytest.raises(ConfigError, match=f"dataset.yaml: features.customers: {name} may not become a feature"):
        plan_profile(sources_of(dataset, encodings_folder))


def test_profile_declared_photo_is_refused(own_bank: Dataset, encodings_folder: Path) -> None:
    dataset = declare(own_bank, "customers", photo="image")
    with pytest.raises(ConfigError, match="no profile photos"):
        plan_profile(sources_of(dataset, encodings_folder))


def test_profile_declared_text_is_embedded_where_the_customer_agreed(own_bank: Dataset, encodings_folder: Path) -> None:
    file = own_bank.path / "customers.parquet"
    frame = pl.read_parquet(file)
    frame.with_columns(pl.lit("likes to travel").alias("note")).write_parquet(file)
    plan = plan_profile(sources_of(declare(own_bank, "customers", note="text"), encodings_folder))
    assert plan is not None
    rows = pl.concat(plan.frames(CustomerRange()))
    # The first rows are older than any consent; of the second ones, c003 refused profiling.
    embedded = rows.filter(pl.col("note_vector").is_not_null())
    assert embedded.select("customer_id", "event_timestamp").rows() == [("c000", START + timedelta(days=60))]
    assert rows["note_vector"].drop_nulls().list.len().unique().to_list() == [384]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e39])
def test_build_number_that_is_not_finite_is_refused_by_name(
    own_bank: Dataset, encodings_folder: Path, tmp_path: Path, bad: float
) -> None:
    file = own_bank.path / "customers.parquet"
    frame = pl.read_parquet(file)
    frame.with_columns(pl.Series("liquid_amount", [bad, *[1.0] * (frame.height - 1)])).write_parquet(file)
    with pytest.raises(FeatureError, match=r"customers\.parquet: column liquid_amount .* 1 number"):
        build_features(own_bank, tmp_path / "home/features", encodings_folder, FeatureConfig())
    assert list((tmp_path / "home").iterdir()) == []


def test_joined_text_skips_blank_parts() -> None:
    frame = pl.DataFrame({"a": ["x ", None, " "], "b": ["y", "z", None]})
    assert frame.select(joined_text(["a", "b"]))["a"].to_list() == ["x\ny", "z", ""]


def test_vector_series_missing_is_null() -> None:
    encoded = Encoded(np.array([[1, 2], [3, 4]], np.float32), np.array([1, -1, 0, 1]), 1)
    assert vector_series("v", encoded).to_list() == [[3, 4], None, [1, 2], [3, 4]]


def test_vector_series_all_missing_is_all_null() -> None:
    encoded = Encoded(np.zeros((0, 2), np.float32), np.array([-1, -1]), 2)
    assert vector_series("v", encoded).to_list() == [None, None]


def test_slug_of_foreign_words_keeps_their_letters() -> None:
    assert (slug("交通 出行"), slug("--"), slug("Café")) == ("交通_出行", "none", "café")
