"""Columns to numbers: known answers, missing values, and one path for training and serving."""

import math

import numpy as np
import polars as pl
import pytest

from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.modeling.batches import make_entity_batch
from recsys.modeling.encoding import EncodingConfig, EntityEncoding
from recsys.modeling.tables import torchrec_tables
from recsys.schema import FeatureKind

DAY = 86_400_000_000


def column(name: str, kind: FeatureKind, type_: ColumnType, dim: int = 0) -> FeatureColumn:
    return FeatureColumn(name=name, kind=kind, type=type_, dim=dim)


@pytest.fixture
def manifest() -> FeatureManifest:
    profile = (
        column("segment", FeatureKind.CATEGORICAL, ColumnType.STRING),
        column("tags", FeatureKind.CATEGORICAL_LIST, ColumnType.STRING_LIST),
        column("amount", FeatureKind.NUMERIC, ColumnType.FLOAT),
        column("joined_at", FeatureKind.TIMESTAMP, ColumnType.INT),
    )
    text = (column("text_vector", FeatureKind.EMBEDDING, ColumnType.VECTOR, dim=2),)
    views = (
        FeatureView(name="customer_profile", entity=Entity.CUSTOMER, columns=profile),
        FeatureView(name="customer_text", entity=Entity.CUSTOMER, columns=text),
    )
    return FeatureManifest(
        dataset="d", fingerprint="f", history_length=5, text_encoder="t", image_encoder="", views=views
    )


@pytest.fixture
def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "customer_profile__segment": ["a", "a", "b", None],
            "customer_profile__tags": [["x", "y"], ["x"], None, []],
            "customer_profile__amount": [0.0, math.e - 1, None, -(math.e - 1)],
            "customer_profile__joined_at": [0, 86_400, None, 0],
            "customer_text__text_vector": [[1.0, 0.0], None, [0.0, 1.0], None],
        },
        schema_overrides={"customer_text__text_vector": pl.List(pl.Float32)},
    )


def fit(frame: pl.DataFrame, manifest: FeatureManifest, min_count: int = 1) -> EntityEncoding:
    now = np.full(len(frame), 2 * DAY, np.int64)
    return EntityEncoding.fit(frame, now, manifest, Entity.CUSTOMER, EncodingConfig(min_count=min_count))


def test_categories_are_indexed_by_frequency_and_unknown_is_zero(
    frame: pl.DataFrame, manifest: FeatureManifest
) -> None:
    rows = fit(frame, manifest).transform(frame.to_dict(), np.full(4, 2 * DAY))
    assert rows.categorical[:, 0].tolist() == [1, 1, 2, 0]
    assert rows.lists[:, 0, :3].tolist() == [[1, 2, -1], [1, -1, -1], [-1, -1, -1], [-1, -1, -1]]


def test_rare_categories_are_unknown(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    rows = fit(frame, manifest, min_count=2).transform(frame.to_dict(), np.full(4, 2 * DAY))
    assert rows.categorical[:, 0].tolist() == [1, 1, 0, 0]


def test_numbers_are_log_scaled_standardised_and_flagged_where_missing(
    frame: pl.DataFrame, manifest: FeatureManifest
) -> None:
    numeric = fit(frame, manifest).transform(frame.to_dict(), np.full(4, 2 * DAY)).numeric["profile"]
    logs = np.array([0.0, 1.0, -1.0])
    expected = (logs - logs.mean()) / logs.std()
    np.testing.assert_allclose(numeric[[0, 1, 3], 0], expected, rtol=1e-5)
    assert numeric[:, 1].tolist() == [0, 0, 1, 0]
    assert numeric[2, 0] == 0


def test_timestamps_become_ages_at_the_moment_of_the_question(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    encoding = fit(frame, manifest)
    early = encoding.transform(frame.to_dict(), np.full(4, 2 * DAY)).numeric["profile"]
    late = encoding.transform(frame.to_dict(), np.full(4, 30 * DAY)).numeric["profile"]
    assert (late[[0, 1, 3], 2] > early[[0, 1, 3], 2]).all()
    assert early[2, 3] == 1


def test_presence_is_per_group(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    encoding = fit(frame, manifest)
    rows = encoding.transform(frame.to_dict(), np.full(4, 2 * DAY))
    assert encoding.group_names() == ["profile", "text"]
    assert rows.present.tolist() == [[True, True], [True, False], [True, True], [True, False]]


def test_missing_columns_are_missing_modalities(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    rows = fit(frame, manifest).transform({}, np.full(3, DAY))
    assert not rows.present.any()
    assert not rows.vectors["text"].any()


def test_online_rows_give_the_same_arrays_as_training_frames(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    encoding, now = fit(frame, manifest), np.full(4, 2 * DAY)
    offline = encoding.transform(frame.to_dict(), now)
    dicts = frame.to_dicts()
    online = encoding.transform({key: [row[key] for row in dicts] for key in frame.columns}, now)
    for left, right in zip(offline, online, strict=True):
        np.testing.assert_equal(left, right)


def test_batch_holds_every_key_by_name(frame: pl.DataFrame, manifest: FeatureManifest) -> None:
    encoding = fit(frame, manifest)
    rows = encoding.transform(frame.to_dict(), np.full(4, 2 * DAY))
    batch = make_entity_batch(encoding, rows, ids=np.array([4, 3, 2, 1]))
    assert batch.categorical is not None
    parts = torchrec_tables([]).reads(batch.categorical).to_dict()
    assert parts["customer_profile__segment"].values().tolist() == [1, 1, 2, 0]
    assert parts["customer_profile__tags"].lengths().tolist() == [2, 1, 0, 0]
    assert parts["__id__"].values().tolist() == [4, 3, 2, 1]
