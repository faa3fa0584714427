"""The customers of a simulated bank many times over, with their features: the champion then has real work to do."""

from pathlib import Path
from typing import Final

import polars as pl

from feature_repo.operations import apply, features_folder, make_store
from feature_repo.settings import StoreSettings
from recsys.data.contract import Dataset
from recsys.features.spec import FeatureManifest
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
    for file in sorted((home / "features").iterdir()):
        if file.suffix == ".parquet":
            _tile(file, state / "features" / file.name, times)
        else:
            (state / "features" / file.name).write_bytes(file.read_bytes())
    apply(make_store(state, StoreSettings()), FeatureManifest.read(state / "features"), features_folder(state))
    return Dataset.open(data), state


def _tile(source: Path, out: Path, times: int) -> None:
    rows = pl.scan_parquet(source)
    names = rows.collect_schema().names()
    if CUSTOMER_ID not in names:
        rows.sink_parquet(out)
        return
    copies = [
        rows.with_columns(pl.format("{}-{}", pl.lit(f"{copy:04}"), name).alias(name) for name in _OWN if name in names)
        for copy in range(times)
    ]
    pl.concat(copies).sink_parquet(out, row_group_size=100_000)
