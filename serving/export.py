"""Brings what the app reported back into the dataset, so that the next training learns from it.

Each event comes with what the decision log says of the place where its item was shown: position, channel, and the
propensity without which no other policy can be judged on it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
import polars as pl
from rich.progress import Progress
from sqlalchemy import Row, select

from recsys.data.append import append_rows, move_end
from recsys.data.columns import DTYPES, SCHEMAS
from recsys.data.contract import Dataset
from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID, Table
from serving.store.database import Store
from serving.store.tables import decisions, events

CHUNK: Final = 10_000
"""Rows held as Python objects at once."""
_SCHEMA: Final = {name: DTYPES[column.type] for name, column in SCHEMAS[Table.EVENTS].columns.items()}
_OWNERS: Final = {CUSTOMER_ID: Table.CUSTOMERS, PRODUCT_ID: Table.PRODUCTS, CONTENT_ID: Table.CONTENTS}


class ExportReport(NamedTuple):
    """What came of an export."""

    read: int
    """Events that the store received since then."""
    added: int
    already_there: int
    with_propensity: int
    """Of those added: how many the decision log ties to what was shown."""
    skipped: dict[str, int]
    """Reason to count: what the contract does not let in."""


class Exporter:
    """Exports events to a dataset directory.

    Args:
        store: has events and decisions.
        dataset: is appended to; the home's own.
        erased: whether a customer must not come back (`recsys.privacy.suppression.SuppressionList`).
    """

    def __init__(self, store: Store, dataset: Dataset, erased: Callable[[str], bool]) -> None:
        self._store = store
        self._dataset = dataset
        self._erased = erased

    def run(self, since: datetime, progress: Progress | None = None) -> ExportReport:
        """Appends the events that were received at or after `since`; those that are there already stay as they are.

        Raises:
            StoreError: the store cannot be read; nothing was written.
            DatasetError: the dataset cannot be appended to; its events are as they were.
        """
        task = progress.add_task("reading events", total=None) if progress else None
        frames = [pl.DataFrame(schema=_SCHEMA)]
        for chunk in self._chunks(since):
            frames.append(chunk)
            if progress and task is not None:
                progress.advance(task, len(chunk))
        found = pl.concat(frames)
        rows, skipped = self._fitting(found)
        present = self._dataset.scan(Table.EVENTS).select("event_id")
        new = rows.lazy().join(present, on="event_id", how="anti").collect(engine="streaming")
        if len(new):
            newest = new["event_timestamp"].max()
            assert isinstance(newest, datetime)  # noqa: S101 - the canonical type of the column
            move_end(self._dataset, newest)  # first: an end that is too late harms nothing, one too early refuses rows
        added = append_rows(self._dataset, Table.EVENTS, new)
        with_propensity = len(new) - new["propensity"].null_count()
        return ExportReport(len(found), added, len(rows) - len(new), with_propensity, skipped)

    def _chunks(self, since: datetime) -> Iterator[pl.DataFrame]:
        shown_at = events.outerjoin(decisions, events.c.decision_id == decisions.c.decision_id)
        statement = (
            select(events, decisions.c.record, decisions.c.payload)
            .select_from(shown_at)
            .where(events.c.received_at >= since)
            .order_by(events.c.received_at, events.c.event_id)
        )
        with self._store.reading() as connection:
            result = connection.execution_options(yield_per=CHUNK).execute(statement)
            for rows in result.partitions():
                yield pl.DataFrame([_contract_row(row) for row in rows], schema=_SCHEMA)

    def _fitting(self, found: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """The rows that the dataset may hold, and why the others may not."""
        reasons: dict[str, pl.Series] = {
            "about no product and no content": found[PRODUCT_ID].is_null() & found[CONTENT_ID].is_null()
        }
        customers = found[CUSTOMER_ID].unique().to_list()
        erased = [customer for customer in customers if self._erased(customer)]
        reasons["of an erased customer"] = found[CUSTOMER_ID].is_in(erased)
        for column, table in _OWNERS.items():
            if self._dataset.has(table):
                known = self._dataset.scan(table).select(pl.col(column).unique()).collect(engine="streaming")[column]
                unknown = ~found[column].is_in(known.to_list()) & found[column].is_not_null()
                reasons[f"of a {table.removesuffix('s')} that the dataset does not have"] = unknown
        kept, skipped = pl.repeat(value=True, n=len(found), eager=True), {}
        for reason, breaks in reasons.items():
            if count := int((kept & breaks).sum()):
                skipped[reason] = count
            kept &= ~breaks
        return found.filter(kept), skipped


def _contract_row(row: Row[Any]) -> dict[str, Any]:
    """An event in the columns of the data contract."""
    values = {name: getattr(row, name) for name in _SCHEMA if hasattr(row, name)}
    values["event_timestamp"] = values["event_timestamp"].astimezone(UTC)
    # What groups the items of one answer is the decision: a client may send one X-Request-Id many times.
    values["request_id"] = row.decision_id
    values["propensity"] = None if row.record is None else _propensity(orjson.loads(row.record)["placements"], row)
    if values["channel"] is None and row.payload is not None:
        values["channel"] = orjson.loads(row.payload).get("request", {}).get("channel")
    return values


def _propensity(placements: Sequence[dict[str, Any]], row: Row[Any]) -> float | None:
    """With what probability the event's item got its place; None where the decision did not show it there."""
    for place in placements:
        for item in place["items"] if place["name"] == row.placement else ():
            if item["rank"] == row.position and item["product_id"] == row.product_id:
                return float(item["propensity"])
    return None
