"""The tables of the second stage, from positives small enough to check by eye."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recsys.data.splits import Part
from recsys.features.spec import Entity
from recsys.modeling.config import ModelInputs
from recsys.modeling.encoding import MAX_LIST_LENGTH, EntityEncoding, EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.ranking.factors import fold_in
from recsys.ranking.neighbours import NeighbourConfig
from recsys.ranking.spread import Lists
from recsys.ranking.tables import ItemTables
from training.dataset import Catalogue, Prepared
from training.examples import Labels, Ragged, TrainingSet
from training.item_tables import fit_tables
from training.ranking_config import FactorsConfig, TablesConfig

START = datetime(2026, 1, 1, tzinfo=UTC)
IDS = ["a", "b", "c", "d"]
PLAIN = TablesConfig(
    neighbours=NeighbourConfig(transition_steps=1, transition_smoothing=0, knn_shrinkage=0),
    factors=FactorsConfig(size=0),
)


def make_parts(rows: list[tuple[str, str | None, int, Part]]) -> pl.DataFrame:
    """Positives of (customer, product, day, part)."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "product_id": [row[1] for row in rows],
            "order_timestamp": [START + timedelta(days=row[2]) for row in rows],
            "part": [str(row[3]) for row in rows],
        },
        schema_overrides={"order_timestamp": pl.Datetime("us", "UTC"), "product_id": pl.String},
    )


PARTS = make_parts(
    [  # not in time order, and with a product that left the catalogue
        ("x", "b", 3, Part.TRAIN),
        ("y", "a", 9, Part.VALIDATION),
        ("x", "a", 1, Part.TRAIN),
        ("y", "gone", 4, Part.TRAIN),
        ("y", "c", 2, Part.TRAIN),
        ("x", "d", 12, Part.TEST),
        ("y", "b", 5, Part.TRAIN),
        ("y", None, 3, Part.TRAIN),
    ]
)


def make_catalogue() -> Catalogue:
    products = pl.DataFrame({"product_id": IDS})
    return Catalogue(products, None, products.select(), None, START)


def make_prepared() -> Prepared:
    """Products without any column: the tables read no more of it than the products' encoding and rows."""
    nothing = np.zeros(0, np.int64)
    rows = EntityRows(
        np.zeros((len(IDS), 0), np.int64),
        np.zeros((len(IDS), 0, MAX_LIST_LENGTH), np.int64),
        {"attributes": np.zeros((len(IDS), 0), np.float32)},
        {"attributes": np.zeros((len(IDS), 0), np.float32)},
        np.ones((len(IDS), 1), bool),
    )
    products = EntityEncoding.model_validate(
        {"entity": Entity.PRODUCT, "groups": ({"name": "attributes", "columns": ()},)}
    )
    inputs = ModelInputs(
        customers=EntityEncoding(entity=Entity.CUSTOMER, groups=()),
        products=products,
        contents=None,
        product_count=len(IDS),
        content_count=0,
        event_types=("view",),
        channels=(),
        history_length=4,
    )
    training = TrainingSet(
        Labels(*[nothing] * 8),
        rows,
        HistoryArrays(*[np.zeros((0, 4), np.int64)] * 4, nothing),
        Ragged(np.zeros(1, np.int64), nothing),
        np.zeros(len(IDS)),
        np.zeros(0),
    )
    return Prepared(inputs, training, rows, None, nothing)


def fit(parts: pl.DataFrame, keep: tuple[Part, ...] = (Part.TRAIN,), config: TablesConfig = PLAIN) -> ItemTables:
    return fit_tables(parts, keep, make_catalogue(), make_prepared(), config)


def test_transitions_are_of_each_customers_own_products_in_time_order() -> None:
    """x: a, b; y: c, b. What left the catalogue, and what names no product, is stepped over."""
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[2, 1] = 1
    np.testing.assert_allclose(fit(PARTS).neighbours["transition"].toarray(), expected)


def test_neighbours_count_each_customer_once() -> None:
    """a and c each share their one customer with b, who has two."""
    expected = np.zeros((4, 4))
    expected[0, 1] = expected[1, 0] = expected[2, 1] = expected[1, 2] = 1 / np.sqrt(2)
    twice = pl.concat([PARTS, PARTS.with_columns(pl.col("order_timestamp").dt.offset_by("1us"))])
    for parts in (PARTS, twice):
        np.testing.assert_allclose(fit(parts).neighbours["knn"].toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("keep", "counts"),
    [
        ((Part.TRAIN,), [1, 2, 1, 0]),
        ((Part.TRAIN, Part.VALIDATION), [2, 2, 1, 0]),
        (tuple(Part), [2, 2, 1, 1]),
    ],
    ids=["train", "and validation", "and test"],
)
def test_tables_learn_from_the_kept_parts_only(keep: tuple[Part, ...], counts: list[int]) -> None:
    tables = fit(PARTS, keep)
    assert tables.activity.cumulative[:, -1].tolist() == counts
    has_neighbours = np.diff(tables.neighbours["knn"].indptr) > 0
    assert has_neighbours.tolist() == [count > 0 for count in counts]


def test_activity_is_counted_at_the_time_of_the_events() -> None:
    activity = fit(PARTS).activity
    day = {number: np.array([int((START + timedelta(days=number)).timestamp() * 1e6)]) for number in (3, 4, 6)}
    b = np.array([IDS.index("b")])
    assert [activity.before(b, instant)[0] for instant in day.values()] == [0, 1, 2]


def test_tables_do_not_depend_on_the_order_of_the_rows() -> None:
    one, other = fit(PARTS, tuple(Part)).to_arrays(), fit(PARTS.reverse(), tuple(Part)).to_arrays()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_tables_of_a_catalogue_above_the_limit_have_no_ease() -> None:
    assert list(fit(PARTS).neighbours) == ["ease", "knn", "transition"]
    small = PLAIN.model_copy(update={"neighbours": NeighbourConfig(ease_up_to=len(IDS) - 1)})
    assert list(fit(PARTS, config=small).neighbours) == ["knn", "transition"]


def test_factors_of_size_zero_are_none() -> None:
    assert fit(PARTS).factors.shape == (len(IDS), 0)


def test_factors_are_those_that_folding_in_believes_in() -> None:
    """At the end of the alternation, customers folded in from the items give back the items: one and the same model."""
    rng = np.random.default_rng(0)
    taken = rng.random((80, len(IDS))) < 0.4
    rows = [(f"c{c:02}", IDS[p], int(p), Part.TRAIN) for c, p in zip(*np.nonzero(taken), strict=True)]
    factors = fit(make_parts(rows), config=TablesConfig(factors=FactorsConfig(size=2, iterations=300))).factors
    has = sparse.csr_matrix(taken.astype(np.float32))
    back = fold_in(Lists.of(has.T.tocsr()), fold_in(Lists.of(has), factors))
    assert np.abs(factors).max() > 0.1
    np.testing.assert_allclose(back, factors, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [0, 2])
def test_tables_of_no_positives_are_empty(size: int) -> None:
    tables = fit(PARTS.clear(), config=TablesConfig(factors=FactorsConfig(size=size)))
    assert len(tables) == len(IDS)
    assert not any(matrix.nnz for matrix in tables.neighbours.values())
    assert not tables.activity.cumulative.any()
    assert tables.factors.shape == (len(IDS), size)
    assert np.isfinite(tables.factors).all()
