"""Which positives are learned from: all of them by default, fewer where the worth of labels is measured."""

import polars as pl
from pydantic import Field

from recsys.config import BaseConfig
from recsys.data.splits import PART, Part
from recsys.schema import CUSTOMER_ID, EVENT_TYPE, EventType

_ACQUISITIONS = (EventType.APPLY.value, EventType.CONVERT.value)
_BUCKETS = 10_000


class LabelsConfig(BaseConfig):
    """How many labels there are, and whether behaviour that is no label teaches the model too."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Of the customers of the training part, those whose acquisitions are labels. The others' are hidden."""
    next_event: bool = True
    """Predict events that are no acquisition as well (views, clicks): self-supervision by what comes next, which needs
    no label."""


def choose_labels(parts: pl.DataFrame, config: LabelsConfig) -> pl.DataFrame:
    """The positives that remain; those of the validation and test part all do.

    Where a dataset has no acquisitions, every positive counts as one.

    Args:
        parts: positives with customer_id, event_type and part.
        config: what to keep.
    """
    acquired = pl.col(EVENT_TYPE).is_in(_ACQUISITIONS)
    if not parts.select(acquired.any()).item():
        acquired = pl.lit(value=True)
    keep = ~acquired & config.next_event
    if config.share < 1:
        keep |= acquired & (pl.col(CUSTOMER_ID).hash(seed=0) % _BUCKETS < config.share * _BUCKETS)
    else:
        keep |= acquired
    return parts.filter((pl.col(PART) != str(Part.TRAIN)) | keep)
