import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.online import OnlineView
from feature_repo.operations import apply_and_materialise, open_store
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.errors import FeatureError, HomeError
from recsys.features.build import FeatureConfig, build_features
from recsys.features.spec import FeatureManifest

SQLITE = StoreSettings(online_store="sqlite")
CONFIG = FeatureConfig(history_length=5, customer_image_dim=16)


def rebuild(home: Path, dataset: Dataset) -> None:
    build_features(dataset, home / "features", home / "encodings", CONFIG)


def online(home: Path, view: str, settings: StoreSettings = SQLITE) -> OnlineView:
    return OnlineView(open_store(home, settings), FeatureManifest.read(home / "features").view(view))


def latest(home: Path, view: str) -> pl.DataFrame:
    table = pl.read_parquet(home / "features" / f"{view}.parquet")
    return table.group_by(table.columns[0], maintain_order=True).last()


def test_materialise_every_latest_row_reads_back_exactly(applied_home: Path) -> None:
    for view in FeatureManifest.read(applied_home / "features").views:
        rows = latest(applied_home, view.name).drop("created_timestamp", "as_of").to_dicts()
        assert online(applied_home, view.name).read([row[view.entity.value] for row in rows]) == rows


def test_materialise_again_does_nothing_and_says_so(fresh_home: Path) -> None:
    first = apply_and_materialise(fresh_home, settings=SQLITE)
    before = {file: file.stat().st_mtime_ns for file in (fresh_home / "feast").iterdir() if file.suffix == ".json"}
    again = apply_and_materialise(fresh_home, settings=SQLITE)
    assert first.changed
    assert not again.changed
    assert not sum(again.written.values())
    assert again.unchanged == first.written
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_materialise_changed_data_writes_what_differs_and_erases_who_is_gone(
    fresh_home: Path, bank: Dataset, tmp_path: Path
) -> None:
    apply_and_materialise(fresh_home, settings=SQLITE)
    shutil.copytree(bank.path, tmp_path / "bank")
    consents = pl.read_parquet(tmp_path / "bank/consents.parquet")
    withdrawn = consents.filter(pl.col("purpose") == "profiling").head(1)
    withdrawn = withdrawn.with_columns(
        event_timestamp=pl.lit(datetime(2026, 4, 1, tzinfo=UTC)).dt.cast_time_unit("us"), granted=pl.lit(value=False)
    )
    pl.concat([consents, withdrawn]).write_parquet(tmp_path / "bank/consents.parquet")
    customers = pl.read_parquet(tmp_path / "bank/customers.parquet")
    moved = pl.when(pl.col("customer_id") == "c005").then(pl.lit("moved")).otherwise(pl.col("segment"))
    customers.with_columns(segment=moved).write_parquet(tmp_path / "bank/customers.parquet")
    rebuild(fresh_home, Dataset.open(tmp_path / "bank"))
    report = apply_and_materialise(fresh_home, settings=SQLITE)
    assert report.written["customer_profile"] == 1
    assert sum(report.written.values()) == 1
    assert [report.erased[f"customer_{view}"] for view in ("profile", "behaviour", "history")] == [1, 1, 1]
    assert report.erased["product_text"] == 0
    assert online(fresh_home, "customer_profile").read(["c005"])[0]["segment"] == "moved"  # type: ignore[index]
    assert online(fresh_home, "customer_behaviour").read(["c000", "c001"])[0] is None
    assert online(fresh_home, "customer_behaviour").read(["c000", "c001"])[1] is not None


def test_materialise_leaves_a_row_that_is_newer_online(fresh_home: Path, bank: Dataset, tmp_path: Path) -> None:
    apply_and_materialise(fresh_home, settings=SQLITE)
    view = online(fresh_home, "customer_profile")
    row = view.read(["c000"])[0]
    assert row is not None
    newer = {**row, "segment": "streamed", "event_timestamp": row["event_timestamp"] + timedelta(days=300)}
    assert view.write([newer]) == 1
    shutil.copytree(bank.path, tmp_path / "bank")
    customers = pl.read_parquet(tmp_path / "bank/customers.parquet")
    customers.with_columns(segment=pl.lit("built")).write_parquet(tmp_path / "bank/customers.parquet")
    rebuild(fresh_home, Dataset.open(tmp_path / "bank"))
    report = apply_and_materialise(fresh_home, settings=SQLITE)
    assert report.written["customer_profile"] == latest(fresh_home, "customer_profile").height - 1
    assert [row["segment"] for row in online(fresh_home, "customer_profile").read(["c000", "c001"]) if row] == [
        "streamed",
        "built",
    ]


