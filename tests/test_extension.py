"""Items that came after the training: known ones keep their scores, new ones stand where their content puts them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recsys.bundle import Bundle
from recsys.decisions.catalogue import Catalogue
from recsys.errors import ModelError
from recsys.extension import ExtendedBundle, ExtendedRecommender, _on_scale_of
from recsys.features.spec import Entity, FeatureManifest
from recsys.live_item import LiveItem
from recsys.modeling.batches import make_entity_batch
from recsys.modeling.two_tower import TwoTower
from recsys.recommender import Recommender
from recsys.schema import Kind
from tests.training.conftest import Governed, governed

__all__ = ["governed"]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROWS = [{"customer_history__product_ids": ["p1", "p3"], "customer_history__event_types": ["view", "click"],
         "customer_history__content_ids": ["", ""], "customer_history__timestamps": [1, 2]}, {}]  # fmt: skip
KEYS = {Entity.PRODUCT: "p", Entity.CONTENT: "k"}


@pytest.fixture(scope="module")
def bundle(governed: Governed) -> Bundle:
    return Bundle.load(governed.outcome.folder)


def features(home: Path, entity: Entity, item_id: str) -> dict[str, Any]:
    """An item's latest feature row, as the build made it."""
    row: dict[str, Any] = {}
    for view in FeatureManifest.read(home / "features").views_of(entity):
        table = pl.read_parquet(home / "features" / f"{view.name}.parquet")
        mine = table.filter(pl.col(entity.value) == item_id).sort("event_timestamp").tail(1)
        row |= {f"{view.name}__{column.name}": mine[column.name].to_list()[0] for column in view.columns}
    return row


def live(governed: Governed, bundle: Bundle, entity: Entity, like: str, item_id: str, **changed: Any) -> LiveItem:
    """An item that is like another one in all but its id and what is said."""
    frame = bundle.products if entity is Entity.PRODUCT else bundle.contents
    assert frame is not None
    columns = frame.filter(pl.col(entity.value) == like).to_dicts()[0] | changed
    return LiveItem(item_id, columns, features(governed.home.path, entity, like))


def scores(scorer: Any, kind: Kind, allowed: np.ndarray | None = None) -> np.ndarray:
    return np.asarray(scorer.score(scorer.encode(ROWS, [NOW] * len(ROWS)), kind, allowed))


def test_extension_unchanged_known_items_score_as_before(governed: Governed, bundle: Bundle) -> None:
    products = [live(governed, bundle, Entity.PRODUCT, name, name) for name in bundle.products["product_id"]]
    contents = [live(governed, bundle, Entity.CONTENT, name, name) for name in bundle.contents["content_id"]]  # type: ignore[index]
    extended = ExtendedRecommender(ExtendedBundle.build(bundle, products, contents))
    for kind in Kind:
        np.testing.assert_allclose(scores(extended, kind), scores(Recommender(bundle), kind), atol=2e-4)


def test_extension_new_product_changes_no_other_score(governed: Governed, bundle: Bundle) -> None:
    twin = live(governed, bundle, Entity.PRODUCT, "p1", "new")
    extended = ExtendedRecommender(ExtendedBundle.build(bundle, [twin], []))
    before, after = scores(Recommender(bundle), Kind.PRODUCTS), scores(extended, Kind.PRODUCTS)
    np.testing.assert_array_equal(after[:, :-1], before)
    assert extended.product_ids == [*bundle.products["product_id"], "new"]


def test_extension_new_product_has_the_vector_of_its_twin_without_the_id(governed: Governed, bundle: Bundle) -> None:
    twin = ExtendedBundle.build(bundle, [live(governed, bundle, Entity.PRODUCT, "p1", "new")], []).new.products[0]
    place = bundle.products["product_id"].to_list().index("p1")
    model = TwoTower(bundle.manifest.inputs, bundle.manifest.model)
    weights = {name: torch.tensor(values) for name, values in bundle.weights.items()}
    (table,) = [name for name in weights if name.startswith("products.") and name.endswith("product_id_table.weight")]
    weights[table][place + 1] = 0
    model.load_state_dict(weights)
    encoding, row = bundle.manifest.inputs.products, features(governed.home.path, Entity.PRODUCT, "p1")
    instant = np.array([int(bundle.manifest.trained_until.timestamp() * 1e6)])
    rows = encoding.transform({name: [value] for name, value in row.items()}, instant)
    with torch.inference_mode():
        expected, _ = model.eval().products(make_entity_batch(encoding, rows, np.array([place + 1])))
    np.testing.assert_allclose(twin, expected.numpy()[0], atol=1e-6)
    assert np.abs(twin - bundle.vectors.products[place]).max() > 1e-4


