"""Customers of a few tastes, in memory: as large as a benchmark wants, and with something to be learned from each part.

A customer takes products of his taste, popular ones first. His segment tells it half of the time, his text mostly, his
history best; a product's text tells its taste, and each creative is of one product. The last product that he takes is
the question.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys.features.spec import Entity
from recsys.modeling.config import ModelInputs
from recsys.modeling.encoding import ColumnEncoding, EntityEncoding, GroupEncoding
from recsys.modeling.reader import ModelReader
from recsys.schema import FeatureKind
from training.dataset import Catalogue, Prepared, item_rows
from training.examples import Labels, Ragged, TrainingSet
from training.queries import Queries
from training.scoring import TrainingScorer

START = datetime(2026, 1, 1, tzinfo=UTC)
TASTES, TEXT, PICTURE = 12, 64, 32
EVENTS = 20
"""Of each customer: a few that nothing is asked of, the labels, and the question."""
FIRST_LABEL = 4
K = 10


class Learnable(NamedTuple):
    """What a trainer and a scorer start from."""

    prepared: Prepared
    catalogue: Catalogue
    queries: Queries

    def scorer(self) -> TrainingScorer:
        """Mean NDCG@10 of the questions."""
        return TrainingScorer(self.prepared, self.catalogue, self.queries, K)


class _Drawn(NamedTuple):
    taste: np.ndarray
    """[N]."""
    taken: np.ndarray
    """[N, EVENTS] rows of the catalogue."""
    shown: np.ndarray
    """[N, EVENTS] rows of the creatives."""
    meaning: np.ndarray
    """[TASTES, TEXT]: what is written about each taste."""


def make_learnable(customers: int, products: int, contents: int, seed: int = 0) -> Learnable:
    """Draws them; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    drawn = _draw(rng, customers, products, contents)
    catalogue = _catalogue(rng, drawn, products, contents)
    frame = _customers(rng, drawn, catalogue)
    inputs = _inputs(products, contents)
    reader = ModelReader(inputs, catalogue.product_ids, catalogue.content_ids)
    now = np.full(customers, _micros(EVENTS), np.int64)
    rows = reader.read_customers(frame.to_dict(), now, ["app"] * customers)
    labels = _labels(drawn)
    training = TrainingSet(
        labels=labels,
        columns=rows.columns,
        windows=rows.history,
        own_products=Ragged.group(np.arange(0), np.arange(0), customers),
        product_counts=np.bincount(labels.product, minlength=products).astype(np.float64),
        content_counts=np.bincount(labels.content, minlength=contents).astype(np.float64),
    )
    prepared = Prepared(inputs, training, *item_rows(inputs, catalogue), catalogue.product_of_content())
    return Learnable(prepared, catalogue, _queries(drawn, frame, now, products))


