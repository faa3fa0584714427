import shutil
from pathlib import Path

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.errors import FeatureError
from recsys.features import build
from recsys.features.build import BuildReport, FeatureConfig, build_features, is_current
from recsys.features.plan import customer_ranges
from recsys.features.spec import Entity, FeatureManifest, ViewName
from recsys.features.tables import check_tables
from recsys.schema import Table
from recsys.testing.tiny_bank import write_tiny_bank

SHARED = Path(__file__).parents[2] / "../shared/data/ml100k_lastout"


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_build_writes_every_view_and_a_true_manifest(built: BuildReport, tables: Path) -> None:
    assert built.changed
    assert [view.name for view in built.manifest.views] == [name.value for name in ViewName]
    assert FeatureManifest.read(tables) == built.manifest
    assert built.manifest.text_encoder.startswith("minilm")
    check_tables(tables, built.manifest)
    assert built.rows == {
        view.name: pl.read_parquet(tables / f"{view.name}.parquet").height for view in built.manifest.views
    }


def test_build_tables_are_sorted_and_have_one_row_a_time(built: BuildReport, tables: Path) -> None:
    for view in built.manifest.views:
        frame = pl.read_parquet(tables / f"{view.name}.parquet").select(view.entity.value, "event_timestamp")
        assert frame.equals(frame.sort(view.entity.value, "event_timestamp"))
        assert not frame.is_duplicated().any()


def test_build_again_does_nothing(
    bank: Dataset, built: BuildReport, tables: Path, encodings_folder: Path, config: FeatureConfig
) -> None:
    before = {file: file.stat().st_mtime_ns for file in tables.iterdir()}
    again = build_features(bank, tables, encodings_folder, config)
    assert is_current(bank, tables, config)
    assert not is_current(bank, tables, FeatureConfig(history_length=7))
    assert not again.changed
    assert (again.manifest, again.rows, again.missing) == (built.manifest, built.rows, built.missing)
    assert {file: file.stat().st_mtime_ns for file in tables.iterdir()} == before


def test_build_in_small_buckets_gives_the_same_tables(
    bank: Dataset, built: BuildReport, tables: Path, encodings_folder: Path, config: FeatureConfig, tmp_path: Path
) -> None:
    small = config.model_copy(update={"bucket_customers": 7})
    report = build_features(bank, tmp_path / "features", encodings_folder, small)
    assert report.manifest == built.manifest
    for view in built.manifest.views:
        one, other = (pl.read_parquet(folder / f"{view.name}.parquet") for folder in (tables, tmp_path / "features"))
        assert one.equals(other)


