"""Copies a dataset's facts into the SQL store: customers, what they have, declined, applied for and agreed to."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import polars as pl
from rich.progress import Progress
from sqlalchemy import Connection, Table, and_, delete, func, or_, select, tuple_, update

from recsys.data.contract import Dataset
from recsys.errors import DatasetError
from recsys.policy.pack import PolicyPack, load_pack
from recsys.policy.sources import (
    FACT_COLUMNS,
    TAKEN,
    consent_rows,
    customer_rows,
    declined_rows,
    held_rows,
    kept_columns,
    pending_rows,
    taken_rows,
)
from recsys.schema import ALREADY_HAS_EVENTS, CUSTOMER_ID, EVENT_TIMESTAMP, PRODUCT_ID
from recsys.schema import Table as DatasetTable
from serving.store.database import Store
from serving.store.tables import (
    ALL_CHANNELS,
    applications,
    capacity_reservations,
    consents,
    customer_facts,
    dataset_facts,
    dismissals,
    events,
    holdings,
    product_capacity,
)

CHUNK: Final = 10_000
"""Rows a transaction: other writers get a turn in between."""
TABLES: Final = (customer_facts, holdings, dismissals, applications, consents)
_LATEST: Final = {dismissals: "dismissed_at", applications: "applied_at", consents: "given_at"}
"""The tables that the app writes too: the later of two rows of one key stays."""
_SHOWN: Final = 5


def load_facts(dataset: Dataset, store: Store, progress: Progress | None = None, pack: PolicyPack | None = None) -> int:
    """Makes the store hold the dataset's facts, beside those that the app's events and consents brought.

    Doing it twice changes nothing but the time of confirmation; a row that an earlier load brought and the dataset no
    longer has is removed.

    Args:
        dataset: is read lazily, in chunks.
        store: its tables exist.
        progress: gets one task.
        pack: what counts as having a product; None: the packaged one.

    Returns:
        How many rows the dataset gave.

    Raises:
        DatasetError: a consent is dated in the future; nothing was changed.
    """
    pack, started = pack or load_pack(dataset.config.policy), datetime.now(UTC)
    _refuse_future_consents(dataset, started)
    task = progress.add_task("loading facts into the store", total=len(TABLES)) if progress else None
    total = 0
    for table in TABLES:
        total += _load(table, _frame(table, dataset, pack), store, started)
        if progress and task is not None:
            progress.advance(task)
    with store.writing() as connection:
        _load_capacity(dataset, store, connection)
        _confirm(dataset, store, connection, started)
    return total


def load_or_confirm_facts(
    dataset: Dataset, store: Store, changed: bool, progress: Progress | None = None, pack: PolicyPack | None = None
) -> int:
    """Loads the facts of a dataset that changed or was never loaded; else only confirms those that are there.

    Facts that nobody confirms grow stale (`DATA_STALE`), so this is for every run that looked at the dataset.

    Args:
        dataset: the home's.
        store: its tables exist.
        changed: since its facts were loaded.
        progress: gets one task where they are loaded.
        pack: as for `load_facts`.

    Returns:
        How many rows were loaded.

    Raises:
        DatasetError: a consent is dated in the future; nothing was changed.
    """
    with store.reading() as connection:
        loaded = connection.scalar(select(dataset_facts.c.id)) is not None
    if changed or not loaded:
        return load_facts(dataset, store, progress, pack)
    with store.writing() as connection:
        connection.execute(update(dataset_facts).values(confirmed_at=datetime.now(UTC)))
    return 0


def _load(table: Table, rows: pl.LazyFrame, store: Store, started: datetime) -> int:
    """Writes the rows of one table, and removes those that an earlier load brought and this one did not."""
    total = 0
    for chunk in _chunks(rows, started):
        with store.writing() as connection:
            connection.execute(_statement(table, store), chunk)
        total += len(chunk)
    with store.writing() as connection:
        connection.execute(delete(table).where(table.c.loaded_at < started))
        if table is applications:
            connection.execute(delete(table).where(_converted()))
    return total


def _frame(table: Table, dataset: Dataset, pack: PolicyPack) -> pl.LazyFrame:
    """The dataset's rows in the columns of `table`."""
    if table is customer_facts:
        rows = customer_rows(dataset).rename({EVENT_TIMESTAMP: "updated_at"})
        present = rows.collect_schema().names()
        return rows.with_columns(pl.lit(None).alias(name) for name in FACT_COLUMNS if name not in present)
    if table is holdings:
        rows = held_rows(dataset, pack).rename({"since": "opened_at", "until": "closed_at"})
        return rows.unique([CUSTOMER_ID, PRODUCT_ID, "opened_at"])
    if table is consents:
        if not dataset.has(DatasetTable.CONSENTS):
            return pl.LazyFrame(schema={CUSTOMER_ID: pl.String})
        rows = consent_rows(dataset).rename({EVENT_TIMESTAMP: "given_at"})
        return rows.with_columns(pl.col("channel").fill_null(ALL_CHANNELS))
    rows = declined_rows(dataset) if table is dismissals else pending_rows(dataset)
    return rows.drop("until").rename({"since": _LATEST[table]})


