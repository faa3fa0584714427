"""One event more: what the next build would say of a customer's history and behaviour, computed at once.

Serving applies these to the online rows, so that the next answer knows what the customer just did. Two things are left
to the build: what falls out of a window as time passes, and the exact microsecond among several tied events.
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from recsys.errors import FeatureError
from recsys.features.behaviour import LAST_EVENT, LAST_POSITIVE, TOTAL, count_name
from recsys.features.history import (
    CONTENT_IDS,
    EVENT_IDS,
    EVENT_TYPES,
    EVER_LENGTH,
    NOT_IN_HISTORY,
    PRODUCT_IDS,
    PRODUCTS_EVER,
    TIMESTAMPS,
)
from recsys.features.spec import FeatureView
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, FeatureKind

Row = dict[str, Any]
"""customer_id, event_timestamp (an aware datetime) and the columns of a view."""
_ENTRIES: Final = (PRODUCT_IDS, CONTENT_IDS, EVENT_TYPES, EVENT_IDS, TIMESTAMPS)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class EventUpdate(NamedTuple):
    """An event as it comes in."""

    event_id: str
    event_timestamp: datetime
    """With a time zone."""
    event_type: str
    product_id: str | None = None
    content_id: str | None = None
    positive: bool = False
    """Whether the dataset gives its type a weight above 0."""


def empty_history(customer_id: str) -> Row:
    """The history of a customer who has done nothing yet."""
    lists: Row = {name: [] for name in (*_ENTRIES, PRODUCTS_EVER)}
    return {CUSTOMER_ID: customer_id, EVENT_TIMESTAMP: _EPOCH, **lists}


def empty_behaviour(customer_id: str, view: FeatureView) -> Row:
    """The behaviour of a customer who has done nothing yet: counts of 0, no times."""
    columns = {column.name: 0.0 if column.kind is FeatureKind.NUMERIC else None for column in view.columns}
    return {CUSTOMER_ID: customer_id, EVENT_TIMESTAMP: _EPOCH, **columns}


def apply_event_to_history(row: Row, event: EventUpdate, length: int) -> Row:
    """The history with the event in its place in time.

    An impression, an event that is there already, and one that is older than a full history leave it as it is, except
    that a product taken up for the first time counts among `products_ever` however late its event comes; so the same
    event may come any number of times. Of two events of one time the one with the smaller id comes first.

    Args:
        row: the stored row, or `empty_history`.
        event: what happened.
        length: entries to keep.

    Returns:
        A new row, or `row` itself where nothing changes.
    """
    if event.event_type in NOT_IN_HISTORY or event.event_id in row[EVENT_IDS]:
        return row
    row = _with_product(row, event)
    micros = _micros(event)
    place = bisect_left(list(zip(row[TIMESTAMPS], row[EVENT_IDS], strict=True)), (micros, event.event_id))
    if place == 0 and len(row[EVENT_IDS]) >= length:
        return row
    entry = {
        PRODUCT_IDS: event.product_id or "",
        CONTENT_IDS: event.content_id or "",
        EVENT_TYPES: event.event_type,
        EVENT_IDS: event.event_id,
        TIMESTAMPS: micros,
    }
    lists = {name: [*row[name][:place], value, *row[name][place:]] for name, value in entry.items()}
    lists[TIMESTAMPS] = _strictly_increasing(lists[TIMESTAMPS])
    kept = {name: values[-length:] for name, values in lists.items()}
    return {**row, **kept, EVENT_TIMESTAMP: _EPOCH + timedelta(microseconds=kept[TIMESTAMPS][-1])}


def _with_product(row: Row, event: EventUpdate) -> Row:
    """The row with the product among all that the customer took up; a row that an older build wrote has none yet."""
    ever = row.get(PRODUCTS_EVER) or []
    if not (event.positive and event.product_id) or event.product_id in ever:
        return row
    return {**row, PRODUCTS_EVER: [*ever, event.product_id][-EVER_LENGTH:]}


def apply_event_to_behaviour(row: Row, event: EventUpdate, window_days: tuple[int, ...]) -> Row:
    """The behaviour with the event counted. Give it each event once: a row of counts cannot tell.

    A late event counts in the windows that it falls into as seen from the newest event. A type that no event of the
    dataset had has no column until the next build.

    Args:
        row: the stored row, or `empty_behaviour`.
        event: what happened.
        window_days: the windows of the build.

    Returns:
        A new row.
    """
    seconds = _micros(event) // 1_000_000
    newest = max(row[EVENT_TIMESTAMP], event.event_timestamp)
    changed: Row = {EVENT_TIMESTAMP: newest, TOTAL: (row[TOTAL] or 0.0) + 1.0}
    for days in window_days:
        name = count_name(event.event_type, days)
        if name in row and event.event_timestamp > newest - timedelta(days=days):
            changed[name] = (row[name] or 0.0) + 1.0
    changed[LAST_EVENT] = max(row[LAST_EVENT] or seconds, seconds)
    if event.positive:
        changed[LAST_POSITIVE] = max(row[LAST_POSITIVE] or seconds, seconds)
    return {**row, **changed}


def _micros(event: EventUpdate) -> int:
    if event.event_timestamp.tzinfo is None:
        raise FeatureError(f"event {event.event_id}: event_timestamp {event.event_timestamp} has no time zone")
    return (event.event_timestamp - _EPOCH) // timedelta(microseconds=1)


def _strictly_increasing(times: list[int]) -> list[int]:
    """Tied times moved apart by the smallest shift, as `recsys.data.splits.order_timestamps` does."""
    moved = times[:1]
    for time in times[1:]:
        moved.append(max(time, moved[-1] + 1))
    return moved
