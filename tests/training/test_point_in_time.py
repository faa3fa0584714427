import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.operations import apply_and_materialise
from feature_repo.settings import StoreSettings
from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps
from recsys.errors import FeatureError, HomeError
from recsys.features.attributes import vector_column
from recsys.features.build import FeatureConfig, build_features
from recsys.features.in_time import TablesInTime
from recsys.features.spec import (
    MANIFEST_FILE,
    ColumnType,
    Entity,
    FeatureColumn,
    FeatureManifest,
    FeatureView,
)
from recsys.features.tables import TableWriter, conform, latest_path, table_path
from recsys.schema import FeatureKind, Table
from recsys.testing.tiny_bank import write_tiny_bank
from training import point_in_time
from training.point_in_time import join_features

START = datetime(2026, 1, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
KEY, AT = "customer_id", "event_timestamp"
NARROW = FeatureView(
    name="narrow",
    entity=Entity.CUSTOMER,
    columns=(
        FeatureColumn(name="x", kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT),
        FeatureColumn(name="pay_y", kind=FeatureKind.CATEGORICAL, type=ColumnType.STRING),  # Feast's join drops *_y
    ),
)
WIDE = FeatureView(
    name="wide",
    entity=Entity.CUSTOMER,
    columns=(
        vector_column("v", 3),
        FeatureColumn(name="ids", kind=FeatureKind.CATEGORICAL_LIST, type=ColumnType.STRING_LIST),
        FeatureColumn(name="at", kind=FeatureKind.TIMESTAMP, type=ColumnType.INT_LIST),
    ),
)
AGEING = NARROW.model_copy(update={"name": "ageing", "max_age_days": 2.0})


def times(rng: np.random.Generator, n: int) -> pl.Series:
    """Times of few distinct values, one microsecond apart or days."""
    micros = rng.integers(0, 30, n) * 86_400_000_000 + rng.integers(0, 3, n)
    return pl.Series([START + timedelta(microseconds=int(value)) for value in micros], dtype=TIME)


def random_table(rng: np.random.Generator, n: int) -> pl.DataFrame:
    x = rng.standard_normal(n)
    return pl.DataFrame(
        {
            KEY: [f"c{number}" for number in rng.integers(0, 400, n)],
            AT: times(rng, n),
            "x": pl.Series([None if value > 1.5 else value for value in x], dtype=pl.Float32),
            "pay_y": [f"s{int(value * 3)}" for value in x],
            "v": rng.standard_normal((n, 3)).tolist(),
            "ids": [[f"p{value}" for value in rng.integers(0, 9, rng.integers(0, 4))] for _ in range(n)],
            "at": [rng.integers(0, 9**15, 2).tolist() for _ in range(n)],
        }
    )


@pytest.fixture(scope="module")
def random_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of three random views of 8,000 rows of 400 customers."""
    home = tmp_path_factory.mktemp("random") / "home"
    folder = home / "features"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    views = (NARROW, WIDE, AGEING)
    for view in views:
        with TableWriter(folder, view) as writer:
            writer.write(conform(random_table(rng, 8_000), view, "random"))
    manifest = FeatureManifest(
        dataset="random", fingerprint="0", history_length=1, text_encoder="", image_encoder="", views=views
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json())
    apply_and_materialise(home, settings=StoreSettings(online_store="sqlite"))
    return home


@pytest.fixture(scope="module")
def moments() -> pl.DataFrame:
    """20,000 moments: ties, several of one customer at one time, unknown customers, and times before any row."""
    rng = np.random.default_rng(1)
    n = 20_000
    frame = pl.DataFrame({KEY: [f"c{number}" for number in rng.integers(0, 450, n)], AT: times(rng, n)})
    early = pl.col(AT).dt.offset_by("-20d")
    frame = frame.with_columns(pl.when(pl.int_range(pl.len()) % 5 == 0).then(early).otherwise(pl.col(AT)).alias(AT))
    return frame.with_columns(row_id=pl.Series(rng.permutation(n) * 3, dtype=pl.Int64))


def as_of_join(home: Path, moments: pl.DataFrame, view: FeatureView) -> pl.DataFrame:
    """The oracle: polars' own backward as-of join."""
    names = [column.name for column in view.columns]
    table = pl.read_parquet(home / "features" / f"{view.name}.parquet").select(
        KEY, AT, pl.col(AT).alias("time"), *names
    )
    joined = moments.sort(AT).join_asof(table.sort(AT), on=AT, by=KEY, strategy="backward", check_sortedness=False)
    if view.max_age_days:
        fresh = pl.col(AT) - pl.col("time") <= pl.duration(days=view.max_age_days)
        joined = joined.with_columns(pl.when(fresh).then(pl.col(name)).alias(name) for name in ("time", *names))
    renamed = {"time": AT, **dict(zip(names, names, strict=True))}
    return joined.sort("row_id").select(
        "row_id", *(pl.col(old).alias(f"{view.name}__{new}") for old, new in renamed.items())
    )


@pytest.mark.parametrize("view", [NARROW, WIDE, AGEING], ids=lambda view: view.name)
def test_join_equals_polars_as_of_join(
    random_home: Path, moments: pl.DataFrame, view: FeatureView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_in_time, "CHUNK_ROWS", 7_000)
    result = join_features(random_home, moments, "recommender_v1")
    expected = as_of_join(random_home, moments, view)
    assert result["row_id"].to_list() == sorted(moments["row_id"].to_list())
    assert result.select(expected.columns).equals(expected)
    missing = expected[f"{view.name}__{AT}"].null_count()
    assert 2_000 < missing < 15_000


@pytest.mark.parametrize("ranges", [1, 7])
@pytest.mark.parametrize("with_latest", [True, False])
def test_reading_the_tables_themselves_gives_what_feasts_join_gives(
    random_home: Path, moments: pl.DataFrame, tmp_path: Path, ranges: int, with_latest: bool
) -> None:
    folder = tmp_path / "features"
    shutil.copytree(random_home / "features", folder)
    views = FeatureManifest.read(folder).views
    if not with_latest:  # as older code built it
        shutil.rmtree(latest_path(folder, "narrow").parent)
    tables = TablesInTime(folder, views)
    parts = moments.sort(KEY).iter_slices(-(-len(moments) // ranges))
    read = pl.concat([tables.join(part) for part in parts]).sort("row_id")
    joined = join_features(random_home, moments, "recommender_v1")
    assert read.equals(joined.drop(f"{view.name}__{AT}" for view in views))


def test_reading_everybody_as_he_is_now_needs_the_newest_rows_only(random_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    shutil.copytree(random_home / "features", folder)
    views = FeatureManifest.read(folder).views
    now = pl.DataFrame({"row_id": range(450), KEY: [f"c{number}" for number in range(450)]}).with_columns(
        pl.lit(START + timedelta(days=31)).cast(TIME).alias(AT)
    )
    expected = join_features(random_home, now, "recommender_v1")
    for view in views:
        table_path(folder, view.name).unlink()
    assert TablesInTime(folder, views).join(now).equals(expected.drop(f"{view.name}__{AT}" for view in views))


def test_reading_some_columns_only(random_home: Path, moments: pl.DataFrame) -> None:
    views = FeatureManifest.read(random_home / "features").views
    some = TablesInTime(random_home / "features", views, ["wide__ids", "narrow__x"]).join(moments.head(50))
    assert some.columns == ["row_id", "narrow__x", "wide__ids"]
    every = TablesInTime(random_home / "features", views).join(moments.head(50))
    assert some.equals(every.select(some.columns))


def test_join_several_moments_of_one_customer_and_time_all_come_back(random_home: Path) -> None:
    frame = pl.DataFrame({"row_id": [5, 3, 9], KEY: ["c1"] * 3, AT: [START + timedelta(days=9)] * 3}).with_columns(
        pl.col(AT).cast(TIME)
    )
    result = join_features(random_home, frame, "recommender_v1", ["narrow"])
    assert result["row_id"].to_list() == [3, 5, 9]
    assert result["narrow__x"].n_unique() == 1
    assert result.columns == ["row_id", "narrow__event_timestamp", "narrow__x", "narrow__pay_y"]


def test_join_no_moments_gives_no_rows(random_home: Path, moments: pl.DataFrame) -> None:
    result = join_features(random_home, moments.clear(), "recommender_v1", ["wide"])
    assert result.height == 0
    assert result.schema["wide__v"] == pl.List(pl.Float32)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (pl.col("row_id").cast(pl.Int32), "row_id"),
        (pl.col(AT).dt.replace_time_zone(None), AT),
        (pl.lit(1, pl.Int64).alias("row_id"), "twice"),
        (pl.lit(None, pl.String).alias(KEY), "null"),
    ],
)
def test_join_moments_that_do_not_fit_are_refused(
    random_home: Path, moments: pl.DataFrame, change: pl.Expr, problem: str
) -> None:
    with pytest.raises(FeatureError, match=problem):
        join_features(random_home, moments.with_columns(change), "recommender_v1")


def test_join_unknown_service_or_view_is_named(random_home: Path, moments: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="no service nothing_v1"):
        join_features(random_home, moments, "nothing_v1")
    with pytest.raises(FeatureError, match="no view nothing; it has narrow, wide, ageing"):
        join_features(random_home, moments, "recommender_v1", ["nothing"])
    with pytest.raises(HomeError, match="recsys features"):
        join_features(tmp_path, moments, "recommender_v1")


def test_join_just_before_an_event_sees_nothing_of_it_or_later(tmp_path: Path) -> None:
    dataset = write_tiny_bank(tmp_path / "bank", customers=12)
    home = tmp_path / "home"
    build_features(dataset, home / "features", home / "encodings", FeatureConfig())
    apply_and_materialise(home, settings=StoreSettings(online_store="sqlite"))
    events = order_timestamps(dataset.scan(Table.EVENTS)).collect().with_row_index("row_id")
    before = pl.col(ORDER_TIMESTAMP) - pl.duration(microseconds=1)
    moments = events.select(pl.col("row_id").cast(pl.Int64), KEY, before.alias(AT))
    result = join_features(home, moments, "recommender_v1")
    stamps = [name for name in result.columns if name.endswith("__event_timestamp")]
    assert len(stamps) == 6
    for name in stamps:
        assert result[name].drop_nulls().len() > 0
        assert (result[name] <= moments[AT]).all()
    assert not result["customer_history__event_ids"].list.contains(events["event_id"]).fill_null(value=False).any()
    seen = result["customer_history__timestamps"].list.max()
    assert (seen < events[ORDER_TIMESTAMP].dt.epoch("us")).fill_null(value=True).all()
    # The event just before is there: nothing is lost either.
    previous = events.with_columns(last=pl.col("event_type").ne("impression")).select(
        pl.when("last").then("event_id").forward_fill().shift(1).over(KEY)
    )["event_id"]
    last_id = result["customer_history__event_ids"].list.last()
    known = result["customer_history__event_timestamp"].is_not_null()
    assert known.sum() > 100
    assert (last_id.filter(known) == previous.filter(known)).all()