def _draw(rng: np.random.Generator, customers: int, products: int, contents: int) -> _Drawn:
    taste = rng.integers(0, TASTES, customers)
    own = products // TASTES
    popular = np.minimum(rng.geometric(2.5 / own, (customers, EVENTS)) - 1, own - 1)
    strange = rng.random((customers, EVENTS)) < 0.1
    taken = np.where(strange, rng.integers(0, products, popular.shape), popular * TASTES + taste[:, None])
    shown = (taken + products * rng.integers(0, contents // products, taken.shape)) % contents
    return _Drawn(taste, taken, shown, rng.normal(size=(TASTES, TEXT)).astype(np.float32))


def _catalogue(rng: np.random.Generator, drawn: _Drawn, products: int, contents: int) -> Catalogue:
    ids = [f"p{row:05}" for row in range(products)]
    owner = np.arange(contents) % products
    before = pl.lit(START - timedelta(days=1)).alias("event_timestamp")
    features = pl.DataFrame(
        {
            "product_attributes__rate": rng.normal(size=products),
            "product_attributes__family": [f"family {row % 5}" for row in range(products)],
            "product_attributes__tags": [[f"tag {row % 7}"] * (row % 3) for row in range(products)],
            "product_text__text": _written(rng, drawn.meaning[np.arange(products) % TASTES], 1.0),
        }
    )
    pictures = rng.normal(size=(contents, PICTURE)).astype(np.float32)
    return Catalogue(
        products=pl.DataFrame({"product_id": ids}).with_columns(before),
        contents=pl.DataFrame(
            {"content_id": [f"c{row:05}" for row in range(contents)], "product_id": [ids[row] for row in owner]}
        ).with_columns(before),
        product_features=features,
        content_features=pl.DataFrame(
            {
                "content_text__text": _written(rng, drawn.meaning[owner % TASTES], 1.0),
                "content_images__image": [None if row % 4 == 0 else pictures[row].tolist() for row in range(contents)],
            },
            schema_overrides={"content_images__image": pl.List(pl.Float32)},
        ),
        as_of=START,
    )


def _customers(rng: np.random.Generator, drawn: _Drawn, catalogue: Catalogue) -> pl.DataFrame:
    """All that is known of the customers before the question."""
    n = len(drawn.taste)
    guess = np.where(rng.random(n) < 0.5, drawn.taste, rng.integers(0, TASTES, n))
    written = _written(rng, drawn.meaning[drawn.taste], 2.0)
    silent = rng.random(n) < 0.3
    product_ids, content_ids = np.array(catalogue.product_ids), np.array(catalogue.content_ids)
    times = [_micros(step) for step in range(EVENTS - 1)]
    return pl.DataFrame(
        {
            "customer_profile__segment": [f"segment {value}" for value in guess],
            "customer_behaviour__spend": rng.normal(size=n),
            "customer_text__text": [None if quiet else row for quiet, row in zip(silent, written, strict=True)],
            "customer_history__product_ids": product_ids[drawn.taken[:, :-1]].tolist(),
            "customer_history__content_ids": content_ids[drawn.shown[:, :-1]].tolist(),
            "customer_history__event_types": [["apply"] * (EVENTS - 1)] * n,
            "customer_history__timestamps": [times] * n,
        },
        schema_overrides={"customer_text__text": pl.List(pl.Float32)},
    )


def _written(rng: np.random.Generator, meaning: np.ndarray, noise: float) -> list[list[float]]:
    vectors = meaning + noise * rng.normal(size=meaning.shape).astype(np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()


def _inputs(products: int, contents: int) -> ModelInputs:
    numeric, one, several = FeatureKind.NUMERIC, FeatureKind.CATEGORICAL, FeatureKind.CATEGORICAL_LIST

    def text(view: str, name: str = "text", dim: int = TEXT) -> GroupEncoding:
        return GroupEncoding(
            name=name, columns=(ColumnEncoding(key=f"{view}__{name}", kind=FeatureKind.EMBEDDING, dim=dim),)
        )

    def words(stem: str, count: int) -> tuple[str, ...]:
        return tuple(f"{stem} {number}" for number in range(count))

    attributes = (
        ColumnEncoding(key="product_attributes__rate", kind=numeric),
        ColumnEncoding(key="product_attributes__family", kind=one, vocabulary=words("family", 5)),
        ColumnEncoding(key="product_attributes__tags", kind=several, vocabulary=words("tag", 7)),
    )
    segment = ColumnEncoding(key="customer_profile__segment", kind=one, vocabulary=words("segment", TASTES))
    spend = ColumnEncoding(key="customer_behaviour__spend", kind=numeric)
    customers = (
        GroupEncoding(name="profile", columns=(segment,)),
        GroupEncoding(name="behaviour", columns=(spend,)),
        text("customer_text"),
    )
    return ModelInputs(
        customers=EntityEncoding(entity=Entity.CUSTOMER, groups=customers),
        products=EntityEncoding(
            entity=Entity.PRODUCT, groups=(GroupEncoding(name="attributes", columns=attributes), text("product_text"))
        ),
        contents=EntityEncoding(
            entity=Entity.CONTENT, groups=(text("content_text"), text("content_images", "image", PICTURE))
        ),
        product_count=products,
        content_count=contents,
        event_types=("apply",),
        channels=("app",),
        history_length=EVENTS - 1,
    )


def _labels(drawn: _Drawn) -> Labels:
    """Every event from FIRST_LABEL on but the question, by customer."""
    n, each = len(drawn.taste), EVENTS - 1 - FIRST_LABEL
    customer = np.repeat(np.arange(n), each)
    return Labels(
        product=drawn.taken[:, FIRST_LABEL:-1].ravel(),
        content=drawn.shown[:, FIRST_LABEL:-1].ravel(),
        weight=np.ones(n * each, np.float32),
        channel=np.ones(n * each, np.int64),
        customer=customer,
        window=customer,
        position=np.tile(np.arange(FIRST_LABEL, EVENTS - 1), n),
        row=customer,
    )


def _queries(drawn: _Drawn, frame: pl.DataFrame, now: np.ndarray, products: int) -> Queries:
    n = len(now)
    return Queries(
        customer_ids=[f"u{row:06}" for row in range(n)],
        now=now,
        columns=frame,
        relevant=Ragged.group(np.arange(n), drawn.taken[:, -1], n),
        allowed=np.ones((n, products), bool),
        segments=[None] * n,
        new_customer=np.zeros(n, bool),
    )


def _micros(step: int) -> int:
    return round((START + timedelta(hours=step)).timestamp() * 1_000_000)
