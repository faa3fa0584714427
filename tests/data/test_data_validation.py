from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data import rules
from recsys.data.validation import require_valid, validate
from recsys.errors import DatasetError


def day(number: int) -> datetime:
    """As the tiny dataset of conftest.py counts days; its newest event is on day 5."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)


def findings(tiny) -> list[str]:
    """The findings, after a check that nothing in the dataset was changed."""
    before = tiny.bytes()
    found = validate(tiny.path).findings
    assert tiny.bytes() == before
    return found


def test_validate_sound_dataset_has_no_finding(tiny):
    report = validate(tiny.path)
    assert report.ok
    assert report.findings == []
    assert report.rows == {
        "customers": 3,
        "products": 2,
        "events": 4,
        "contents": 1,
        "messages": 1,
        "transactions": 2,
        "holdings": 1,
        "consents": 2,
    }
    assert require_valid(tiny.path).config.name == "tiny"


def test_validate_optional_tables_missing_are_notes(tiny):
    for table in ("contents", "messages", "transactions", "holdings", "consents"):
        (tiny.path / f"{table}.parquet").unlink()
    report = validate(tiny.path)
    assert report.ok, report.findings
    assert sum("the model is trained and served without it" in note for note in report.notes) == 5


def test_validate_unused_columns_are_notes(tiny):
    tiny.replace("customers", pl.lit(1).alias("secret"))
    tiny.configure(features={"events": {"arm": "categorical"}})
    report = validate(tiny.path)
    assert "customers.parquet: column secret is neither canonical nor declared: ignored" in report.notes
    assert any("features.events: only customers, products, contents" in note for note in report.notes)


def test_validate_many_breaches_are_all_reported_at_once(tiny):
    tiny.set("events", "customer_id", 0, "nobody")
    tiny.set("customers", "risk_level", 0, "C6")
    tiny.set("products", "fee", 0, float("inf"))
    (tiny.path / "images/k.jpg").unlink()
    tiny.configure(colour="red")
    with pytest.raises(DatasetError) as error:
        require_valid(tiny.path)
    assert len(error.value.findings) == 5
    assert "5 finding(s)" in str(error.value)


def test_finding_names_file_column_rule_and_at_most_five_rows(tiny):
    events = tiny.read("events")
    many = pl.concat([events[:1]] * 9).with_columns(
        pl.int_range(9).cast(pl.String).alias("event_id"), pl.lit("nobody").alias("customer_id")
    )
    tiny.write("events", many)
    shown = ", ".join(f"{row} (event_id='{row}', customer_id='nobody')" for row in range(5))
    expected = (
        f"events.parquet: column customer_id names an unknown customer (9 rows; rows counted from 0): {shown}, ..."
    )
    assert findings(tiny) == [expected]


def test_finding_in_a_part_names_the_part_and_its_row(tiny):
    frame = tiny.read("events")
    (tiny.path / "events.parquet").unlink()
    (tiny.path / "events").mkdir()
    frame[:3].write_parquet(tiny.path / "events/part-0.parquet")
    frame[3:].with_columns(pl.lit("nobody").alias("customer_id")).write_parquet(tiny.path / "events/part-1.parquet")
    (found,) = findings(tiny)
    assert found.startswith("events/part-1.parquet: column customer_id names an unknown customer (1 row")
    assert "0 of events/part-1.parquet (event_id='e4'" in found


CELLS = [
    ("customers", "customer_id", 1, None, "is a null or empty key"),
    ("customers", "customer_id", 1, "", "is a null or empty key"),
    ("customers", "event_timestamp", 1, None, "is a null or empty key"),
    ("customers", "risk_level", 0, "C6", "is none of C1, C2, C3, C4, C5"),
    ("customers", "risk_assessed_at", 0, day(5 + 32), "is later than"),
    ("customers", "event_timestamp", 0, day(5 + 32), "is later than"),
    ("customers", "age", 0, float("nan"), "is not a finite number"),
    ("products", "name", 0, None, "is required and null or empty"),
    ("products", "bank_risk", 0, "R9", "is none of R1"),
    ("products", "status", 0, "asleep", "is none of live, paused, sold_out, draft"),
    ("products", "fee", 0, float("inf"), "is not a finite number"),
    ("products", "image_path", 0, "images/none.png", "names a picture that is missing"),
    ("products", "image_path", 0, "/etc/hostname", "names a picture outside the dataset directory"),
    ("products", "image_path", 0, "images/../../x.png", "names a picture outside the dataset directory"),
    ("products", "image_path", 0, "dataset.yaml", "names a file that is not an image"),
    ("products", "image_path", 0, "images", "names a file that is not an image"),
    ("products", "image_path", 0, "", "names a file that is not an image"),
    ("contents", "product_id", 0, "nothing", "names an unknown product"),
    ("contents", "status", 0, "asleep", "is none of draft, generated"),
    ("events", "event_id", 0, None, "is a null or empty key"),
    ("events", "event_id", 0, "e2", "is a duplicate key"),
    ("events", "customer_id", 0, None, "is required and null or empty"),
    ("events", "customer_id", 0, "nobody", "names an unknown customer"),
    ("events", "product_id", 0, "nothing", "names an unknown product"),
    ("events", "content_id", 1, "nothing", "names an unknown content"),
    ("events", "product_id", 0, None, "and content_id are both missing"),
    ("events", "event_type", 0, "sneeze", "is an unknown event type"),
    ("events", "event_type", 0, None, "is required and null or empty"),
    ("events", "event_timestamp", 0, day(99999), "is later than"),
    ("events", "propensity", 0, 1.5, "is no probability"),
    ("messages", "customer_id", 0, "nobody", "names an unknown customer"),
    ("messages", "source", 0, "telepathy", "is none of chat, search, call, note"),
    ("transactions", "amount", 0, None, "is required and null or empty"),
    ("transactions", "event_timestamp", 0, day(99999), "is later than"),
    ("holdings", "product_id", 0, "nothing", "names an unknown product"),
    ("consents", "purpose", 0, "gossip", "is none of marketing"),
    ("consents", "channel", 1, None, "is a duplicate key"),
]


@pytest.mark.parametrize(("table", "column", "row", "value", "rule"), CELLS)
def test_validate_one_bad_cell_is_the_one_finding(tiny, table, column, row, value, rule):
    tiny.set(table, column, row, value)
    found = findings(tiny)
    assert len(found) == 1, found
    where = "" if "duplicate" in rule else f" column {column}"
    assert found[0].startswith(f"{table}.parquet:{where}")
    assert rule in found[0]
    assert "counted from 0" in found[0]


def test_validate_consents_without_channel_are_keyed_by_the_rest(tiny):
    tiny.write("consents", tiny.read("consents").drop("channel"))
    (found,) = findings(tiny)
    assert "is a duplicate key (1 key" in found


def test_validate_plans_may_lie_in_the_future(tiny):
    tiny.set("products", "available_to", 0, day(99999))
    tiny.set("holdings", "closed_at", 0, day(99999))
    assert findings(tiny) == []


def test_validate_declared_end_is_exact(tiny):
    tiny.configure(end=day(5).isoformat())
    assert findings(tiny) == []
    tiny.set("messages", "event_timestamp", 0, day(5) + timedelta(microseconds=1))
    (found,) = findings(tiny)
    assert "the end of the dataset (dataset.yaml)" in found


def test_validate_wrong_event_time_does_not_move_the_end(tiny):
    tiny.set("events", "event_timestamp", 3, day(99999))
    tiny.set("messages", "event_timestamp", 0, day(5 + 40))
    assert len(findings(tiny)) == 2


def test_validate_weighted_event_type_is_known(tiny):
    tiny.set("events", "event_type", 0, "branch_visit")
    (found,) = findings(tiny)
    assert "event_type='branch_visit'" in found
    tiny.configure(event_weights={"branch_visit": 2.0, "click": 1.0})
    assert findings(tiny) == []


@pytest.mark.parametrize("table", ["customers", "products", "events"])
def test_validate_required_table_missing_or_empty_is_found(tiny, table):
    frame = tiny.read(table)
    tiny.write(table, frame.clear())
    assert f"{table}.parquet: has no rows; at least one is needed" in findings(tiny)
    (tiny.path / f"{table}.parquet").unlink()
    assert f"{table}.parquet: required table is missing" in findings(tiny)


@pytest.mark.parametrize(
    ("table", "column"),
    [("customers", "customer_id"), ("products", "name"), ("events", "event_type"), ("consents", "granted")],
)
def test_validate_required_column_missing_is_found(tiny, table, column):
    tiny.write(table, tiny.read(table).drop(column))
    assert any(f"{table}.parquet: column {column} is required" in found for found in findings(tiny))


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("events", pl.col("value").cast(pl.String), "events.parquet: column value wrong type: must be number"),
        ("events", pl.col("event_timestamp").dt.to_string(), "column event_timestamp wrong type: must be timestamp"),
        ("events", pl.col("event_timestamp").dt.replace_time_zone(None), "column event_timestamp has no time zone"),
        ("customers", pl.lit(5).alias("customer_id"), "column customer_id wrong type: must be string"),
        ("customers", pl.col("is_minor").cast(pl.Int8), "column is_minor wrong type: must be boolean"),
        ("customers", pl.col("age").cast(pl.String), "column age wrong type: must be number, is String (dataset.yaml"),
        ("products", pl.lit("DE").alias("countries"), "column countries wrong type: must be list of strings"),
    ],
)
def test_validate_wrong_type_is_found_and_the_rest_still_checked(tiny, table, change, words):
    tiny.replace(table, change)
    tiny.set("transactions", "amount", 0, float("nan"))
    found = findings(tiny)
    assert any(words in finding for finding in found), found
    assert any("column amount is not a finite number" in finding for finding in found), found


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"customers": {"shoe_size": "numeric"}}, "features.customers.shoe_size: customers.parquet has no column"),
        ({"products": {"fee": "text"}}, "features.products.fee: text does not fit the contract's number"),
        ({"customers": {"job": "numeric"}}, "column job wrong type: must be number"),
        ({"customers": {"job": "colour"}}, "features.customers.job"),
    ],
)
def test_validate_bad_feature_declaration_is_found(tiny, features, words):
    tiny.configure(features=features)
    assert any(words in finding for finding in findings(tiny))


def test_validate_bad_yaml_key_still_checks_the_tables(tiny):
    tiny.configure(split={"validation_start": day(2).isoformat(), "test_start": day(1).isoformat()})
    tiny.set("events", "customer_id", 0, "nobody")
    found = findings(tiny)
    assert len(found) == 2
    assert "validation_start must be before test_start" in found[0]
    (tiny.path / "dataset.yaml").write_text("name: [")
    assert any("is not YAML" in finding for finding in findings(tiny))


def write_invalid_text(path, values: list[bytes]) -> None:
    table = pa.table(
        {
            "message_id": [f"m{number}" for number in range(len(values))],
            "customer_id": ["a"] * len(values),
            "event_timestamp": pa.array([day(1)] * len(values), pa.timestamp("us", tz="UTC")),
            "text": pa.array(values, pa.binary()).view(pa.string()),
        }
    )
    pq.write_table(table, path)


def test_validate_text_that_is_not_utf8_names_the_rows(tiny):
    write_invalid_text(tiny.path / "messages.parquet", [b"fine", b"Z\xfcrich", "Zürich".encode(), b"\xff"])
    expected = "messages.parquet: column text holds text that is not valid UTF-8 (2 rows; rows counted from 0): 1, 3"
    assert findings(tiny) == [expected]


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "pages"])
def test_validate_unreadable_parquet_is_found(tiny, damage):
    file = tiny.path / "transactions.parquet"
    content = bytearray(file.read_bytes())
    if damage == "pages":
        content[4:60] = b"\xff" * 56
    file.write_bytes({"text": b"not parquet at all", "empty": b"", "cut": content[:90]}.get(damage, bytes(content)))
    found = findings(tiny)
    assert found
    assert all(finding.startswith("transactions.parquet: ") for finding in found)


def test_validate_picture_behind_a_link_is_outside(tiny, tmp_path):
    (tmp_path / "elsewhere.png").write_bytes((tiny.path / "images/p.png").read_bytes())
    (tiny.path / "images/p.png").unlink()
    (tiny.path / "images/p.png").symlink_to(tmp_path / "elsewhere.png")
    (found,) = findings(tiny)
    assert "outside the dataset directory" in found


def test_validate_dataset_behind_a_link_is_sound(tiny, tmp_path):
    (tmp_path / "link").symlink_to(tiny.path)
    assert validate(tmp_path / "link").ok


def test_validate_damaged_picture_is_found(tiny):
    (tiny.path / "images/p.png").write_bytes((tiny.path / "images/p.png").read_bytes()[:20])
    (found,) = findings(tiny)
    assert "products.parquet: column image_path names a file that is not an image" in found


def test_validate_no_directory_is_a_finding(tmp_path):
    assert "is not a directory" in validate(tmp_path / "nothing").findings[0]


def test_check_duplicates_many_shares_find_the_same_as_one(tiny, monkeypatch):
    tiny.write("transactions", pl.concat([tiny.read("transactions")] * 3))
    whole = findings(tiny)
    monkeypatch.setattr(rules, "KEYS_A_PASS", 1)
    assert findings(tiny) == whole
    assert "is a duplicate key (2 keys" in whole[0]


def test_validate_frozen_movielens_directories_are_sound(shared_data):
    for name in ("lastout", "globaltime", "colditems"):
        report = validate(shared_data / f"ml100k_{name}")
        assert report.ok, report.findings
        assert report.rows["customers"] == 943
