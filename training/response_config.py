"""Settings of the response model: what validation chooses among."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.heads import NetworkConfig


class ResponseRecipe(BaseConfig):
    """How the response model is fitted."""

    enabled: bool = True
    exposures: int = Field(default=80_000, ge=1000)
    """Of the training part, at most about so many."""
    clicked: int = Field(default=40_000, ge=0)
    """Of the training part, at most about so many others that were clicked: for the heads of what comes of a click."""
    later: int = Field(default=30_000, ge=1000)
    """Of each later part."""
    fewest: int = Field(default=300, ge=1)
    """With fewer clicks in the training or in the validation part there is no such model."""
    fewest_of_family: int = Field(default=200, ge=10)
    """A family with fewer outcomes is calibrated with all the others."""
    customer_directions: int = Field(default=32, ge=1)
    product_directions: int = Field(default=8, ge=1)
    creative_directions: int = Field(default=16, ge=1)
    trees: tuple[BoostedConfig, ...] = (
        BoostedConfig(leaves=4, rounds=60, min_rows_in_leaf=30, feature_share=0.3),
        BoostedConfig(leaves=7, rounds=150, feature_share=0.4),
    )
    """Those that are tried for each head, beside its average."""
    network: NetworkConfig = NetworkConfig()
    candidates: int = Field(default=40, ge=1)
    """How many creatives of a request are looked at."""
    folds: int = Field(default=5, ge=2)
    """By which the method of calibration, and the blend with the ranking, are chosen."""
    fewest_applications: int = Field(default=10, ge=1)
    """With fewer in the test part nothing is blended."""
    held_to_response: float = Field(default=4.0, gt=0)
    """Precision of the prior that the response model alone says what follows a contact."""