def test_extension_score_of_a_new_product_does_not_depend_on_what_is_allowed(
    governed: Governed, bundle: Bundle
) -> None:
    extended = ExtendedRecommender(
        ExtendedBundle.build(bundle, [live(governed, bundle, Entity.PRODUCT, "p2", "new")], [])
    )
    few = np.zeros((2, len(extended.product_ids)), bool)
    few[:, -1] = True
    np.testing.assert_array_equal(scores(extended, Kind.PRODUCTS, few)[:, -1], scores(extended, Kind.PRODUCTS)[:, -1])


@pytest.mark.parametrize("kind", Kind)
def test_extension_scores_of_some_items_are_those_where_nothing_else_is_allowed(
    kind: Kind, governed: Governed, bundle: Bundle
) -> None:
    extended = ExtendedRecommender(
        ExtendedBundle.build(bundle, [live(governed, bundle, Entity.PRODUCT, "p2", "new")], [])
    )
    for scorer in (Recommender(bundle), extended):
        count = len(scorer.product_ids if kind is Kind.PRODUCTS else scorer.content_ids)
        for items in (np.array([1]), np.array([2, 0]), np.array([count - 1, 1])):
            allowed = np.zeros((2, count), bool)
            allowed[:, items] = True
            states = scorer.encode(ROWS, [NOW] * len(ROWS))
            few = scorer.score_items(states, kind, items)
            np.testing.assert_allclose(few, scores(scorer, kind, allowed)[:, items], rtol=1e-5)


def test_extension_changed_facts_stand_in_place_and_new_ones_at_the_end(governed: Governed, bundle: Bundle) -> None:
    changed = live(governed, bundle, Entity.PRODUCT, "p2", "p2", name="Platinum card", status="paused")
    new = live(governed, bundle, Entity.PRODUCT, "p2", "new", name="New card")
    creative = live(governed, bundle, Entity.CONTENT, "k1", "fresh", product_id="new", headline="Look")
    extended = ExtendedBundle.build(bundle, [changed, new], [creative])
    assert extended.contents is not None
    catalogue = Catalogue.from_frames(extended.products, extended.contents)
    ids = bundle.products["product_id"].to_list()
    assert catalogue.products.ids == (*ids, "new")
    assert catalogue.product_titles[ids.index("p2")] == "Platinum card"
    assert catalogue.product_titles[-1] == "New card"
    assert int(catalogue.product_of(Kind.CONTENTS)[-1]) == len(ids)
    assert catalogue.content_titles[-1] == "Look"
    recommender = ExtendedRecommender(extended)
    assert scores(recommender, Kind.CONTENTS).shape[1] == len(catalogue.ids(Kind.CONTENTS))
    assert recommender.popularity(None, Kind.PRODUCTS)[-1] == 0
    assert not recommender.companions(len(ids)).any()
    held = catalogue.without({Kind.PRODUCTS: ["new"]})
    assert not held[Kind.CONTENTS][-1]
    assert held[Kind.CONTENTS][:-1].all()
    assert held[Kind.PRODUCTS].sum() == len(ids)


def test_extension_column_that_the_bank_does_not_keep_stays_away(governed: Governed, bundle: Bundle) -> None:
    assert bundle.contents is not None
    assert not {"status", "content_hash", "approved_hash"} & set(bundle.contents.columns)
    hashes = {"content_hash": "a", "approved_hash": "b"}
    silent = live(governed, bundle, Entity.CONTENT, "k1", "k1", disclaimer=None, **hashes)
    contents = ExtendedBundle.build(bundle, [], [silent]).contents
    assert contents is not None
    assert contents.columns == bundle.contents.columns
    stated = live(governed, bundle, Entity.CONTENT, "k1", "k1", status="withdrawn", valid_to=NOW, **hashes)
    contents = ExtendedBundle.build(bundle, [], [stated]).contents
    assert contents is not None
    assert set(contents.columns) - set(bundle.contents.columns) == {"status", "valid_to"}
    states = dict(contents.select("content_id", "status").iter_rows())
    assert {states.pop("k1"), *states.values()} == {"withdrawn", "approved"}
    assert set(states.values()) == {"approved"}


def test_extension_creative_of_an_unknown_product_is_named(governed: Governed, bundle: Bundle) -> None:
    creative = live(governed, bundle, Entity.CONTENT, "k1", "fresh", product_id="nobody")
    with pytest.raises(ModelError, match="nobody"):
        ExtendedBundle.build(bundle, [], [creative])


def test_on_scale_of_keeps_the_place_among_the_known_and_goes_on_beyond() -> None:
    tower = np.array([[3.0, 1.0, 2.0]], np.float32)
    final = np.array([[30.0, -10.0, 10.0]], np.float32)
    new = np.array([[2.5, 1.0, 4.0, 0.5]], np.float32)
    np.testing.assert_allclose(_on_scale_of(new, tower, final), [[20.0, -10.0, 31.0, -10.5]])
