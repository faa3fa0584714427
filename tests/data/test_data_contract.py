from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from recsys.data.columns import DTYPES, SCHEMAS
from recsys.data.contract import Dataset, DatasetConfig, SplitConfig
from recsys.errors import ConfigError, DatasetError
from recsys.schema import DEFAULT_EVENT_WEIGHTS, FeatureKind, PolicyName, Table

PLAIN = {"name": "d"}


def test_config_only_a_name_gets_the_strict_defaults():
    config = DatasetConfig.parse(PLAIN, "dataset.yaml")
    assert (config.policy, config.repeatable, config.split.kind) == (PolicyName.BANK, False, "global_time")
    assert config.event_weights == DEFAULT_EVENT_WEIGHTS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"colour": 1}, "colour: unknown key"),
        ({"policy": "casino"}, "policy"),
        ({"currency": "euro"}, "currency"),
        ({"event_weights": {"view": -1.0}}, "not negative"),
        ({"event_weights": {"view": float("nan")}}, "finite"),
        ({"event_weights": {"view": 0.0}}, "at least one event type needs a weight above 0"),
        ({"features": {"clients": {"x": "numeric"}}}, "features.clients"),
        ({"features": {"customers": {"x": "embedding"}}}, "customers.x: the kind must be one of numeric"),
        ({"split": {"kind": "leave_last_out", "test_start": "2026-01-01T00:00:00Z"}}, "takes no validation_start"),
        (
            {"split": {"validation_start": "2026-02-01T00:00:00Z", "test_start": "2026-01-01T00:00:00Z"}},
            "validation_start must be before test_start",
        ),
        ({"split": {"test_start": "2026-01-01T00:00:00"}}, "timezone"),
        ({"split": {"test_start": datetime(2026, 1, 1)}}, "timezone"),
        ({"split": {"test_start": 20260101}}, "is a number"),
    ],
)
def test_config_bad_value_is_refused_with_its_key(values, words):
    with pytest.raises(ConfigError, match=words):
        DatasetConfig.parse({**PLAIN, **values}, "dataset.yaml")


@pytest.mark.parametrize(
    "time", ["1998-03-01T01:00:00+01:00", "1998-03-01T00:00:00Z", datetime(1998, 3, 1, tzinfo=UTC)]
)
def test_split_times_as_text_or_time_become_utc(time):
    split = SplitConfig.parse({"validation_start": time}, "dataset.yaml")
    assert split.validation_start == datetime(1998, 3, 1, tzinfo=UTC)
    assert split.validation_start.tzinfo is UTC


def test_open_missing_required_tables_names_them_all(tiny):
    (tiny.path / "events.parquet").unlink()
    (tiny.path / "products.parquet").unlink()
    with pytest.raises(DatasetError) as error:
        Dataset.open(tiny.path)
    assert error.value.findings == [
        "products.parquet: required table is missing",
        "events.parquet: required table is missing",
    ]


def test_open_no_directory_or_yaml_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="is not a directory"):
        Dataset.open(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"dataset.yaml: cannot be read"):
        Dataset.open(tmp_path)


def test_scan_every_table_has_canonical_types(tiny):
    dataset = Dataset.open(tiny.path)
    for table in Table:
        schema = dataset.scan(table).collect_schema()
        for name, column in SCHEMAS[table].columns.items():
            assert name not in schema or schema[name] == DTYPES[column.type], (table, name)
        assert schema.names() == dataset.columns(table)
        assert dataset.scan(table).collect().height == tiny.read(table).height


def test_columns_undeclared_extra_is_left_out_and_declared_is_kept(tiny):
    tiny.replace("customers", pl.lit(1).alias("secret"))
    dataset = Dataset.open(tiny.path)
    assert dataset.columns(Table.CUSTOMERS)[-2:] == ["age", "job"]
    assert "secret" not in dataset.columns(Table.CUSTOMERS)
    assert dataset.declared(Table.PRODUCTS) == {"name": FeatureKind.TEXT}
    assert dataset.declared(Table.CONTENTS) == {}


@pytest.mark.parametrize(
    ("table", "column", "values", "expected"),
    [
        ("customers", "customer_id", pl.Series(["a", "b", "b"], dtype=pl.Categorical), ["a", "b", "b"]),
        ("customers", "customer_id", pl.Series(["a", "b", "b"], dtype=pl.Enum(["a", "b"])), ["a", "b", "b"]),
        ("customers", "age", pl.Series([1, 2, None], dtype=pl.Int8), [1.0, 2.0, None]),
        ("customers", "job", pl.Series([1, 2, None], dtype=pl.Int64), ["1", "2", None]),
        ("customers", "job", pl.Series([True, False, None]), ["true", "false", None]),
        ("products", "fee", pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(9, 2)), [1.25, None]),
        ("products", "fee", pl.Series([None, None], dtype=pl.Null), [None, None]),
        ("products", "countries", pl.Series([["x"], None], dtype=pl.List(pl.Categorical)), [["x"], None]),
        ("products", "countries", pl.Series([["x", "y"], None], dtype=pl.Array(pl.String, 2)), [["x", "y"], None]),
    ],
)
def test_scan_lossless_type_becomes_canonical(tiny, table, column, values, expected):
    tiny.replace(table, values.alias(column))
    assert Dataset.open(tiny.path).scan(Table(table)).collect()[column].to_list() == expected


