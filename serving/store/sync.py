"""Copies a dataset's facts into the SQL store: customers, what they have, what they declined."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
from rich.progress import Progress
from sqlalchemy import Table, case, delete, or_

from recsys.data.contract import Dataset
from recsys.policy.pack import PolicyPack, load_pack
from recsys.policy.sources import FACT_COLUMNS, customer_rows, declined_rows, held_rows
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, PRODUCT_ID
from serving.store.database import Store
from serving.store.tables import customer_facts, dismissals, holdings

CHUNK = 10_000
"""Rows a transaction: other writers get a turn in between."""


def load_facts(dataset: Dataset, store: Store, progress: Progress | None = None) -> int:
    """Makes the store hold the dataset's facts, beside those that the app's events brought.

    Doing it twice changes nothing; a row that an earlier load brought and the dataset no longer has is removed.

    Args:
        dataset: is read lazily, in chunks.
        store: its tables exist.
        progress: gets one task.

    Returns:
        How many rows the dataset gave.
    """
    pack = load_pack(dataset.config.policy)
    started = datetime.now(UTC)
    tables = (customer_facts, holdings, dismissals)
    task = progress.add_task("loading facts into the store", total=len(tables)) if progress else None
    total = 0
    for table in tables:
        for rows in _chunks(_frame(table, dataset, pack), started):
            with store.writing() as connection:
                connection.execute(_statement(table, store), rows)
            total += len(rows)
        with store.writing() as connection:
            connection.execute(delete(table).where(table.c.loaded_at < started))
        if progress and task is not None:
            progress.advance(task)
    return total


def _frame(table: Table, dataset: Dataset, pack: PolicyPack) -> pl.LazyFrame:
    """The dataset's rows in the columns of `table`."""
    if table is customer_facts:
        rows = customer_rows(dataset).rename({EVENT_TIMESTAMP: "updated_at"})
        present = rows.collect_schema().names()
        absent = [pl.lit(None).alias(name) for name in FACT_COLUMNS if name not in present]
        return rows.with_columns(absent)
    if table is holdings:
        rows = held_rows(dataset, pack).rename({"since": "opened_at", "until": "closed_at"})
        return rows.unique([CUSTOMER_ID, PRODUCT_ID, "opened_at"])
    return declined_rows(dataset).drop("until").rename({"since": "dismissed_at"})


def _chunks(rows: pl.LazyFrame, loaded_at: datetime) -> Iterator[list[dict[str, Any]]]:
    for batch in rows.collect_batches(chunk_size=CHUNK):
        for frame in batch.iter_slices(CHUNK):
            if len(frame):
                yield frame.with_columns(loaded_at=pl.lit(loaded_at)).to_dicts()


def _statement(table: Table, store: Store) -> Any:
    """An upsert by key; of two times of one dismissal the later stays, and with it where it came from."""
    statement = store.upsert(table)
    new = statement.excluded
    keys = [column.name for column in table.primary_key]
    values = {column.name: new[column.name] for column in table.columns if column.name not in keys}
    if table is not dismissals:
        return statement.on_conflict_do_update(index_elements=keys, set_=values)
    old = dismissals.c
    values["dismissed_at"] = case((new.dismissed_at > old.dismissed_at, new.dismissed_at), else_=old.dismissed_at)
    ours = or_(new.dismissed_at >= old.dismissed_at, old.loaded_at.is_not(None))
    return statement.on_conflict_do_update(index_elements=keys, set_=values, where=ours)
