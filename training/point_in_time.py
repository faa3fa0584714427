"""Training rows: what was known of each entity at each moment, through Feast's point-in-time join.

Feast joins every row before the moment and keeps the newest (feast.infra.offline_stores.ibis.point_in_time_join), so a
join of whole rows holds all of a customer's past histories and vectors at once: 5,000 rows of ML-100K's history took
1.6 GB. So Feast is asked for one narrow feature of each view, `as_of`: it decides which row of which view was valid,
with its definitions, ttl and created timestamps. The row so named is then fetched from the view's source by equality.
`tests/training/test_point_in_time.py` compares the result with an as-of join of polars.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from feature_repo.operations import features_folder, offline_engine, open_store
from recsys.errors import FeatureError
from recsys.features.spec import AS_OF, FeatureManifest, FeatureView, feature_name
from recsys.features.tables import TIME_DTYPE, polars_schema
from recsys.schema import CREATED_TIMESTAMP, EVENT_TIMESTAMP

if TYPE_CHECKING:
    from feast import FeatureStore
    from rich.progress import Progress

ROW_ID: Final = "row_id"
CHUNK_ROWS: Final = 20_000
"""Rows of one Feast join; bounds its memory."""


def join_features(
    home: Path,
    entities: pl.DataFrame,
    service: str,
    views: Sequence[str] | None = None,
    progress: "Progress | None" = None,
) -> pl.DataFrame:
    """The features of each entity as they were known at its time.

    A row of a view counts from its event_timestamp on. To train on an event, ask for one microsecond before its
    order_timestamp: then nothing of the event itself, nor of anything later, is seen.

    Args:
        home: the state directory.
        entities: row_id (Int64, distinct), the entity key (String) and event_timestamp (Datetime us UTC), in any order.
        service: name of a Feast feature service, for example `recommender_v1`.
        views: only these of its views.
        progress: where to show how far it is.

    Returns:
        One row per row_id, in the order of row_id: row_id, `<view>__<column>`, and `<view>__event_timestamp` (Datetime
        us UTC, null where the entity had no row yet) of every view.

    Raises:
        HomeError: the home has no feature store.
        FeatureError: the service or a view is unknown, `entities` lacks a column, or the tables changed meanwhile.
    """
    store = open_store(home)
    wanted = _wanted_views(store, FeatureManifest.read(features_folder(home)), service, views)
    key = wanted[0].entity.value
    _check_entities(entities, key)
    moments = entities.select(ROW_ID, key, EVENT_TIMESTAMP).sort(ROW_ID)
    times = _valid_rows(store, moments, wanted, progress)
    result = times.select(ROW_ID)
    for view in wanted:
        result = result.hstack(_fetch(store, view, times).get_columns())
    return result


def _wanted_views(
    store: "FeatureStore", manifest: FeatureManifest, service: str, views: Sequence[str] | None
) -> list[FeatureView]:
    from feast.errors import FeatureServiceNotFoundException

    try:
        names = [projection.name for projection in store.get_feature_service(service).feature_view_projections]
    except FeatureServiceNotFoundException as error:
        raise FeatureError(f"the feature store has no service {service}: run `recsys features DATASET`") from error
    unknown = sorted(set(views or ()) - set(names))
    if unknown:
        raise FeatureError(f"service {service} has no view {', '.join(unknown)}; it has {', '.join(names)}")
    return [manifest.view(name) for name in names if views is None or name in views]


def _check_entities(entities: pl.DataFrame, key: str) -> None:
    schema = {ROW_ID: pl.Int64(), key: pl.String(), EVENT_TIMESTAMP: TIME_DTYPE}
    wrong = [name for name, dtype in schema.items() if entities.schema.get(name) != dtype]
    if wrong:
        raise FeatureError(f"entities need {schema}; wrong or missing: {', '.join(wrong)} (given: {entities.schema})")
    if entities.select(*schema).null_count().sum_horizontal().item() or entities[ROW_ID].is_duplicated().any():
        raise FeatureError(f"entities: {', '.join(schema)} may hold no null, and {ROW_ID} no value twice")


def _valid_rows(
    store: "FeatureStore", moments: pl.DataFrame, views: Sequence[FeatureView], progress: "Progress | None"
) -> pl.DataFrame:
    """`moments` with `<view>__as_of`, the time of the row of each view that was valid (Int64, null: none)."""
    key = views[0].entity.value
    names = [feature_name(view.name, AS_OF) for view in views]
    # One customer's moments together: a chunk then meets few customers' rows.
    chunks = list(moments.sort(key, EVENT_TIMESTAMP).iter_slices(CHUNK_ROWS))
    task = progress.add_task("joining features in time", total=len(chunks)) if progress else None
    parts = [pl.DataFrame(schema={ROW_ID: pl.Int64, **dict.fromkeys(names, pl.Int64)})]
    for chunk in chunks:
        with offline_engine(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            job = store.get_historical_features(
                entity_df=chunk.to_pandas(),
                features=[f"{view.name}:{AS_OF}" for view in views],
                full_feature_names=True,
                filter_by_created_timestamp=True,
            )
            joined = pl.DataFrame(pl.from_arrow(job.to_arrow()))
        parts.append(joined.select(ROW_ID, *(pl.col(name).cast(pl.Int64) for name in names)))
        if progress and task is not None:
            progress.advance(task)
    found = pl.concat(parts)
    if found.height != moments.height:
        raise FeatureError(f"the point-in-time join returned {found.height} rows of {moments.height}")
    return moments.join(found, on=ROW_ID, how="left", maintain_order="left")


def _fetch(store: "FeatureStore", view: FeatureView, times: pl.DataFrame) -> pl.DataFrame:
    """The rows of a view that `times` names, in its order: `<view>__event_timestamp` and the view's columns."""
    key, as_of = view.entity.value, feature_name(view.name, AS_OF)
    needed = times.select(key, pl.col(as_of).alias(AS_OF))
    source = pl.scan_parquet(store.get_feature_view(view.name).batch_source.path)
    rows = source.join(needed.drop_nulls().unique().lazy(), on=[key, AS_OF], how="semi").collect(engine="streaming")
    joined = needed.join(rows, on=[key, AS_OF], how="left", maintain_order="left")
    if joined[EVENT_TIMESTAMP].null_count() != needed[AS_OF].null_count():
        raise FeatureError(f"the table of {view.name} changed during the join: run it again")
    columns = [name for name in polars_schema(view) if name not in (key, CREATED_TIMESTAMP, AS_OF)]
    return joined.select(pl.col(name).alias(feature_name(view.name, name)) for name in columns)
