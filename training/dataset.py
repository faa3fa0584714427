"""A dataset and its feature store to arrays: labels, point-in-time features, history windows, candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, Part, assign_parts, resolve_split
from recsys.errors import DatasetError
from recsys.features.consent import Consent, Purpose
from recsys.features.spec import (
    CONTENT_SERVICE,
    CUSTOMER_SERVICE,
    PRODUCT_SERVICE,
    Entity,
    FeatureManifest,
    ViewName,
    feature_name,
)
from recsys.modeling.config import ModelInputs
from recsys.modeling.encoding import EncodingConfig, EntityEncoding, EntityRows
from recsys.modeling.reader import HistoryArrays, ModelReader
from recsys.policy.fair_inputs import refused_columns
from recsys.policy.registry import pack_in_force
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, PolicyName, Table
from training.examples import (
    ANCHOR,
    POSITION,
    ROW_ID,
    WINDOW,
    Labels,
    Ragged,
    TrainingSet,
    locate_labels,
    point_in_time,
    select_labels,
)
from training.labels import LabelsConfig, choose_labels
from training.point_in_time import join_features

_JOIN_CHUNK = 100_000
"""Rows of one point-in-time join: bounds the memory that joined vectors take."""
_MINIMUM_LABELS = 10


@dataclass(frozen=True)
class Catalogue:
    """The candidates as of one instant."""

    products: pl.DataFrame
    """The latest canonical row of each product, by id."""
    contents: pl.DataFrame | None
    product_features: pl.DataFrame
    """Joined columns of products_v1, in the order of `products`."""
    content_features: pl.DataFrame | None
    as_of: datetime

    @property
    def product_ids(self) -> list[str]:
        """P ids, in order."""
        return self.products[PRODUCT_ID].to_list()

    @property
    def content_ids(self) -> list[str]:
        """C ids, in order."""
        return [] if self.contents is None else self.contents[CONTENT_ID].to_list()

    def now(self, n: int) -> np.ndarray:
        """[n] int64 epoch µs of `as_of`."""
        return np.full(n, micros(self.as_of), np.int64)

    def product_of_content(self) -> np.ndarray:
        """[C] int64 row of each creative's product, -1 = not in the catalogue."""
        if self.contents is None:
            return np.zeros(0, np.int64)
        row = {identifier: position for position, identifier in enumerate(self.product_ids)}
        return np.array([row.get(identifier, -1) for identifier in self.contents[PRODUCT_ID].to_list()], np.int64)


def micros(time: datetime) -> int:
    """Epoch microseconds."""
    return round(time.timestamp() * 1_000_000)


def load_parts(dataset: Dataset) -> pl.DataFrame:
    """All positives with their part and order (`assign_parts`), in memory: a few columns a label."""
    parts = assign_parts(dataset).collect(engine="streaming")
    if len(parts) < _MINIMUM_LABELS:
        raise DatasetError(
            str(dataset.path), [f"{len(parts)} positive events: at least {_MINIMUM_LABELS} are needed to train"]
        )
    return parts


def load_catalogue(dataset: Dataset, home: Path, manifest: FeatureManifest, as_of: datetime) -> Catalogue:
    """The candidates as of `as_of`; one that appeared later is taken with its first row."""
    products = latest_rows(dataset.scan(Table.PRODUCTS), PRODUCT_ID, as_of)
    contents = None
    if dataset.has(Table.CONTENTS) and manifest.views_of(Entity.CONTENT):
        contents = latest_rows(dataset.scan(Table.CONTENTS), CONTENT_ID, as_of)
    return Catalogue(
        products=products,
        contents=contents,
        product_features=_join_items(home, products, PRODUCT_ID, PRODUCT_SERVICE, as_of),
        content_features=None if contents is None else _join_items(home, contents, CONTENT_ID, CONTENT_SERVICE, as_of),
        as_of=as_of,
    )


def latest_rows(rows: pl.LazyFrame, key: str, as_of: datetime) -> pl.DataFrame:
    """One row a key, sorted by it: the latest that was true at `as_of`, else the first."""
    late = pl.col(EVENT_TIMESTAMP) > as_of
    order = (
        pl.when(late).then(-pl.col(EVENT_TIMESTAMP).dt.epoch("us")).otherwise(pl.col(EVENT_TIMESTAMP).dt.epoch("us"))
    )
    ranked = rows.with_columns(_late=late, _order=order).sort(key, "_late", "_order", descending=[False, False, True])
    return ranked.unique(key, keep="first", maintain_order=True).drop("_late", "_order").collect()


def _join_items(home: Path, items: pl.DataFrame, key: str, service: str, as_of: datetime) -> pl.DataFrame:
    instant = pl.max_horizontal(pl.lit(as_of).cast(pl.Datetime("us", "UTC")), pl.col(EVENT_TIMESTAMP))
    entities = items.with_row_index(ROW_ID).select(pl.col(ROW_ID).cast(pl.Int64), key, instant.alias(EVENT_TIMESTAMP))
    return join_features(home, entities, service)


