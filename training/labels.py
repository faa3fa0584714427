"""Which positives are learned from: all of them by default, fewer where the worth of labels is measured.

Where there are acquisitions (apply, convert), they are the labels, and all other behaviour is unlabelled; elsewhere
every positive is a label. A label that is hidden is hidden from everything that learns: the towers, the sources and
rankers of the second stage, the choice on validation and popularity. It stays visible as an *input* (in the histories
and counts of its own customer), as anybody's behaviour is when the model serves.
"""

import polars as pl
from pydantic import Field

from recsys.config import BaseConfig
from recsys.schema import CUSTOMER_ID, EVENT_TYPE, EventType

ACQUISITIONS = (EventType.APPLY.value, EventType.CONVERT.value)
"""In a bank, the events that are labels."""
_BUCKETS = 10_000


class LabelsConfig(BaseConfig):
    """How many labels there are, and whether behaviour that is no label teaches the model too."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Of the customers, those whose acquisitions are labels. The others' are hidden; they are still asked about."""
    next_event: bool = True
    """Predict events that are no acquisition as well (views, clicks) beside the labels: self-supervision by what comes
    next, which needs no label."""


def choose_labels(parts: pl.DataFrame, config: LabelsConfig) -> pl.DataFrame:
    """The positives that are learned from.

    Args:
        parts: positives with customer_id and event_type.
        config: what to keep.
    """
    acquired = pl.col(EVENT_TYPE).is_in(ACQUISITIONS)
    if not parts.select(acquired.any()).item():
        acquired = pl.lit(value=True)
    return parts.filter((~acquired & config.next_event) | (acquired & _labelled(config)))


def teachers(parts: pl.DataFrame, config: LabelsConfig) -> set[str]:
    """The customers whose answers may be learned from, of those with positives in `parts`."""
    return set(parts.filter(_labelled(config))[CUSTOMER_ID].to_list())


def _labelled(config: LabelsConfig) -> pl.Expr:
    """By the hash of the customer: the labels of a smaller share are among those of a larger one."""
    if config.share == 1:
        return pl.lit(value=True)
    return pl.col(CUSTOMER_ID).hash(seed=0) % _BUCKETS < config.share * _BUCKETS
