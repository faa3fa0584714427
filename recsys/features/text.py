"""customer_text: what the customer wrote, one row per message that says something, pooled up to it."""

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from recsys.data.contract import Dataset
from recsys.features.attributes import vector_column
from recsys.features.consent import Purpose
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.pooling import pooled_rows
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, MESSAGE_ID, FeatureKind, Table

TEXT_VECTOR = "text_vector"
_TEXT = "text"
_COUNTRY = "country"


def plan_text(sources: Sources) -> ViewPlan | None:
    """The view; None where nobody wrote anything."""
    dataset = sources.dataset
    if not dataset.has(Table.MESSAGES) or _TEXT not in dataset.columns(Table.MESSAGES):
        return None
    columns = (
        vector_column(TEXT_VECTOR, sources.encodings.text_encoder.dim),
        FeatureColumn(name="n_messages", kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT),
        FeatureColumn(name="last_message_at", kind=FeatureKind.TIMESTAMP, type=ColumnType.INT),
    )
    view = FeatureView(name=ViewName.CUSTOMER_TEXT, entity=Entity.CUSTOMER, columns=columns)
    half_life = timedelta(days=sources.config.text_half_life_days)

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        messages = _messages(sources, customers)
        encoded = sources.encodings.written(view.name, messages[_TEXT], messages[_COUNTRY])
        present = encoded.index >= 0
        rows = messages.filter(pl.Series(present)).drop(_TEXT, _COUNTRY)
        vectors = encoded.vectors[encoded.index[present]]
        yield from pooled_rows(rows, vectors, half_life, (TEXT_VECTOR, "n_messages", "last_message_at"))

    return ViewPlan(view, "messages.parquet", frames)


def _messages(sources: Sources, customers: CustomerRange) -> pl.DataFrame:
    """The messages that may be read, in order."""
    messages = customers.of(sources.dataset.scan(Table.MESSAGES))
    profiled = sources.consent.keep_now(messages, Purpose.PROFILING)
    allowed = sources.consent.keep_at_the_time(profiled, Purpose.TEXT_ANALYSIS)
    ordered = allowed.sort(CUSTOMER_ID, EVENT_TIMESTAMP, MESSAGE_ID)
    return with_country(ordered, sources.dataset).select(CUSTOMER_ID, EVENT_TIMESTAMP, _TEXT, _COUNTRY).collect()


def with_country(rows: pl.LazyFrame, dataset: Dataset) -> pl.LazyFrame:
    """Adds `country`, the writer's latest: whose telephone numbers to look for in what he wrote."""
    if _COUNTRY not in dataset.columns(Table.CUSTOMERS):
        return rows.with_columns(pl.lit(None, pl.String).alias(_COUNTRY))
    customers = dataset.scan(Table.CUSTOMERS).sort(EVENT_TIMESTAMP)
    latest = customers.group_by(CUSTOMER_ID).agg(pl.col(_COUNTRY).last())
    return rows.join(latest, on=CUSTOMER_ID, how="left", maintain_order="left")