def _chunks(rows: pl.LazyFrame, loaded_at: datetime) -> Iterator[list[dict[str, Any]]]:
    for batch in rows.collect_batches(chunk_size=CHUNK):
        for frame in batch.iter_slices(CHUNK):
            if len(frame):
                yield frame.with_columns(loaded_at=pl.lit(loaded_at)).to_dicts()


def _statement(table: Table, store: Store) -> Any:
    """An upsert by key. Where the app writes too the later row stays; of one time, a refused consent does."""
    statement = store.upsert(table)
    new, old = statement.excluded, table.c
    keys = [column.name for column in table.primary_key]
    values = {column.name: new[column.name] for column in table.columns if column.name not in keys}
    if table not in _LATEST:
        return statement.on_conflict_do_update(index_elements=keys, set_=values)
    at = _LATEST[table]
    newer = new[at] >= old[at]
    if table is consents:
        newer = or_(new[at] > old[at], and_(new[at] == old[at], or_(old.granted, ~new.granted)))
    # a row that an earlier load brought, and that this one has too, is the dataset's whatever its time says
    return statement.on_conflict_do_update(
        index_elements=keys, set_=values, where=or_(newer, old.loaded_at.is_not(None))
    )


def _converted() -> Any:
    """Of an application: the customer has the product since, as an event of the app says."""
    later = holdings.c.opened_at >= applications.c.applied_at
    same = tuple_(holdings.c.customer_id, holdings.c.product_id) == tuple_(
        applications.c.customer_id, applications.c.product_id
    )
    return select(holdings.c.product_id).where(same, later).exists()


def _load_capacity(dataset: Dataset, store: Store, connection: Connection) -> None:
    """What was sold is what the dataset says, and what the app sold after the dataset's end or just confirmed."""
    capacity = _capacities(dataset)
    connection.execute(delete(product_capacity).where(product_capacity.c.product_id.not_in(list(capacity))))
    sold = {row[PRODUCT_ID]: row[TAKEN] for row in taken_rows(dataset).collect().to_dicts()} if capacity else {}
    end = dataset.end() if capacity else None
    for product_id, units in capacity.items():
        since = select(func.count()).where(
            events.c.product_id == product_id,
            events.c.event_type.in_([str(name) for name in ALREADY_HAS_EVENTS]),
            events.c.event_timestamp > end,
        )
        states = {
            state: connection.scalar(
                select(func.count()).where(
                    capacity_reservations.c.product_id == product_id, capacity_reservations.c.state == state
                )
            )
            for state in ("reserved", "confirmed")
        }
        total = sold.get(product_id, 0) + (connection.scalar(since) or 0) + (states["confirmed"] or 0)
        values = {"units": units, "sold": total, "reserved": states["reserved"] or 0}
        statement = store.upsert(product_capacity).values(product_id=product_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=[PRODUCT_ID], set_=values))


def _capacities(dataset: Dataset) -> Mapping[str, int]:
    """How many units of each product may be sold, by its latest row."""
    if "capacity" not in dataset.columns(DatasetTable.PRODUCTS):
        return {}
    latest = pl.col("capacity").sort_by(EVENT_TIMESTAMP).last()
    rows = dataset.scan(DatasetTable.PRODUCTS).group_by(PRODUCT_ID).agg(latest).drop_nulls("capacity").collect()
    return {product_id: int(units) for product_id, units in rows.select(PRODUCT_ID, "capacity").iter_rows()}


def _confirm(dataset: Dataset, store: Store, connection: Connection, at: datetime) -> None:
    values = {
        "keeps_consents": dataset.has(DatasetTable.CONSENTS),
        "kept": orjson.dumps(kept_columns(dataset)).decode(),
        "confirmed_at": at,
    }
    statement = store.upsert(dataset_facts).values(id=1, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def _refuse_future_consents(dataset: Dataset, now: datetime) -> None:
    if not dataset.has(DatasetTable.CONSENTS):
        return
    late = dataset.scan(DatasetTable.CONSENTS).filter(pl.col(EVENT_TIMESTAMP) > now)
    rows = late.select(CUSTOMER_ID, "purpose", EVENT_TIMESTAMP).head(_SHOWN).collect()
    if len(rows):
        found = [
            f"consents.parquet: event_timestamp: {customer} answered about {purpose} at {at}, which is in the future"
            for customer, purpose, at in rows.iter_rows()
        ]
        raise DatasetError(str(dataset.path), found)
