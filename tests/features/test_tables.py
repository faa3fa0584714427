from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import FeatureError
from recsys.features.attributes import vector_column
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.features.tables import TableWriter, check_tables, conform, latest_path, polars_schema
from recsys.schema import FeatureKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="v",
    entity=Entity.CUSTOMER,
    columns=(FeatureColumn(name="x", kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT), vector_column("e", 2)),
)
MANIFEST = FeatureManifest(
    dataset="d", fingerprint="f", history_length=1, text_encoder="", image_encoder="", views=(VIEW,)
)


def rows(*values: tuple[str | None, float | None, list[float] | None]) -> pl.DataFrame:
    schema = {"customer_id": pl.String, "x": pl.Float64, "e": pl.List(pl.Float64)}
    return pl.DataFrame(list(values), schema=schema, orient="row").with_columns(
        pl.lit(NOW).cast(pl.Datetime("us", "UTC")).alias("event_timestamp")
    )


def write(folder: Path, frame: pl.DataFrame) -> None:
    with TableWriter(folder, VIEW) as writer:
        writer.write(frame)


def test_conform_gives_the_schema_and_keeps_the_last_of_one_time() -> None:
    frame = conform(rows(("b", 1.0, [0, 1]), ("a", 2.0, None), ("b", 3.0, [1, 0])), VIEW, "f.parquet")
    assert dict(frame.schema) == polars_schema(VIEW)
    assert frame["customer_id"].to_list() == ["a", "b"]
    assert frame["x"].to_list() == [2.0, 3.0]
    assert frame["as_of"].to_list() == [int(NOW.timestamp()) * 1_000_000] * 2


@pytest.mark.parametrize(
    ("row", "column"), [(("a", float("nan"), [0, 1]), "x"), (("a", 1.0, [0.0, float("inf")]), "e")]
)
def test_conform_number_that_is_not_finite_is_refused(row: tuple[str, float, list[float]], column: str) -> None:
    with pytest.raises(FeatureError, match=rf"f\.parquet: column {column} \(feature view v\) holds 1 number"):
        conform(rows(row), VIEW, "f.parquet")


def test_written_table_passes_the_check_and_reads_back(tmp_path: Path) -> None:
    frame = conform(rows(("a", 1.0, [0, 1]), ("b", None, None)), VIEW, "f")
    write(tmp_path, frame)
    check_tables(tmp_path, MANIFEST)
    assert pl.read_parquet(tmp_path / "v.parquet").equals(frame)


def test_written_table_streamed_in_parts_is_one_table(tmp_path: Path) -> None:
    frames = [conform(rows((name, 1.0, [0, 1])), VIEW, "f") for name in "abc"]
    with TableWriter(tmp_path, VIEW) as writer:
        for frame in frames:
            writer.write(frame)
    assert writer.rows == 3
    assert pl.read_parquet(tmp_path / "v.parquet").equals(pl.concat(frames))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_newest_row_of_each_customer_is_written_once_more(tmp_path: Path, parts: int) -> None:
    values = [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1), ("c", 2), ("d", 5)]
    times = pl.Series([NOW + timedelta(days=day) for _, day in values], dtype=pl.Datetime("us", "UTC"))
    names = [(name, float(place), [0, 1]) for place, (name, _) in enumerate(values)]
    frame = conform(rows(*names).with_columns(times.alias("event_timestamp")), VIEW, "f")
    with TableWriter(tmp_path, VIEW) as writer:
        for part in frame.iter_slices(-(-len(frame) // parts)):
            writer.write(part)
    latest = pl.read_parquet(latest_path(tmp_path, "v"))
    assert latest.equals(frame.group_by("customer_id", maintain_order=True).last().select(frame.columns))
    assert latest["x"].to_list() == [1, 2, 5, 6]


Change = Callable[[pa.Table], pa.Table]


def put(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda table: table.drop_columns(["x"]), "v.parquet: column x is missing"),
        (
            lambda table: put(table, "x", table["x"].cast(pa.float64())),
            "v.parquet: column x is double, must be float",
        ),
        (
            lambda table: put(table, "customer_id", pa.array(["a", None])),
            "v.parquet: column customer_id is null in 1 row",
        ),
        (
            lambda table: put(table, "e", pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float32()))),
            "v.parquet: column e is not of dimension 2 in 1 row",
        ),
        (
            lambda table: put(table, "event_timestamp", table["event_timestamp"].cast(pa.timestamp("us"))),
            "v.parquet: column event_timestamp is timestamp[us], must be timestamp[us, tz=UTC]",
        ),
    ],
)
def test_check_tables_names_what_is_wrong(tmp_path: Path, change: Change, finding: str) -> None:
    write(tmp_path, conform(rows(("a", 1.0, [0, 1]), ("b", 2.0, [1, 0])), VIEW, "f"))
    path = tmp_path / "v.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(FeatureError) as error:
        check_tables(tmp_path, MANIFEST)
    assert finding in str(error.value)
    assert "recsys features" in str(error.value)


@pytest.mark.parametrize(("content", "finding"), [(None, "is missing"), (b"no parquet", "not a readable parquet")])
def test_check_tables_missing_or_broken_file_is_named(tmp_path: Path, content: bytes | None, finding: str) -> None:
    if content:
        (tmp_path / "v.parquet").write_bytes(content)
    with pytest.raises(FeatureError, match=f"v.parquet: .*{finding}"):
        check_tables(tmp_path, MANIFEST)
