"""The settings of the fairness report."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.metrics.fairness import FOUR_FIFTHS


class FairnessConfig(BaseConfig):
    """How groups are measured; which columns make groups is the policy pack's business."""

    customers: int = Field(default=4000, ge=100)
    """At most so many customers, drawn at random, are ranked for to measure exposure, steering and the probe."""
    bootstrap_samples: int = Field(default=1000, ge=100)
    minimum_group: int = Field(default=10, ge=10)
    """A smaller group is masked: its numbers would be about persons."""
    most_groups: int = Field(default=30, ge=2)
    """A column with more values (names, addresses) makes no groups."""
    alarm_below: float = Field(default=FOUR_FIFTHS, gt=0, le=1)
    """Ratio of exposures at which the alarm is raised."""
    folds: int = Field(default=5, ge=2)
    """Of the probe's cross-validation."""
    permutations: int = Field(default=3, ge=1)
    """Shuffles of the labels that the probe is compared with."""
