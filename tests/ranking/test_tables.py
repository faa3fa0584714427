"""The products' tables: what they are made of, and that a file gives them back."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recsys.features.spec import Entity
from recsys.modeling.encoding import MAX_LIST_LENGTH, ColumnEncoding, EntityEncoding, EntityRows, GroupEncoding
from recsys.ranking.activity import Activity
from recsys.ranking.tables import ContentTables, ItemTables, numeric_names
from recsys.schema import FeatureKind
from tests.ranking.worlds import DAY, NOW, draw_tables, plain_tables

ENCODING = EntityEncoding(
    entity=Entity.PRODUCT,
    groups=(
        GroupEncoding(
            name="attributes",
            columns=(
                ColumnEncoding(key="product_attributes__rate", kind=FeatureKind.NUMERIC),
                ColumnEncoding(
                    key="product_attributes__category", kind=FeatureKind.CATEGORICAL, vocabulary=("card", "fund")
                ),
                ColumnEncoding(
                    key="product_attributes__tags", kind=FeatureKind.CATEGORICAL_LIST, vocabulary=("a", "b", "c")
                ),
                ColumnEncoding(key="product_attributes__since", kind=FeatureKind.TIMESTAMP),
            ),
        ),
        GroupEncoding(
            name="text", columns=(ColumnEncoding(key="product_text__vector", kind=FeatureKind.EMBEDDING, dim=2),)
        ),
    ),
)


@pytest.fixture
def rows() -> EntityRows:
    """Three products; the last has neither category, tags, start nor text."""
    lists = np.full((3, 1, MAX_LIST_LENGTH), -1, np.int64)
    lists[0, 0, :2], lists[1, 0, :1] = (1, 3), (2,)
    return EntityRows(
        categorical=np.array([[1], [2], [0]]),
        lists=lists,
        # value and missing flag of rate, then of since
        numeric={
            "attributes": np.array([[0.5, 0, 1.0, 0], [-1.0, 0, 2.0, 0], [0.0, 0, 0.0, 1]], np.float32),
            "text": np.zeros((3, 0), np.float32),
        },
        vectors={
            "attributes": np.zeros((3, 0), np.float32),
            "text": np.array([[3.0, 1.0], [1.0, 1.0], [0.0, 0.0]], np.float32),
        },
        present=np.array([[True, True], [True, True], [True, False]]),
    )


def test_content_numbers_are_the_models_with_nan_where_missing(rows: EntityRows) -> None:
    content = ContentTables.fit(ENCODING, rows)
    np.testing.assert_array_equal(content.numbers, [[0.5, 1.0], [-1.0, 2.0], [0.0, np.nan]])
    assert numeric_names(ENCODING) == ("rate", "since")
    np.testing.assert_array_equal(content.present, [[1, 1], [1, 1], [1, 0]])


def test_content_labels_are_unit_rows_of_the_known_categories(rows: EntityRows) -> None:
    third = 1 / np.sqrt(3)
    expected = [[third, 0, third, 0, third], [0, 0.5**0.5, 0, 0.5**0.5, 0], [0] * 5]
    np.testing.assert_allclose(ContentTables.fit(ENCODING, rows).labels.toarray(), expected, rtol=1e-6)


def test_content_vectors_are_centred_on_those_that_have_one(rows: EntityRows) -> None:
    vectors = ContentTables.fit(ENCODING, rows).vectors
    assert list(vectors) == ["text"]
    np.testing.assert_allclose(vectors["text"], [[1, 0], [-1, 0], [0, 0]])


def test_content_of_products_without_labels_or_numbers_is_empty() -> None:
    nothing = EntityEncoding(entity=Entity.PRODUCT, groups=(ENCODING.groups[1],))
    empty = EntityRows(
        np.zeros((2, 0), np.int64),
        np.zeros((2, 0, MAX_LIST_LENGTH), np.int64),
        {"text": np.zeros((2, 0), np.float32)},
        {"text": np.zeros((2, 2), np.float32)},
        np.zeros((2, 1), bool),
    )
    content = ContentTables.fit(nothing, empty)
    assert content.numbers.shape == (2, 0)
    assert not content.labels.nnz
    assert not content.vectors["text"].any()
    assert numeric_names(nothing) == ()


def assert_same(one: ItemTables, other: ItemTables) -> None:
    assert list(one.neighbours) == list(other.neighbours)
    assert set(one.content.vectors) == set(other.content.vectors)
    left, right = one.to_arrays(), other.to_arrays()
    assert set(left) == set(right)
    for name, values in left.items():
        assert values.dtype == right[name].dtype, name
        np.testing.assert_array_equal(values, right[name], err_msg=name)
    for name, matrix in one.neighbours.items():
        assert (matrix != other.neighbours[name]).nnz == 0
    assert (one.activity.start, one.activity.width) == (other.activity.start, other.activity.width)


def test_tables_through_a_safetensors_file_come_back_the_same(tmp_path: Path) -> None:
    tables = draw_tables(np.random.default_rng(0), products=17)
    save_file(tables.to_arrays(), tmp_path / "tables.safetensors")
    assert_same(tables, ItemTables.from_arrays(load_file(tmp_path / "tables.safetensors")))


def test_tables_without_any_source_come_back_the_same(tmp_path: Path) -> None:
    activity = draw_tables(np.random.default_rng(0), products=3).activity
    tables = plain_tables(np.zeros((3, 0), np.float32), activity)
    save_file(tables.to_arrays(), tmp_path / "tables.safetensors")
    back = ItemTables.from_arrays(load_file(tmp_path / "tables.safetensors"))
    assert_same(tables, back)
    assert len(back) == 3


def test_tables_keep_the_microsecond_of_their_grid() -> None:
    tables = draw_tables(np.random.default_rng(0), products=3)
    activity = Activity(NOW + 1, 3 * DAY, tables.activity.cumulative)
    odd = ItemTables(tables.content, tables.neighbours, tables.factors, activity)
    back = ItemTables.from_arrays(odd.to_arrays()).activity
    assert (back.start, back.width) == (NOW + 1, 3 * DAY)


def test_tables_without_one_array_are_refused() -> None:
    arrays = draw_tables(np.random.default_rng(0), products=3).to_arrays()
    del arrays["neighbours.knn.data"]
    with pytest.raises(KeyError, match=r"neighbours\.knn\.data"):
        ItemTables.from_arrays(arrays)


def test_numeric_names_of_columns_with_two_underscores_stay_apart() -> None:
    columns = [
        ColumnEncoding(key=f"product_attributes__fee__{currency}", kind=FeatureKind.NUMERIC)
        for currency in ("eur", "usd")
    ]
    group = GroupEncoding(name="attributes", columns=tuple(columns))
    assert numeric_names(EntityEncoding(entity=Entity.PRODUCT, groups=(group,))) == ("fee__eur", "fee__usd")
