"""The customers of a simulated bank many times over, with their features: the champion then has real work to do."""

from pathlib import Path
from typing import Final

import polars as pl

from feature_repo.operations import apply, features_folder, make_store
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.features.spec import FeatureManifest, FeatureView
from recsys.features.tables import TableWriter, table_path
from recsys.schema import CUSTOMER_ID

_TABLES: Final = ("customers", "products", "contents", "events", "consents", "holdings")
_OWN: Final = (CUSTOMER_ID, "event_id", "request_id")


def tile_bank(bank: Path, home: Path, out: Path, times: int) -> tuple[Dataset, Path]:
    """Writes a dataset and a home with `times` copies of every customer; whatever is no customer's stays as it is.

    Args:
        bank: of `recsys simulate`.
        home: with its features.
        out: the directory to make.
        times: how many copies.
    """
    data, state = out / "data", out / "home"
    (state / "features").mkdir(parents=True)
    data.mkdir()
    (data / "images").symlink_to((bank / "images").resolve())
    (data / "dataset.yaml").write_text((bank / "dataset.yaml").read_text())
    for name in _TABLES:
        _tile(bank / f"{name}.parquet", data / f"{name}.parquet", times)
    manifest = FeatureManifest.read(home / "features")
    tables = {table_path(home / "features", view.name): view for view in manifest.views}
    for file in sorted((home / "features").iterdir()):
        view = tables.get(file)
        if view is not None and view.entity.value == CUSTOMER_ID:
            _tile_view(file, state / "features", view, times)
        else:
            (state / "features" / file.name).write_bytes(file.read_bytes())
    apply(make_store(state, StoreSettings()), manifest, features_folder(state))
    return Dataset.open(data), state


def _tile(source: Path, out: Path, times: int) -> None:
    rows = pl.scan_parquet(source)
    if CUSTOMER_ID not in rows.collect_schema().names():
        rows.sink_parquet(out)
        return
    pl.concat(_copy(rows, copy) for copy in range(times)).sink_parquet(out, row_group_size=100_000)


def _tile_view(source: Path, out: Path, view: FeatureView, times: int) -> None:
    """As the build writes it: encodings and row groups decide what reading costs."""
    rows = pl.read_parquet(source)
    with TableWriter(out, view) as writer:
        for copy in range(times):
            writer.write(_copy(rows.lazy(), copy).collect())


def _copy(rows: pl.LazyFrame, copy: int) -> pl.LazyFrame:
    names = [name for name in _OWN if name in rows.collect_schema().names()]
    return rows.with_columns(pl.format("{}-{}", pl.lit(f"{copy:04}"), name).alias(name) for name in names)