def test_materialise_other_columns_replace_even_newer_rows(fresh_home: Path, bank: Dataset, tmp_path: Path) -> None:
    apply_and_materialise(fresh_home, settings=SQLITE)
    view = online(fresh_home, "customer_profile")
    row = view.read(["c000"])[0]
    assert row is not None
    view.write([{**row, "segment": "streamed", "event_timestamp": row["event_timestamp"] + timedelta(days=300)}])
    shutil.copytree(bank.path, tmp_path / "bank")
    customers = pl.read_parquet(tmp_path / "bank/customers.parquet").drop("liquid_amount")
    customers.write_parquet(tmp_path / "bank/customers.parquet")
    rebuild(fresh_home, Dataset.open(tmp_path / "bank"))
    apply_and_materialise(fresh_home, settings=SQLITE)
    found = online(fresh_home, "customer_profile").read(["c000"])[0]
    assert found is not None
    assert found["segment"] == "affluent"
    assert "liquid_amount" not in found


def test_materialise_view_that_is_gone_leaves_the_registry(fresh_home: Path, bank: Dataset, tmp_path: Path) -> None:
    apply_and_materialise(fresh_home, settings=SQLITE)
    shutil.copytree(bank.path, tmp_path / "bank")
    (tmp_path / "bank/transactions.parquet").unlink()
    rebuild(fresh_home, Dataset.open(tmp_path / "bank"))
    apply_and_materialise(fresh_home, settings=SQLITE)
    names = {view.name for view in open_store(fresh_home, SQLITE).list_feature_views()}
    assert "customer_transactions" not in names
    assert len(names) == 11


def test_materialise_deleted_database_is_written_anew(fresh_home: Path) -> None:
    first = apply_and_materialise(fresh_home, settings=SQLITE)
    for file in (fresh_home / "feast").glob("online.db*"):
        file.unlink()
    again = apply_and_materialise(fresh_home, settings=SQLITE)
    assert again.changed
    assert again.written == first.written


def test_materialise_home_that_moved_is_applied_again(fresh_home: Path) -> None:
    apply_and_materialise(fresh_home, settings=SQLITE)
    moved = fresh_home.rename(fresh_home.with_name("moved"))
    report = apply_and_materialise(moved, settings=SQLITE)
    assert report.changed
    assert not sum(report.written.values())
    source = open_store(moved, SQLITE).get_feature_view("customer_text").batch_source
    assert source.path == str(moved / "features" / "customer_text.parquet")


def test_materialise_killed_half_way_is_completed_by_the_next_run(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = OnlineView.write
    calls = iter(range(100))

    def dies(self: OnlineView, rows: list[dict[str, object]], **options: bool) -> int:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return written(self, rows, **options)

    with monkeypatch.context() as patch:
        patch.setattr(OnlineView, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            apply_and_materialise(fresh_home, settings=SQLITE)
    report = apply_and_materialise(fresh_home, settings=SQLITE)
    assert report.changed
    assert report.written["customer_profile"] == 0
    test_materialise_every_latest_row_reads_back_exactly(fresh_home)


def test_materialise_wrong_table_is_refused_before_anything_is_applied(fresh_home: Path) -> None:
    path = fresh_home / "features" / "customer_text.parquet"
    table = pl.read_parquet(path)
    table.with_columns(pl.col("text_vector").list.head(3)).write_parquet(path)
    with pytest.raises(FeatureError, match=r"customer_text\.parquet: column text_vector"):
        apply_and_materialise(fresh_home, settings=SQLITE)
    assert not (fresh_home / "feast" / "online.db").exists()
    assert not (fresh_home / "feast" / "registry.db").exists()


def test_materialise_without_features_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="recsys features"):
        apply_and_materialise(tmp_path, settings=SQLITE)
    with pytest.raises(HomeError, match="recsys features"):
        open_store(tmp_path, SQLITE)
    assert list(tmp_path.iterdir()) == []
