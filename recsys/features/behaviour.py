"""customer_behaviour: what the customer did lately, one row per event of any type, the state after it.

Impressions have rows too: how often he was shown something is what fatigue is made of, and a row is small.
A window is right-closed: the row of an event at t counts the events in (t - days, t].
"""

from collections.abc import Iterator, Sequence

import polars as pl

from recsys.features.activity import ordered_events
from recsys.features.attributes import slug
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, FeatureKind, Table

TOTAL = "n_total"
LAST_EVENT = "last_event_at"
LAST_POSITIVE = "last_positive_at"


def count_name(event_type: str, days: int) -> str:
    """The column that counts events of a type in a window.

    >>> count_name("click", 7)
    'n_click_7d'
    """
    return f"n_{slug(event_type)}_{days}d"


def plan_behaviour(sources: Sources) -> ViewPlan | None:
    """The view; None where there are no events."""
    dataset, windows = sources.dataset, sources.config.window_days
    types = dataset.scan(Table.EVENTS).select(pl.col(EVENT_TYPE).unique().sort()).collect().to_series().to_list()
    if not types:
        return None
    counts = list(dict.fromkeys(count_name(name, days) for name in types for days in windows))
    columns = (
        *(FeatureColumn(name=name, kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT) for name in (*counts, TOTAL)),
        *(
            FeatureColumn(name=name, kind=FeatureKind.TIMESTAMP, type=ColumnType.INT)
            for name in (LAST_EVENT, LAST_POSITIVE)
        ),
    )
    view = FeatureView(name=ViewName.CUSTOMER_BEHAVIOUR, entity=Entity.CUSTOMER, columns=columns)
    positives = [name for name, weight in dataset.config.event_weights.items() if weight > 0]

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        yield behaviour_rows(ordered_events(sources, customers), types, positives, windows)

    return ViewPlan(view, "events.parquet", frames)


def behaviour_rows(
    events: pl.DataFrame, types: Sequence[str], positives: Sequence[str], windows: Sequence[int]
) -> pl.DataFrame:
    """The state after each event.

    Args:
        events: sorted by customer_id and event_timestamp (strictly increasing per customer), with event_type.
        types: the event types to count; two whose column names are equal are counted together.
        positives: the types that `last_positive_at` looks at.
        windows: lengths in days.
    """
    names: dict[str, list[str]] = {}
    for event_type in types:
        names.setdefault(slug(event_type), []).append(event_type)
    flags = {name: pl.col(EVENT_TYPE).is_in(members).cast(pl.Int32) for name, members in names.items()}
    counts = [
        flag.rolling_sum_by(EVENT_TIMESTAMP, window_size=f"{days}d", closed="right")
        .over(CUSTOMER_ID)
        .alias(count_name(name, days))
        for name, flag in flags.items()
        for days in windows
    ]
    seconds = pl.col(EVENT_TIMESTAMP).dt.epoch("s")
    last_positive = pl.when(pl.col(EVENT_TYPE).is_in(list(positives))).then(seconds).forward_fill().over(CUSTOMER_ID)
    total = pl.int_range(1, pl.len() + 1).over(CUSTOMER_ID)
    return events.select(
        CUSTOMER_ID,
        EVENT_TIMESTAMP,
        *counts,
        total.alias(TOTAL),
        seconds.alias(LAST_EVENT),
        last_positive.alias(LAST_POSITIVE),
    )
