"""Which events are learned from, and by which window of history each is predicted.

A label is a positive event; its features are those of one microsecond before it, in the strict order of the
customer's events. Encoding a history for every label would cost `history_length` steps a label, so labels share
windows: an *anchor* label's history, read point-in-time like every feature, also holds the labels shortly before it,
and the causal encoder's state before each of them is that label's history. Every label belongs to one window.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl

from recsys.data.splits import ORDER_TIMESTAMP, PART, Part
from recsys.modeling.encoding import EntityRows
from recsys.modeling.reader import HistoryArrays
from recsys.schema import CUSTOMER_ID, EVENT_ID, PRODUCT_ID
from training.ragged import Ragged

ROW_ID = "row_id"
ANCHOR = "anchor"
WINDOW = "history_window"
POSITION = "history_position"
_BATCHES_SORTED_TOGETHER = 8


def select_labels(
    parts: pl.DataFrame, keep: tuple[Part, ...], stride: int, lead: timedelta = timedelta(0)
) -> pl.DataFrame:
    """The labels of the given parts, each with the row_id of its window's anchor.

    Who is asked about long before he acts has not looked at the product yet. Who applies for a product has mostly
    clicked on it a minute before, and from such labels a model learns no more than that. So where questions look
    ahead, the features of a label are those of before the customer first touched its product within `lead`.

    Args:
        parts: positives with order_timestamp and part, as `recsys.data.splits.assign_parts` makes them.
        keep: the parts to learn from.
        stride: at most so many labels share a window.
        lead: how far the questions look ahead; zero where they ask what comes next.

    Returns:
        The kept rows in customer and time order with `row_id`, `anchor` and `event_timestamp` (point in time of the
        features: one microsecond before the label, or before the first touch of its product within `lead`).
    """
    labels = parts.filter(pl.col(PART).is_in([str(part) for part in keep])).sort(CUSTOMER_ID, ORDER_TIMESTAMP)
    from_end = (pl.len() - 1 - pl.int_range(pl.len())).over(CUSTOMER_ID)
    return (
        labels.with_row_index(ROW_ID)
        .with_columns(pl.col(ROW_ID).cast(pl.Int64), bucket=from_end // stride)
        .with_columns(
            pl.col(ROW_ID).max().over(CUSTOMER_ID, "bucket").alias(ANCHOR),
            event_timestamp=point_in_time(pl.col(ORDER_TIMESTAMP) if lead == timedelta(0) else _first_touch(lead)),
        )
        .drop("bucket")
    )


def _first_touch(lead: timedelta) -> pl.Expr:
    """The first time within `lead` before a label that its customer took an interest in its product."""
    first = pl.col(ORDER_TIMESTAMP).rolling_min_by(ORDER_TIMESTAMP, window_size=lead, closed="both")
    return pl.when(pl.col(PRODUCT_ID).is_null()).then(ORDER_TIMESTAMP).otherwise(first.over(CUSTOMER_ID, PRODUCT_ID))


def point_in_time(order_timestamp: pl.Expr) -> pl.Expr:
    """The last instant strictly before an event."""
    return order_timestamp - pl.duration(microseconds=1)


def locate_labels(labels: pl.DataFrame, anchors: pl.DataFrame) -> pl.DataFrame:
    """Finds each label in the history of its window's anchor.

    Args:
        labels: as `select_labels` returns them.
        anchors: row_id of every anchor and the `event_ids` of its history, oldest first.

    Returns:
        row_id, `history_window` (row of `anchors`) and `history_position` (the state before the label): one row per
        label that is its window's anchor or in its history. What has no event_id is no event and in no history: it gets
        the whole window, which `Labels.read_at` cuts at its instant.
    """
    windows = anchors.with_row_index(WINDOW).with_columns(
        pl.col(WINDOW).cast(pl.Int64), length=pl.col("event_ids").list.len().fill_null(0).cast(pl.Int64)
    )
    placed = labels.select(ROW_ID, ANCHOR, EVENT_ID).join(
        windows.select(WINDOW, "length", pl.col(ROW_ID).alias(ANCHOR)), on=ANCHOR
    )
    last = (pl.col(ROW_ID) == pl.col(ANCHOR)) | pl.col(EVENT_ID).is_null()
    own = placed.filter(last).select(ROW_ID, WINDOW, pl.col("length").alias(POSITION))
    entries = (
        windows.select(WINDOW, pl.col("event_ids").alias(EVENT_ID), pl.int_ranges("length").alias(POSITION))
        .filter(pl.col(EVENT_ID).list.len() > 0)
        .explode(EVENT_ID, POSITION)
    )
    inner = placed.filter(~last).join(entries, on=[WINDOW, EVENT_ID])
    return pl.concat([own, inner.select(ROW_ID, WINDOW, POSITION)]).sort(ROW_ID)


@dataclass(frozen=True)
class Labels:
    """E labels as arrays; all [E]."""

    product: np.ndarray
    """int64 row of the catalogue, -1 = none."""
    content: np.ndarray
    """int64 row, -1 = none."""
    weight: np.ndarray
    """float32 > 0."""
    channel: np.ndarray
    """int64, 0 = none."""
    customer: np.ndarray
    """int64 customer_index."""
    window: np.ndarray
    """int64 row of the windows."""
    position: np.ndarray
    """int64 state of the window that is the history before the label."""
    row: np.ndarray
    """int64 row of the customers' columns."""

    def read_at(self, instants: np.ndarray, windows: HistoryArrays) -> "Labels":
        """The same, with the histories cut at [E] instants (epoch µs).

        A label whose window does not reach back so far, though his history does, is left out.
        """
        times = windows.timestamp[self.window]
        steps = np.arange(times.shape[1])[None, :]
        position = ((steps < self.position[:, None]) & (times <= instants[:, None])).sum(axis=1)
        cut_off = (position == 0) & (self.position > 0) & (windows.length[self.window] == times.shape[1])
        return replace(self, position=position).take(np.flatnonzero(~cut_off))

    def take(self, index: np.ndarray) -> "Labels":
        """Labels `index`."""
        return Labels(**{name: values[index] for name, values in vars(self).items()})

    def __len__(self) -> int:
        return len(self.product)


