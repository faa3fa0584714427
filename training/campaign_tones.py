"""Who answered to which tone: the log as the composer of copy reads it."""

from datetime import datetime

import polars as pl

from recsys.data.contract import Dataset
from recsys.features.consent import Consent, Purpose
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, EventType, Table

_COLUMNS = {"segment": pl.String, "tone": pl.String, "response": pl.Int32, "weight": pl.Float64}
_MOST_WEIGHT = 0.95


def read_tone_responses(dataset: Dataset, as_of: datetime) -> pl.DataFrame:
    """One row for each logged exposure: segment, tone, response (a click) and, where it is known, 1 / propensity, cut.

    Only of customers who agreed to profiling; empty where the dataset knows no tones, segments or requests.
    """
    empty = pl.DataFrame(schema=_COLUMNS)
    events = set(dataset.columns(Table.EVENTS))
    if not dataset.has(Table.CONTENTS) or not {"request_id", CONTENT_ID} <= events:
        return empty
    if "tone" not in dataset.columns(Table.CONTENTS) or "segment" not in dataset.columns(Table.CUSTOMERS):
        return empty
    keys = ["request_id", CUSTOMER_ID, CONTENT_ID]
    log = Consent(dataset).keep_now(dataset.scan(Table.EVENTS), Purpose.PROFILING)
    log = log.filter(pl.col(EVENT_TIMESTAMP) <= as_of, pl.col("request_id").is_not_null())
    clicks = log.filter(pl.col(EVENT_TYPE) == EventType.CLICK.value).select(keys).unique().with_columns(response=1)
    tones = dataset.scan(Table.CONTENTS).group_by(CONTENT_ID).agg(pl.col("tone").last()).drop_nulls()
    segments = dataset.scan(Table.CUSTOMERS).sort(EVENT_TIMESTAMP).group_by(CUSTOMER_ID).agg(pl.col("segment").last())
    propensity = pl.col("propensity") if "propensity" in events else pl.lit(None, pl.Float64)
    shown = (
        log.filter(pl.col(EVENT_TYPE) == EventType.IMPRESSION.value, pl.col(CONTENT_ID).is_not_null())
        .select(*keys, (1 / propensity).alias("weight"))
        .join(clicks, on=keys, how="left")
        .join(tones, on=CONTENT_ID)
        .join(segments.drop_nulls(), on=CUSTOMER_ID)
        .select("segment", "tone", pl.col("response").fill_null(0).cast(pl.Int32), "weight")
        .collect(engine="streaming")
    )
    if shown["weight"].is_null().all():
        return shown.with_columns(weight=pl.lit(1.0))
    most = shown["weight"].quantile(_MOST_WEIGHT)
    return shown.with_columns(pl.min_horizontal(pl.col("weight").fill_null(1.0), pl.lit(most)))
