"""Feature rows as they were known at given instants, read from the tables themselves.

Training asks Feast (`training.point_in_time`), whose join knows definitions, ttl and created timestamps. Who looks at
every customer of a bank at once reads the same tables here, a range of customers at a time: the tables are sorted by
customer and time (`recsys.features.tables`), so that a range is a few row groups. A row of a view counts from its
event_timestamp on, which is when it was created (`conform`), and as long as it is not older than the view's maximum.
Where a customer's newest row was there at the instant it is the one, and only the few rows of `latest_path` are read.
`tests/training/test_point_in_time.py` compares the two on random tables.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from recsys.errors import FeatureError
from recsys.features.spec import AS_OF, FeatureView, feature_name
from recsys.features.tables import latest_path, table_path
from recsys.schema import EVENT_TIMESTAMP

ROW_ID: Final = "row_id"
_MOMENT: Final = "moment"
_MICROSECONDS_A_DAY: Final = 86_400_000_000


class TablesInTime:
    """The tables of some views of one entity.

    Args:
        folder: where they lie.
        views: which; all of one entity.
        columns: `<view>__<column>`, the only ones that are read; None: all.
    """

    def __init__(self, folder: Path, views: Sequence[FeatureView], columns: Collection[str] | None = None) -> None:
        self._folder = folder
        self._views = views
        self._columns = {
            view.name: [
                column.name
                for column in view.columns
                if columns is None or feature_name(view.name, column.name) in columns
            ]
            for view in views
        }

    def join(self, entities: pl.DataFrame) -> pl.DataFrame:
        """The features of each entity as they were known at its time.

        Args:
            entities: row_id (Int64, distinct), the entity key (String) and event_timestamp (Datetime us UTC), in any
                order; the nearer their keys, the less is read.

        Returns:
            One row per row_id, in the order of row_id: row_id and `<view>__<column>`; null where there was no row.

        Raises:
            FeatureError: a table changed meanwhile.
        """
        ordered = entities.sort(ROW_ID)
        result = ordered.select(ROW_ID)
        for view in self._views:
            if self._columns[view.name]:
                result = result.hstack(self._join_view(view, ordered).get_columns())
        return result

    def _join_view(self, view: FeatureView, ordered: pl.DataFrame) -> pl.DataFrame:
        """The view's columns, in the order of `ordered`."""
        names = [feature_name(view.name, name) for name in self._columns[view.name]]
        latest = latest_path(self._folder, view.name)
        if not latest.exists():  # of a home that older code built
            return self._join_all(view, ordered).select(names)
        key = view.entity.value
        newest = _near(latest, key, ordered).select(key, AS_OF).collect(engine="streaming")
        known = _asked(ordered, key).join(newest, on=key, how="left", maintain_order="left")
        later = (known[AS_OF] > known[_MOMENT]).fill_null(value=False)
        parts = [self._join_latest(view, latest, known.filter(~later)), self._join_all(view, ordered.filter(later))]
        return pl.concat([part.select(ROW_ID, *names) for part in parts if len(part)]).sort(ROW_ID).select(names)

    def _join_latest(self, view: FeatureView, latest: Path, known: pl.DataFrame) -> pl.DataFrame:
        """Of entities whose newest row, AS_OF, is the one that was valid, or who have none."""
        key = view.entity.value
        if known.is_empty():
            return known
        rows = self._read(view, _near(latest, key, known), known.select(key, AS_OF).drop_nulls().unique(), [key])
        joined = known.join(rows.drop(AS_OF), on=key, how="left", maintain_order="left")
        named = (
            _if_fresh(view, pl.col(name)).alias(feature_name(view.name, name)) for name in self._columns[view.name]
        )
        return joined.select(ROW_ID, *named)

    def _join_all(self, view: FeatureView, ordered: pl.DataFrame) -> pl.DataFrame:
        """By all rows of the table."""
        key = view.entity.value
        if ordered.is_empty():
            return ordered
        near = _near(table_path(self._folder, view.name), key, ordered)
        needed = _valid_rows(near.select(key, AS_OF), view, ordered)
        rows = self._read(view, near, needed.select(key, AS_OF).drop_nulls().unique(), [key, AS_OF])
        joined = needed.join(rows.with_columns(found=True), on=[key, AS_OF], how="left", maintain_order="left")
        if joined["found"].null_count() != needed[AS_OF].null_count():
            raise FeatureError(f"the table of {view.name} changed during the join: run it again")
        return joined.rename({name: feature_name(view.name, name) for name in self._columns[view.name]})

    def _read(self, view: FeatureView, near: pl.LazyFrame, wanted: pl.DataFrame, on: list[str]) -> pl.DataFrame:
        """The rows of some keys: the entity key, AS_OF and the view's columns."""
        rows = near.select(view.entity.value, AS_OF, *self._columns[view.name])
        return rows.join(wanted.lazy(), on=on, how="semi").collect(engine="streaming")


def _near(table: Path, key: str, ordered: pl.DataFrame) -> pl.LazyFrame:
    """The rows of the range of keys that is asked about."""
    return pl.scan_parquet(table).filter(pl.col(key).is_between(pl.lit(ordered[key].min()), pl.lit(ordered[key].max())))


def _asked(ordered: pl.DataFrame, key: str) -> pl.DataFrame:
    return ordered.select(ROW_ID, key, pl.col(EVENT_TIMESTAMP).dt.epoch("us").alias(_MOMENT))


def _if_fresh(view: FeatureView, value: pl.Expr) -> pl.Expr:
    """Null where the row is too old."""
    if not view.max_age_days:
        return value
    return pl.when(pl.col(_MOMENT) - pl.col(AS_OF) <= round(view.max_age_days * _MICROSECONDS_A_DAY)).then(value)


def _valid_rows(times: pl.LazyFrame, view: FeatureView, ordered: pl.DataFrame) -> pl.DataFrame:
    """ROW_ID, the key and AS_OF of the row that was valid for each entity, null where none was, in their order."""
    key = view.entity.value
    asked = _asked(ordered, key)
    newest = (
        times.join(asked.lazy(), on=key)
        .filter(pl.col(AS_OF) <= pl.col(_MOMENT))
        .group_by(ROW_ID)
        .agg(pl.col(AS_OF).max())
        .collect(engine="streaming")
    )
    found = asked.join(newest, on=ROW_ID, how="left", maintain_order="left")
    return found.select(ROW_ID, key, _if_fresh(view, pl.col(AS_OF)))
