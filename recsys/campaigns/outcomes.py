"""What the customers of a campaign did, as its report reads it."""

from datetime import UTC, timedelta
from pathlib import Path

import polars as pl

from recsys.campaigns.brief import Brief
from recsys.data.contract import Dataset
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Table

BEFORE = timedelta(days=90)
"""How long before the start a customer's past is looked at."""
_STEPS = {"viewed": EventType.IMPRESSION, "clicked": EventType.CLICK, "applied": EventType.APPLY}
_ACTIVE = (EventType.CLICK, EventType.APPLY, EventType.CONVERT)


def read_people(dataset: Dataset, plan: Path, brief: Brief, days: int, more: pl.DataFrame) -> pl.DataFrame:
    """One row for each customer who could be contacted or is held out, as `measure` wants them.

    Args:
        dataset: the log.
        plan: the plan's directory.
        brief: whose products and times count.
        days: how long after the end responses count.
        more: event_id, customer_id, event_type, event_timestamp, product_id of events that the log may not have yet.
    """
    products = pl.read_parquet(plan / "assignments.parquet")[PRODUCT_ID].unique().to_list()
    held = pl.read_parquet(plan / "holdout.parquet").select(CUSTOMER_ID, held_out=pl.lit(True))
    free = pl.read_parquet(plan / "reachable.parquet").select(CUSTOMER_ID, held_out=pl.lit(False))
    people = pl.concat([free, held]).lazy()
    starts, ends = brief.starts.astimezone(UTC), brief.ends.astimezone(UTC) + timedelta(days=days)
    columns = ["event_id", CUSTOMER_ID, EVENT_TYPE, EVENT_TIMESTAMP, PRODUCT_ID]
    log = pl.concat([dataset.scan(Table.EVENTS).select(columns), more.lazy().select(columns)]).unique("event_id")
    during = log.filter(pl.col(EVENT_TIMESTAMP).is_between(starts, ends), pl.col(PRODUCT_ID).is_in(products))
    done = [
        (pl.col(EVENT_TYPE) == kind.value).any().alias(name)
        for name, kind in {**_STEPS, "converted": EventType.CONVERT}.items()
    ]
    before = log.filter(
        pl.col(EVENT_TIMESTAMP).is_between(starts - BEFORE, starts, closed="left"),
        pl.col(EVENT_TYPE).is_in([str(kind) for kind in _ACTIVE]),
    )
    left = log.filter(
        pl.col(EVENT_TIMESTAMP).is_between(starts, ends), pl.col(EVENT_TYPE) == EventType.OPT_OUT.value
    ).select(CUSTOMER_ID, opted_out=pl.lit(True))
    segments = _segments(dataset)
    flags = [*_STEPS, "converted", "opted_out"]
    return (
        people.join(during.group_by(CUSTOMER_ID).agg(done), on=CUSTOMER_ID, how="left")
        .join(left.unique(), on=CUSTOMER_ID, how="left")
        .join(before.group_by(CUSTOMER_ID).agg(before=pl.len().cast(pl.Float64)), on=CUSTOMER_ID, how="left")
        .join(segments, on=CUSTOMER_ID, how="left")
        .with_columns(pl.col(flags).fill_null(value=False), pl.col("before").fill_null(0.0))
        .sort(CUSTOMER_ID)
        .collect(engine="streaming")
    )


def _segments(dataset: Dataset) -> pl.LazyFrame:
    if "segment" not in dataset.columns(Table.CUSTOMERS):
        return pl.LazyFrame(schema={CUSTOMER_ID: pl.String, "segment": pl.String})
    rows = dataset.scan(Table.CUSTOMERS).sort(EVENT_TIMESTAMP)
    return rows.group_by(CUSTOMER_ID).agg(pl.col("segment").last())