@pytest.mark.parametrize("dtype", [pl.Datetime("ms", "UTC"), pl.Datetime("ns", "UTC"), pl.Datetime("us", "Asia/Tokyo")])
def test_scan_time_of_another_unit_or_zone_is_the_same_instant(tiny, dtype):
    before = tiny.read("events")["event_timestamp"].to_list()
    tiny.replace("events", pl.col("event_timestamp").cast(dtype))
    after = Dataset.open(tiny.path).scan(Table.EVENTS).collect()["event_timestamp"]
    assert after.dtype == pl.Datetime("us", "UTC")
    assert after.to_list() == before


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("customer_id", pl.col("customer_id").hash(), "wrong type: must be string"),
        ("event_timestamp", pl.col("event_timestamp").dt.to_string(), "wrong type: must be timestamp"),
        ("event_timestamp", pl.col("event_timestamp").dt.date(), "wrong type: must be timestamp"),
        ("event_timestamp", pl.col("event_timestamp").dt.replace_time_zone(None), "has no time zone"),
        ("value", pl.lit("1.0").alias("value"), "wrong type: must be number"),
    ],
)
def test_scan_wrong_type_names_file_and_column(tiny, column, change, words):
    tiny.replace("events", change)
    with pytest.raises(DatasetError, match=f"events.parquet: column {column} {words}"):
        Dataset.open(tiny.path).scan(Table.EVENTS)


@pytest.mark.parametrize("folder", ["events", "events.parquet"])
def test_scan_folder_of_unlike_parts_is_one_table(tiny, folder):
    frame = tiny.read("events")
    (tiny.path / "events.parquet").unlink()
    parts = tiny.path / folder / "year=2026"
    parts.mkdir(parents=True)
    frame[:2].drop("propensity").write_parquet(parts / "part-0.parquet")
    frame[2:].with_columns(pl.col("value").cast(pl.Int32)).write_parquet(parts / "part-1.parquet")
    (parts / "_SUCCESS").touch()
    scanned = Dataset.open(tiny.path).scan(Table.EVENTS).collect()
    assert scanned["event_id"].to_list() == frame["event_id"].to_list()
    assert scanned["value"].to_list() == frame["value"].to_list()
    assert scanned["propensity"].to_list() == [None, None, None, 1.0]
    assert "year" not in scanned.columns


def test_open_table_as_file_and_folder_is_refused(tiny):
    (tiny.path / "events").mkdir()
    with pytest.raises(DatasetError, match="events is there twice"):
        Dataset.open(tiny.path)


def test_positives_carry_the_weight_of_their_type(tiny):
    positives = Dataset.open(tiny.path).positives().collect()
    assert positives["weight"].dtype == pl.Float32
    assert dict(positives.select("event_id", "weight").iter_rows()) == {"e2": 1.0, "e3": 5.0}


def test_end_is_the_newest_event(tiny):
    assert Dataset.open(tiny.path).end() == datetime(2026, 1, 6, tzinfo=UTC)
    tiny.write("events", tiny.read("events").clear())
    with pytest.raises(DatasetError, match="no rows"):
        Dataset.open(tiny.path).end()


@pytest.mark.parametrize("name", ["../bank.png", "/etc/hostname", "images", "images/none.png", "x" * 999, "a\0b"])
def test_image_file_not_a_file_inside_is_none(tiny, name):
    assert Dataset.open(tiny.path).image_file(name) is None


def test_image_columns_are_canonical_and_declared_ones(tiny):
    tiny.replace("products", pl.lit("images/p.png").alias("logo"))
    tiny.configure(features={"products": {"logo": "image"}})
    dataset = Dataset.open(tiny.path)
    assert dataset.image_columns(Table.PRODUCTS) == ["image_path", "logo"]
    assert dataset.image_paths() == ["images/k.jpg", "images/p.png"]
    assert dataset.image_file("images/p.png") == (tiny.path / "images/p.png").resolve()


def test_fingerprint_changes_with_every_input_and_only_then(tiny):
    def fingerprint() -> str:
        return Dataset.open(tiny.path).fingerprint()

    seen = [fingerprint()]
    assert seen[0] == fingerprint()
    assert len(seen[0]) == 16
    (tiny.path / "unrelated.txt").write_text("x")
    assert seen[0] == fingerprint()
    tiny.set("messages", "text", 0, "other words")
    seen.append(fingerprint())
    tiny.configure(description="other")
    seen.append(fingerprint())
    Path(tiny.path / "images/p.png").write_bytes((tiny.path / "images/k.jpg").read_bytes())
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def test_open_frozen_movielens_directories_scan(shared_data):
    for name in ("lastout", "globaltime", "colditems"):
        dataset = Dataset.open(shared_data / f"ml100k_{name}")
        assert dataset.scan(Table.PRODUCTS).select(pl.len()).collect().item() == 1682
        assert dataset.columns(Table.PRODUCTS)[-2:] == ["genres", "release_year"]
