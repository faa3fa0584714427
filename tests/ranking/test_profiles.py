"""Customers and products as columns for trees."""

import numpy as np
import pytest

from recsys.features.spec import Entity
from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, EntityRows, GroupEncoding
from recsys.ranking.profiles import Profiles, Reduction
from recsys.schema import FeatureKind

ROWS, DIM = 40, 6
ENCODING = EntityEncoding(
    entity=Entity.CUSTOMER,
    groups=(
        GroupEncoding(
            name="profile",
            columns=(
                ColumnEncoding(key="customer_profile__region", kind=FeatureKind.CATEGORICAL, vocabulary=("a", "b")),
                ColumnEncoding(key="customer_profile__income", kind=FeatureKind.NUMERIC),
                ColumnEncoding(key="customer_profile__since", kind=FeatureKind.TIMESTAMP),
            ),
        ),
        GroupEncoding(
            name="text", columns=(ColumnEncoding(key="customer_text__v", kind=FeatureKind.EMBEDDING, dim=DIM),)
        ),
    ),
)


@pytest.fixture
def rows() -> EntityRows:
    rng = np.random.default_rng(0)
    texts = (rng.standard_normal((ROWS, 2)) @ rng.standard_normal((2, DIM))).astype(np.float32)  # a plane in 6-space
    texts[:5] = 0  # wrote nothing
    numeric = rng.standard_normal((ROWS, 4)).astype(np.float32)
    numeric[:, 1::2] = 0
    numeric[3, 0:2] = 0, 1  # income missing
    return EntityRows(
        categorical=rng.integers(0, 3, (ROWS, 1)),
        lists=np.zeros((ROWS, 0, 8), np.int64),
        numeric={"profile": numeric, "text": np.zeros((ROWS, 0), np.float32)},
        vectors={"profile": np.zeros((ROWS, 0), np.float32), "text": texts},
        present=np.stack([np.ones(ROWS, bool), np.abs(texts).sum(axis=1) > 0], axis=1),
    )


def test_reduction_to_the_rank_of_the_data_keeps_all_distances(rows: EntityRows) -> None:
    texts = rows.vectors["text"][5:]
    reduced = Reduction.fit(rows.vectors["text"], 2)(texts)
    assert reduced.shape == (ROWS - 5, 2)
    distances = [np.linalg.norm(values[:, None] - values[None], axis=2) for values in (texts, reduced)]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-4)


def test_reduction_of_a_missing_vector_is_missing(rows: EntityRows) -> None:
    reduced = Reduction.fit(rows.vectors["text"], 2)(rows.vectors["text"])
    assert np.isnan(reduced[:5]).all()
    assert np.isfinite(reduced[5:]).all()


def test_reduction_of_nothing_but_missing_vectors_has_no_direction() -> None:
    assert Reduction.fit(np.zeros((4, DIM), np.float32), 3)(np.zeros((4, DIM), np.float32)).shape == (4, 0)


@pytest.mark.parametrize("known", [5, DIM, 60])
def test_reduction_equals_scikit_learns_principal_components(known: int) -> None:
    from sklearn.decomposition import PCA

    vectors = np.random.default_rng(known).normal(3.0, np.geomspace(4, 0.5, DIM), (known, DIM)).astype(np.float32)
    theirs = PCA(3).fit(vectors).transform(vectors)
    mine = Reduction.fit(np.concatenate([vectors, np.zeros((4, DIM), np.float32)]), 3)(vectors)
    np.testing.assert_allclose(np.abs(mine), np.abs(theirs), atol=1e-4)


def test_reduction_of_alike_vectors_has_no_more_directions_than_they_differ_in() -> None:
    line = np.outer(np.arange(1, 5), np.ones(DIM)).astype(np.float32)
    assert Reduction.fit(line, 3).directions.shape == (1, DIM)
    assert Reduction.fit(np.ones((4, DIM), np.float32), 3).directions.shape == (0, DIM)


def test_columns_have_their_names_and_say_what_is_missing(rows: EntityRows) -> None:
    profiles = Profiles.fit(rows, 2)
    names, columns = profiles.names(ENCODING), profiles.columns(rows)
    assert columns.shape == (ROWS, len(names))
    place = {name: index for index, name in enumerate(names)}
    assert np.isnan(columns[3, place["customer.customer_profile__income"]])
    assert columns[4, place["customer.customer_profile__income"]] == rows.numeric["profile"][4, 0]
    assert columns[7, place["customer.customer_profile__since"]] == rows.numeric["profile"][7, 2]
    assert (columns[:, place["customer.customer_profile__region"]] == rows.categorical[:, 0]).all()
    assert (columns[:, place["customer.has_text"]] == rows.present[:, 1]).all()
    assert {"customer.text_0", "customer.text_1"} <= set(names)


def test_arrays_go_and_come_back(rows: EntityRows) -> None:
    profiles = Profiles.fit(rows, 2)
    back = Profiles.from_arrays("customers", profiles.to_arrays("customers"), ENCODING.group_names())
    assert np.array_equal(back.columns(rows), profiles.columns(rows), equal_nan=True)
