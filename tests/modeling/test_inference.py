"""What serves gives the numbers of the module that was trained; variants read at once those of each read by itself."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureManifest, FeatureView
from recsys.modeling.batches import history_batch, make_entity_batch
from recsys.modeling.config import (
    FusionConfig,
    FusionKind,
    HistoryEncoderConfig,
    ModelInputs,
    TowerConfig,
    TwoTowerConfig,
)
from recsys.modeling.encoding import EncodingConfig, EntityEncoding
from recsys.modeling.inference import CustomerEncoder
from recsys.modeling.reader import HISTORY_VIEW, CustomerRows, ModelReader, distinct
from recsys.modeling.two_tower import ItemVectors, TwoTower
from recsys.modeling.vectors import CandidateVectors, with_zero_row
from recsys.schema import FeatureKind

NOW = 400 * 86_400_000_000
SECOND = 1_000_000
PRODUCTS, CONTENTS, DIM = 7, 4, 8
Row = dict[str, Any]


def column(name: str, kind: FeatureKind, type_: ColumnType, dim: int = 0) -> FeatureColumn:
    return FeatureColumn(name=name, kind=kind, type=type_, dim=dim)


def manifest() -> FeatureManifest:
    profile = (
        column("segment", FeatureKind.CATEGORICAL, ColumnType.STRING),
        column("tags", FeatureKind.CATEGORICAL_LIST, ColumnType.STRING_LIST),
        column("amount", FeatureKind.NUMERIC, ColumnType.FLOAT),
        column("joined_at", FeatureKind.TIMESTAMP, ColumnType.INT),
        column("country", FeatureKind.CATEGORICAL, ColumnType.STRING),
    )
    text = (
        column("text_vector", FeatureKind.EMBEDDING, ColumnType.VECTOR, dim=3),
        column("messages", FeatureKind.NUMERIC, ColumnType.FLOAT),
    )
    views = (
        FeatureView(name="customer_profile", entity=Entity.CUSTOMER, columns=profile),
        FeatureView(name="customer_text", entity=Entity.CUSTOMER, columns=text),
    )
    return FeatureManifest(
        dataset="d", fingerprint="f", history_length=6, text_encoder="t", image_encoder="", views=views
    )


def customers() -> list[Row]:
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        row: Row = {
            "customer_profile__segment": rng.choice(["young", "senior", "rare"]),
            "customer_profile__tags": list(rng.choice(["x", "y", "z", "u"], rng.integers(0, 4), replace=False)),
            "customer_profile__amount": float(rng.normal()),
            "customer_profile__joined_at": int(rng.integers(0, 400) * 86_400),
            "customer_profile__country": rng.choice(["IE", "DE"]),
            "customer_text__text_vector": [float(value) for value in rng.normal(size=3)],
            "customer_text__messages": float(rng.integers(0, 9)),
        }
        length = number % 7
        row |= {
            f"{HISTORY_VIEW}__product_ids": [f"p{rng.integers(0, PRODUCTS)}" for _ in range(length)],
            f"{HISTORY_VIEW}__content_ids": [rng.choice(["", "c1", "c3"]) for _ in range(length)],
            f"{HISTORY_VIEW}__event_types": [rng.choice(["click", "convert", "odd"]) for _ in range(length)],
            f"{HISTORY_VIEW}__timestamps": [NOW - (90 - step) * 3_000 * SECOND for step in range(length)],
        }
        rows.append({key: value for key, value in row.items() if rng.random() > 0.15 or key.startswith(HISTORY_VIEW)})
    return rows


@pytest.fixture(scope="module")
def encoding() -> EntityEncoding:
    rows = customers()
    keys = sorted({key for row in rows for key in row if not key.startswith(HISTORY_VIEW)})
    frame = pl.DataFrame({key: [row.get(key) for row in rows] for key in keys}, strict=False)
    now = np.full(len(rows), NOW, np.int64)
    return EntityEncoding.fit(frame, now, manifest(), Entity.CUSTOMER, EncodingConfig(min_count=1))


def make_inputs(encoding: EntityEncoding) -> ModelInputs:
    return ModelInputs(
        customers=encoding,
        products=EntityEncoding(entity=Entity.PRODUCT, groups=()),
        contents=EntityEncoding(entity=Entity.CONTENT, groups=()),
        product_count=PRODUCTS,
        content_count=CONTENTS,
        event_types=("click", "convert"),
        channels=("app", "web"),
        history_length=6,
    )


@pytest.fixture(scope="module")
def reader(encoding: EntityEncoding) -> ModelReader:
    return ModelReader(
        make_inputs(encoding), [f"p{row}" for row in range(PRODUCTS)], [f"c{row}" for row in range(CONTENTS)]
    )


def by_itself(reader: ModelReader, rows: list[Row], channel: str | None = None) -> CustomerRows:
    keys = sorted({key for row in rows for key in row})
    columns = {key: [row.get(key) for row in rows] for key in keys}
    return reader.read_customers(columns, np.full(len(rows), NOW, np.int64), [channel] * len(rows))


def variants(reader: ModelReader, rows: list[Row], channel: str | None = None) -> CustomerRows:
    return reader.read_variants(rows, np.full(len(rows), NOW, np.int64), [channel] * len(rows))


def assert_same(one: CustomerRows, other: CustomerRows) -> None:
    for name in ("categorical", "lists", "present"):
        np.testing.assert_array_equal(getattr(one.columns, name), getattr(other.columns, name))
    for group in one.columns.numeric:
        np.testing.assert_array_equal(one.columns.numeric[group], other.columns.numeric[group])
        np.testing.assert_array_equal(one.columns.vectors[group], other.columns.vectors[group])
    for mine, others in zip(one.history, other.history, strict=True):
        np.testing.assert_array_equal(mine, others)
    np.testing.assert_array_equal(one.channel, other.channel)


@pytest.mark.parametrize("fusion", list(FusionKind))
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_encode_gives_the_numbers_of_the_trained_module_for_few_rows_and_for_many(
    encoding: EntityEncoding, reader: ModelReader, fusion: FusionKind, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(layers)
    config = TwoTowerConfig(
        tower=TowerConfig(dim=DIM, category_dim=4),
        history=HistoryEncoderConfig(layers=layers),
        fusion=FusionConfig(kind=fusion),
    )
    model = TwoTower(make_inputs(encoding), config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    products, contents = torch.randn(PRODUCTS, DIM), torch.randn(CONTENTS, DIM)
    padded = (torch.from_numpy(with_zero_row(vectors.numpy())) for vectors in (products, contents))
    items = ItemVectors(*padded, torch.zeros(()))
    people = customers()
    rows = by_itself(reader, [*people, *people[3:6]], "web")
    with torch.inference_mode():
        history = history_batch(rows.history)
        states = model.encode_histories(items, history)[torch.arange(len(rows.now)), history.length]
        expected = model.encode_customers(
            make_entity_batch(encoding, rows.columns), states, history.length > 0, torch.from_numpy(rows.channel)
        )
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    vectors = CandidateVectors(products.numpy(), contents.numpy())
    encoder = CustomerEncoder(weights, make_inputs(encoding), config, vectors)
    np.testing.assert_allclose(encoder.encode(rows), expected.numpy(), rtol=1e-5, atol=1e-5)
    monkeypatch.setattr("recsys.modeling.inference._FEW", 1)
    np.testing.assert_allclose(encoder.encode(rows), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_variants_of_a_row_are_read_as_each_by_itself(reader: ModelReader) -> None:
    for whole in customers():
        rows = [whole, *({key: value for key, value in whole.items() if key != gone} for gone in whole)]
        rows += [{key: value for key, value in whole.items() if not key.startswith("customer_profile")}, {}]
        shorter = [key for key in whole if key.startswith(HISTORY_VIEW)]
        rows.append({**whole, **{key: whole[key][1:] for key in shorter}})
        assert_same(variants(reader, rows, "app"), by_itself(reader, rows, "app"))


def test_rows_of_several_customers_are_read_as_each_by_itself(reader: ModelReader) -> None:
    assert_same(variants(reader, customers()), by_itself(reader, customers()))


def test_distinct_names_the_first_of_equal_histories(reader: ModelReader) -> None:
    people = customers()
    history = by_itself(reader, [people[3], people[4], people[3], people[0], people[4]]).history
    first, which = distinct(history)
    assert first.tolist() == [0, 1, 3]
    assert which.tolist() == [0, 1, 0, 2, 1]