@dataclass(frozen=True)
class TrainingSet:
    """Everything that one epoch reads."""

    labels: Labels
    columns: EntityRows
    """The customers' columns, one row per distinct state."""
    windows: HistoryArrays
    own_products: Ragged
    """By customer_index: what the customer has, which is no negative for him."""
    product_counts: np.ndarray
    """[P] float64: labels of each product; products without any are no negatives."""
    content_counts: np.ndarray
    """[C] float64."""
    customer_ids: tuple[str, ...] = ()
    """By customer_index."""

    def batches(self, labels_per_batch: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Shuffled windows, cut so that each batch has about `labels_per_batch` labels; yields label rows.

        Windows of like length come together, a few batches' worth at a time: a batch is padded to its longest history.
        """
        order = np.argsort(self.labels.window, kind="stable")
        counts = np.bincount(self.labels.window, minlength=len(self.windows.length))
        starts = np.cumsum(counts) - counts
        shuffled = generator.permutation(np.flatnonzero(counts))
        shelf = (np.cumsum(counts[shuffled]) - 1) // (labels_per_batch * _BATCHES_SORTED_TOGETHER)
        alike = shuffled[np.lexsort((self.windows.length[shuffled], shelf))]
        cut = (np.cumsum(counts[alike]) - 1) // labels_per_batch
        groups = np.split(alike, np.flatnonzero(np.diff(cut)) + 1)
        for index in generator.permutation(len(groups)):
            yield np.concatenate([order[starts[w] : starts[w] + counts[w]] for w in groups[index]])
