"""The feature row of one item is the row that the build makes of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.data.contract import Dataset
from recsys.features.build import FeatureConfig, build_features
from recsys.features.live import declared_names, item_features
from recsys.features.plan import Encodings
from recsys.features.spec import Entity, FeatureManifest
from recsys.schema import FeatureKind, Table
from recsys.testing.tiny_bank import write_tiny_bank

KEYS = {Table.PRODUCTS: Entity.PRODUCT, Table.CONTENTS: Entity.CONTENT}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, FeatureManifest, Path]:
    folder = tmp_path_factory.mktemp("live")
    dataset = write_tiny_bank(folder / "bank")
    report = build_features(dataset, folder / "features", folder / "encodings", FeatureConfig(history_length=5))
    return dataset, report.manifest, folder


def built_row(folder: Path, manifest: FeatureManifest, entity: Entity, item_id: str) -> dict[str, Any]:
    """The latest row of an item in every table."""
    row: dict[str, Any] = {}
    for view in manifest.views_of(entity):
        table = pl.read_parquet(folder / "features" / f"{view.name}.parquet")
        mine = table.filter(pl.col(entity.value) == item_id).sort("event_timestamp").tail(1)
        row |= {f"{view.name}__{column.name}": mine[column.name].to_list()[0] for column in view.columns}
    return row


@pytest.mark.parametrize("table", KEYS)
def test_item_features_of_every_item_are_those_of_the_build(
    built: tuple[Dataset, FeatureManifest, Path], table: Table
) -> None:
    dataset, manifest, folder = built
    entity = KEYS[table]
    encodings = Encodings(folder / "encodings", FeatureConfig(history_length=5))
    rows = dataset.scan(table).sort("event_timestamp").unique(entity.value, keep="last", maintain_order=True).collect()
    for row in rows.to_dicts():
        picture = dataset.image_file(row["image_path"]) if row["image_path"] else None
        found = item_features(table, row, picture, manifest, encodings)
        expected = built_row(folder, manifest, entity, row[entity.value])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == (
                pytest.approx(value, abs=1e-6) if isinstance(value, list) and "vector" in name else value
            )


def test_item_features_of_a_new_item_read_text_picture_and_times(
    built: tuple[Dataset, FeatureManifest, Path],
) -> None:
    dataset, manifest, folder = built
    encodings = Encodings(folder / "encodings", FeatureConfig(history_length=5))
    row = {"name": "Easy saver", "description": "Save a little", "category": " savings ", "is_credit": False}
    row |= {"tags": ["safe", "new"], "available_from": datetime(2026, 1, 1, tzinfo=UTC)}
    found = item_features(Table.PRODUCTS, row, dataset.image_file("images/p1.png"), manifest, encodings)
    same_text = built_row(folder, manifest, Entity.PRODUCT, "p0")["product_text__text_vector"]
    assert found["product_text__text_vector"] == pytest.approx(same_text, abs=1e-6)
    assert (found["product_attributes__category"], found["product_attributes__is_credit"]) == ("savings", "false")
    assert found["product_attributes__tags"] == ["safe", "new"]
    assert found["product_images__image_vector"] is not None
    nothing = item_features(Table.PRODUCTS, {}, None, manifest, encodings)
    assert set(nothing.values()) == {None}


def test_declared_names_are_what_the_dataset_declares(built: tuple[Dataset, FeatureManifest, Path]) -> None:
    assert declared_names(Table.PRODUCTS, built[1]) == {"tags": FeatureKind.CATEGORICAL_LIST}
