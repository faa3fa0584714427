"""What sells: counts of positives in the last days, overall and by segment. The simplest recommender, never absent."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from pydantic import Field

from recsys.config import BaseConfig
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP

SEGMENT = "segment"


class PopularityConfig(BaseConfig):
    """How popularity is counted."""

    window_days: float | None = Field(default=30.0, gt=0)
    """Events of the last so many days count in full; None counts all."""
    older_weight: float = Field(default=1e-3, ge=0)
    """Weight of an event before the window: it orders what the window does not tell apart."""
    segment_prior: float = Field(default=20.0, ge=0)
    """Weight, in events, of the overall popularity in a segment's: small segments lean on it."""


class Popularity:
    """Scores of N items by how many positives they had, for everyone and for each segment."""

    def __init__(self, overall: np.ndarray, segments: dict[str, np.ndarray]) -> None:
        """`overall` is [N] float32; `segments` has one such array for each segment."""
        self.overall = overall
        self.segments = segments

    def scores(self, segment: str | None) -> np.ndarray:
        """[N] float32 for a segment; the overall ones where it is unknown."""
        return self.segments.get(segment or "", self.overall)

    @classmethod
    def fit(
        cls, positives: pl.DataFrame, item: str, item_ids: list[str], now: datetime, config: PopularityConfig
    ) -> "Popularity":
        """Counts positives.

        Args:
            positives: columns customer_id, event_timestamp, `item`, and segment where it is known.
            item: the item's column, `product_id` or `content_id`.
            item_ids: the N candidates, in order.
            now: counts look back from here; later events are left out.
            config: window and weights.
        """
        rows = {identifier: row for row, identifier in enumerate(item_ids)}
        events = positives.filter(pl.col(EVENT_TIMESTAMP) < now, pl.col(item).is_in(item_ids))
        index = np.array([rows[identifier] for identifier in events[item].to_list()], np.int64)
        weight = np.ones(len(events))
        if config.window_days is not None:
            recent = (events[EVENT_TIMESTAMP] >= now - timedelta(days=config.window_days)).to_numpy()
            weight = np.where(recent, 1.0, config.older_weight)
        overall = np.bincount(index, weight, minlength=len(item_ids))
        segments: dict[str, np.ndarray] = {}
        if SEGMENT in events.columns:
            share = overall / max(overall.sum(), 1e-12)
            names = events[SEGMENT].fill_null("").to_numpy()
            for name in sorted(set(names) - {""}):
                mine = names == name
                counts = np.bincount(index[mine], weight[mine], minlength=len(item_ids))
                segments[str(name)] = (counts + config.segment_prior * share).astype(np.float32)
        return cls(overall.astype(np.float32), segments)


def latest_segments(customers: pl.LazyFrame, now: datetime) -> pl.DataFrame:
    """customer_id and segment, the latest row before `now`."""
    known = customers.filter(pl.col(EVENT_TIMESTAMP) <= now).sort(EVENT_TIMESTAMP)
    return known.group_by(CUSTOMER_ID).agg(pl.col(SEGMENT).last()).collect()