def test_build_of_other_config_or_data_starts_over(
    bank: Dataset, built: BuildReport, encodings_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "features"
    other = build_features(bank, folder, encodings_folder, FeatureConfig(history_length=3, window_days=(14,)))
    assert other.manifest.fingerprint != built.manifest.fingerprint
    assert other.manifest.schema_hash != built.manifest.schema_hash
    assert "n_click_14d" in [column.name for column in other.manifest.view("customer_behaviour").columns]
    copy = tmp_path / "bank"
    shutil.copytree(bank.path, copy)
    events = pl.read_parquet(copy / "events.parquet")
    events.head(-1).write_parquet(copy / "events.parquet")
    changed = build_features(Dataset.open(copy), folder, encodings_folder, FeatureConfig(history_length=3))
    assert changed.changed
    assert changed.manifest.fingerprint not in {built.manifest.fingerprint, other.manifest.fingerprint}


def test_build_that_fails_leaves_what_was_there(
    bank: Dataset, encodings_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_tiny_bank(tmp_path / "bank", customers=5)
    folder = tmp_path / "home" / "features"
    build_features(dataset, folder, encodings_folder, FeatureConfig())
    before = content(folder)

    def fail(*_: object) -> None:
        raise FeatureError("half-way")

    monkeypatch.setattr(build, "plan_products", fail)
    with pytest.raises(FeatureError, match="half-way"):
        build_features(dataset, folder, encodings_folder, FeatureConfig(history_length=2))
    assert content(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["features"]


def test_build_over_the_rest_of_a_killed_one_succeeds(bank: Dataset, encodings_folder: Path, tmp_path: Path) -> None:
    dataset = write_tiny_bank(tmp_path / "bank", customers=5)
    home = tmp_path / "home"
    for name in (".features.building", ".features.old"):
        (home / name).mkdir(parents=True)
        (home / name / "rest.parquet").write_bytes(b"half")
    report = build_features(dataset, home / "features", encodings_folder, FeatureConfig())
    check_tables(home / "features", report.manifest)
    assert [path.name for path in home.iterdir()] == ["features"]


def test_build_over_tables_of_older_code_starts_over(encodings_folder: Path, tmp_path: Path) -> None:
    dataset = write_tiny_bank(tmp_path / "bank", customers=5)
    build_features(dataset, tmp_path / "features", encodings_folder, FeatureConfig())
    (tmp_path / "features/manifest.json").write_text('{"a_key_of_yore": 1}')
    assert build_features(dataset, tmp_path / "features", encodings_folder, FeatureConfig()).changed


def test_build_with_required_tables_only_has_the_views_that_they_feed(encodings_folder: Path, tmp_path: Path) -> None:
    dataset = write_tiny_bank(tmp_path / "bank", customers=5)
    for name in ("contents", "messages", "transactions", "consents"):
        (dataset.path / f"{name}.parquet").unlink()
    events = pl.read_parquet(dataset.path / "events.parquet").drop("content_id")
    events.write_parquet(dataset.path / "events.parquet")
    report = build_features(dataset, tmp_path / "features", encodings_folder, FeatureConfig())
    names = {view.name for view in report.manifest.views}
    assert names == {
        "customer_profile",
        "customer_behaviour",
        "customer_history",
        "customer_images",
        "product_attributes",
        "product_text",
        "product_images",
    }
    history = pl.read_parquet(tmp_path / "features/customer_history.parquet")
    assert history["content_ids"].explode().unique().to_list() == [""]


def test_build_of_real_data_covers_every_customer_and_event(tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip("MovieLens-100K does not lie in ../shared/data")
    (tmp_path / "ml").mkdir()
    for name in ("customers.parquet", "events.parquet", "products.parquet"):
        shutil.copy(SHARED / name, tmp_path / "ml" / name)
    config = (SHARED / "dataset.yaml").read_text()
    kept = [line for line in config.splitlines() if not any(word in line for word in (": text", ": image"))]
    (tmp_path / "ml" / "dataset.yaml").write_text("\n".join(kept))
    products = pl.read_parquet(tmp_path / "ml" / "products.parquet").drop("image_path", "description").head(20)
    products.write_parquet(tmp_path / "ml" / "products.parquet")
    dataset = Dataset.open(tmp_path / "ml")
    report = build_features(dataset, tmp_path / "features", tmp_path / "encodings", FeatureConfig())
    assert report.rows["customer_profile"] == 943
    assert report.rows["customer_history"] == report.rows["customer_behaviour"] == 99_057
    history = pl.scan_parquet(tmp_path / "features/customer_history.parquet")
    last = history.group_by("customer_id").agg(pl.col("product_ids").last().list.len()).collect()
    n_events = dataset.scan(Table.EVENTS).group_by("customer_id").len().collect()
    both = last.join(n_events, on="customer_id")
    assert (both["product_ids"] == both["len"].clip(upper_bound=50)).all()


def test_customer_ranges_cover_every_id_once() -> None:
    ids = [f"c{number}" for number in range(10)]
    rows = pl.LazyFrame({"customer_id": ["", *ids, "zzz"]})
    for size in (1, 3, 10, 99):
        parts = [bounds.of(rows).collect()["customer_id"].to_list() for bounds in customer_ranges(ids, size)]
        assert [id_ for part in parts for id_ in part] == ["", *ids, "zzz"]
        assert len(parts) == -(-len(ids) // size)


def test_manifest_schema_hash_depends_on_columns_not_on_data(built: BuildReport) -> None:
    manifest = built.manifest
    assert manifest.model_copy(update={"fingerprint": "x", "dataset": "y"}).schema_hash == manifest.schema_hash
    assert manifest.model_copy(update={"views": manifest.views[1:]}).schema_hash != manifest.schema_hash
    assert manifest.model_copy(update={"text_encoder": "e5"}).schema_hash != manifest.schema_hash


def test_manifest_of_an_empty_home_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="recsys features"):
        FeatureManifest.read(tmp_path)


def test_manifest_unknown_view_or_column_is_named(built: BuildReport) -> None:
    with pytest.raises(FeatureError, match="no view nothing"):
        built.manifest.view("nothing")
    with pytest.raises(FeatureError, match="no column nothing"):
        built.manifest.view("customer_text").column("nothing")
    assert len(built.manifest.views_of(Entity.CUSTOMER)) == 6