def join_customers(home: Path, entities: pl.DataFrame, views: Sequence[str]) -> pl.DataFrame:
    """Customer features of any number of rows, joined in chunks.

    Args:
        home: the state directory.
        entities: row_id, customer_id, event_timestamp.
        views: the views to read.
    """
    columns = entities.select(ROW_ID, CUSTOMER_ID, EVENT_TIMESTAMP)
    chunks = [columns.slice(i, _JOIN_CHUNK) for i in range(0, max(len(columns), 1), _JOIN_CHUNK)]
    return pl.concat([join_features(home, chunk, CUSTOMER_SERVICE, views) for chunk in chunks])


def customer_views(manifest: FeatureManifest) -> list[str]:
    """The customer views that become tokens: all but the history."""
    return [v.name for v in manifest.views_of(Entity.CUSTOMER) if v.name != ViewName.CUSTOMER_HISTORY]


@dataclass(frozen=True)
class Prepared:
    """What the model is built from and trained on."""

    inputs: ModelInputs
    training: TrainingSet
    products: EntityRows
    contents: EntityRows | None
    product_of_content: np.ndarray
    """[C] int64 row of each creative's product, -1 = none."""


class DatasetBuilder:
    """Reads labels with their features out of the feature store, for one selection of parts at a time."""

    def __init__(
        self, dataset: Dataset, home: Path, config: EncodingConfig, labels: LabelsConfig | None = None
    ) -> None:
        self.dataset = dataset
        self.home = home
        self.manifest = FeatureManifest.read(home / "features")
        credit = pack_in_force(home, dataset.config.policy).credit
        self.refused = refused_columns(self.manifest, credit)
        """Features that no model may read by the policy in force."""
        self.config = config.model_copy(update={"ignore": (*config.ignore, *(column.key for column in self.refused))})
        parts = choose_labels(load_parts(dataset), labels or LabelsConfig())
        self.parts = Consent(dataset).keep_now(parts.lazy(), Purpose.PROFILING).collect()
        """Only of customers who agreed to profiling: the model learns from nobody else."""

    def build(
        self,
        keep: tuple[Part, ...],
        catalogue: Catalogue,
        rows: pl.DataFrame | None = None,
        inputs: ModelInputs | None = None,
    ) -> Prepared:
        """Everything to train on the labels of `keep`.

        Args:
            keep: the parts to learn from.
            catalogue: the candidates.
            rows: what is learned from instead of `parts`.
            inputs: of a model that is there already; None: fitted on these rows.

        Raises:
            DatasetError: there is no label in these parts.
        """
        lead = resolve_split(self.dataset).look_ahead
        stride = max(1, self.manifest.history_length // 2)
        labels = select_labels(self.parts if rows is None else rows, keep, stride, lead)
        if labels.is_empty():
            raise DatasetError(
                str(self.dataset.path), ["no positive event in the training part: move the split's times"]
            )
        joined = join_customers(self.home, labels, customer_views(self.manifest))
        inputs = inputs or self._inputs(labels, joined, catalogue)
        reader = ModelReader(inputs, catalogue.product_ids, catalogue.content_ids)
        anchors = labels.filter(pl.col(ROW_ID) == pl.col(ANCHOR)).with_columns(
            point_in_time(pl.col(ORDER_TIMESTAMP)).alias(EVENT_TIMESTAMP)
        )
        histories = join_customers(self.home, anchors, [ViewName.CUSTOMER_HISTORY])
        event_ids = histories[feature_name(ViewName.CUSTOMER_HISTORY, "event_ids")]
        places = locate_labels(labels, anchors.select(ROW_ID).with_columns(event_ids=event_ids))
        columns, row = self._distinct_columns(inputs.customers, labels, joined)
        windows = reader.read_histories(histories.to_dict(), len(histories))
        training = TrainingSet(
            labels=_label_arrays(labels, places, row, reader, catalogue, windows),
            columns=columns,
            windows=windows,
            own_products=self._own_products(labels, catalogue),
            product_counts=_counts(labels, PRODUCT_ID, catalogue.product_ids),
            content_counts=_counts(labels, CONTENT_ID, catalogue.content_ids),
            customer_ids=tuple(customer_index(labels)),
        )
        return Prepared(inputs, training, *item_rows(inputs, catalogue), catalogue.product_of_content())

    def _inputs(self, labels: pl.DataFrame, joined: pl.DataFrame, catalogue: Catalogue) -> ModelInputs:
        manifest, config = self.manifest, self.config
        features, contents = catalogue.product_features, catalogue.content_features
        every = config.model_copy(update={"min_count": 1})
        return ModelInputs(
            customers=EntityEncoding.fit(joined, _instants(labels), manifest, Entity.CUSTOMER, config),
            products=EntityEncoding.fit(features, catalogue.now(len(features)), manifest, Entity.PRODUCT, every),
            contents=None
            if contents is None
            else EntityEncoding.fit(contents, catalogue.now(len(contents)), manifest, Entity.CONTENT, every),
            product_count=len(catalogue.product_ids),
            content_count=len(catalogue.content_ids),
            event_types=tuple(sorted(self._event_types())),
            channels=_names(labels, "channel"),
            history_length=manifest.history_length,
            reads_history=config.history,
        )

    def _event_types(self) -> set[str]:
        types = self.dataset.scan(Table.EVENTS).select(pl.col(EVENT_TYPE).unique()).collect(engine="streaming")
        return set(types[EVENT_TYPE].to_list()) - {EventType.IMPRESSION.value}

    def _distinct_columns(
        self, encoding: EntityEncoding, labels: pl.DataFrame, joined: pl.DataFrame
    ) -> tuple[EntityRows, np.ndarray]:
        """Arrays of the distinct states, and the row of each label's: labels of one state and second share it."""
        keys = [feature_name(view, EVENT_TIMESTAMP) for view in customer_views(self.manifest)]
        state = pl.DataFrame(
            [
                labels[CUSTOMER_ID],
                labels[EVENT_TIMESTAMP].dt.truncate("1s"),
                *(joined[key] for key in keys if key in joined.columns),
            ]
        )
        row = state.select(pl.struct(pl.all()).rank("dense") - 1).to_series().cast(pl.Int64).to_numpy()
        _, first = np.unique(row, return_index=True)
        return encoding.transform(joined[first].to_dict(), _instants(labels)[first]), row

    def _own_products(self, labels: pl.DataFrame, catalogue: Catalogue) -> Ragged:
        """What each customer has: every positive where no bank's rules apply, else what he converted to."""
        has = labels
        if self.dataset.config.repeatable:
            has = labels.clear()
        elif self.dataset.config.policy is not PolicyName.NONE:
            has = labels.filter(pl.col(EVENT_TYPE) == EventType.CONVERT.value)
        customers = customer_index(labels)
        owner = np.array([customers[name] for name in has[CUSTOMER_ID].to_list()], np.int64)
        return Ragged.group(owner, _item_rows(has, PRODUCT_ID, catalogue.product_ids), len(customers))


def item_rows(inputs: ModelInputs, catalogue: Catalogue) -> tuple[EntityRows, EntityRows | None]:
    """The candidates' columns as arrays."""
    features, contents = catalogue.product_features, catalogue.content_features
    products = inputs.products.transform(features.to_dict(), catalogue.now(len(features)))
    if contents is None or inputs.contents is None:
        return products, None
    return products, inputs.contents.transform(contents.to_dict(), catalogue.now(len(contents)))


def customer_index(labels: pl.DataFrame) -> dict[str, int]:
    """Id to index, in id order."""
    return {name: index for index, name in enumerate(sorted(labels[CUSTOMER_ID].unique().to_list()))}


def _label_arrays(
    labels: pl.DataFrame,
    places: pl.DataFrame,
    row: np.ndarray,
    reader: ModelReader,
    catalogue: Catalogue,
    windows: HistoryArrays,
) -> Labels:
    kept = labels.join(places, on=ROW_ID, how="inner", maintain_order="left")
    customers = customer_index(labels)
    channels = {name: index for index, name in enumerate(reader.inputs.channels, start=1)}
    channel = kept["channel"].to_list() if "channel" in kept.columns else [None] * len(kept)
    return Labels(
        product=_item_rows(kept, PRODUCT_ID, catalogue.product_ids),
        content=_item_rows(kept, CONTENT_ID, catalogue.content_ids),
        weight=kept["weight"].cast(pl.Float32).to_numpy(),
        channel=np.array([channels.get(name or "", 0) for name in channel], np.int64),
        customer=np.array([customers[name] for name in kept[CUSTOMER_ID].to_list()], np.int64),
        window=kept[WINDOW].to_numpy(),
        position=kept[POSITION].to_numpy() * reader.inputs.reads_history,
        row=row[kept[ROW_ID].to_numpy()],
    ).read_at(_instants(kept), windows)


def _instants(labels: pl.DataFrame) -> np.ndarray:
    """[E] int64 epoch µs at which each label's features are read."""
    return labels[EVENT_TIMESTAMP].dt.epoch("us").to_numpy()


def _item_rows(frame: pl.DataFrame, column: str, ids: list[str]) -> np.ndarray:
    """[N] int64 row of each named item, -1 where there is none."""
    if column not in frame.columns or not ids:
        return np.full(len(frame), -1, np.int64)
    row = {identifier: position for position, identifier in enumerate(ids)}
    return np.array([row.get(name, -1) for name in frame[column].to_list()], np.int64)


def _counts(labels: pl.DataFrame, column: str, ids: list[str]) -> np.ndarray:
    rows = _item_rows(labels, column, ids)
    return np.bincount(rows[rows >= 0], minlength=len(ids)).astype(np.float64)


def _names(labels: pl.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(sorted(labels[column].drop_nulls().unique().to_list())) if column in labels.columns else ()
