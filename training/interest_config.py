"""Settings of the model of interest."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.affinity import AffinityConfig
from recsys.ranking.boosted import BoostedConfig


class InterestRecipe(BaseConfig):
    """How the model of interest is fitted."""

    enabled: bool = True
    questions: int = Field(default=6000, ge=0)
    """At most so many about earlier times, the latest."""
    fewest: int = Field(default=300, ge=1)
    """With fewer there is no such model."""
    negatives: int = Field(default=60, ge=1)
    """Allowed products drawn for each question beside its answers; where there are no more, all."""
    customer_directions: int = Field(default=32, ge=1)
    product_directions: int = Field(default=8, ge=1)
    affinity: AffinityConfig = AffinityConfig()
    trees: BoostedConfig = BoostedConfig(leaves=15, rounds=400, feature_share=0.4)
