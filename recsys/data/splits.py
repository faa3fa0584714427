"""The one frozen split of a dataset, and the strict order of a customer's events that it rests on."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal

import polars as pl

from recsys.data.columns import TIME_DTYPE
from recsys.data.contract import Dataset, with_weights
from recsys.errors import DatasetError
from recsys.schema import CUSTOMER_ID, EVENT_ID, EVENT_TIMESTAMP, Table

ORDER_TIMESTAMP: Final = "order_timestamp"
PART: Final = "part"
VALIDATION_SHARE: Final = 0.8
TEST_SHARE: Final = 0.9
MINIMUM_FOR_LEAVE_LAST_OUT: Final = 3


class Part(StrEnum):
    """The parts of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class ResolvedSplit:
    """A split whose times are known; both are None for leave_last_out."""

    kind: Literal["global_time", "leave_last_out"]
    validation_start: datetime | None
    test_start: datetime | None

    @property
    def look_ahead(self) -> timedelta:
        """How far ahead its questions look: as long as the validation part is; zero where they ask what comes next."""
        if self.validation_start is None or self.test_start is None:
            return timedelta(0)
        return self.test_start - self.validation_start


def order_timestamps(events: pl.LazyFrame) -> pl.LazyFrame:
    """Adds `order_timestamp`, which puts the events of each customer in one strict order.

    Events of one customer are ordered by event_timestamp, then event_id (data-contract.md); tied times are moved apart
    by the smallest shift: `o[i] = max(t[i], o[i-1] + 1 us)`, that is `o[i] - i` is the running maximum of `t[i] - i`.
    So "strictly before this event" has one meaning even for events of one second. Give it all events, not only the
    positives: the shift of an event depends on those before it.

    >>> from datetime import UTC, datetime
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> ids = {"customer_id": ["a", "a", "b"], "event_id": ["2", "1", "3"]}
    >>> events = pl.LazyFrame(ids | {"event_timestamp": [noon] * 3})
    >>> ordered = order_timestamps(events).sort("event_id").collect()
    >>> ordered["order_timestamp"].dt.microsecond().to_list()
    [0, 1, 0]

    Args:
        events: customer_id, event_id, event_timestamp (Datetime us UTC) and any other columns.

    Returns:
        The same rows sorted by customer, time and id, with `order_timestamp` (Datetime us UTC).
    """
    micros, place = pl.col(EVENT_TIMESTAMP).dt.epoch("us"), pl.int_range(pl.len())
    shifted = ((micros - place).cum_max() + place).over(CUSTOMER_ID)
    ordered = events.sort(CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_ID)
    return ordered.with_columns(shifted.cast(TIME_DTYPE).alias(ORDER_TIMESTAMP))


def resolve_split(dataset: Dataset) -> ResolvedSplit:
    """The dataset's split with its times filled in: by default the 80 % and 90 % points of the positives in time.

    Raises:
        DatasetError: there are no positive events, or a filled-in time falls on the wrong side of the given one.
    """
    split = dataset.config.split
    if split.kind == "leave_last_out" or (split.validation_start and split.test_start):
        return ResolvedSplit(split.kind, split.validation_start, split.test_start)
    times = pl.col(EVENT_TIMESTAMP)
    points = dataset.positives().select(
        times.quantile(VALIDATION_SHARE, "higher").alias("validation"),
        times.quantile(TEST_SHARE, "higher").alias("test"),
    )
    validation, test = points.collect(engine="streaming").row(0)
    if validation is None:
        raise DatasetError(str(dataset.path), ["events.parquet: no positive event, so there is nothing to split"])
    validation, test = split.validation_start or validation, split.test_start or test
    if validation > test:
        finding = f"dataset.yaml: split: validation would start at {validation}, after test at {test}: give both times"
        raise DatasetError(str(dataset.path), [finding])
    return ResolvedSplit(split.kind, validation, test)


def assign_parts(dataset: Dataset) -> pl.LazyFrame:
    """The positive events with weight, `order_timestamp` (over all events of the customer) and `part`.

    global_time: by the two starts. leave_last_out: each customer's last positive is test, the one before validation;
    customers with fewer than 3 positives are all train.

    Raises:
        DatasetError: as `resolve_split`.
    """
    split = resolve_split(dataset)
    events = order_timestamps(dataset.scan(Table.EVENTS))
    part = _leave_last_out() if split.kind == "leave_last_out" else _by_time(split)
    return with_weights(events, dataset.config.event_weights).with_columns(part.alias(PART))


def _by_time(split: ResolvedSplit) -> pl.Expr:
    times = pl.col(EVENT_TIMESTAMP)
    late = pl.when(times >= pl.lit(split.test_start, TIME_DTYPE)).then(pl.lit(Part.TEST.value))
    middle = late.when(times >= pl.lit(split.validation_start, TIME_DTYPE)).then(pl.lit(Part.VALIDATION.value))
    return middle.otherwise(pl.lit(Part.TRAIN.value))


def _leave_last_out() -> pl.Expr:
    """The part of each positive, rows being in the order of `order_timestamps`."""
    size = pl.len().over(CUSTOMER_ID)
    from_end = (pl.len() - 1 - pl.int_range(pl.len())).over(CUSTOMER_ID)
    enough = size >= MINIMUM_FOR_LEAVE_LAST_OUT
    last = pl.when(enough & (from_end == 0)).then(pl.lit(Part.TEST.value))
    return last.when(enough & (from_end == 1)).then(pl.lit(Part.VALIDATION.value)).otherwise(pl.lit(Part.TRAIN.value))
