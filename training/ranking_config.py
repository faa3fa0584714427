"""Settings of the second stage: what validation chooses among."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.candidates import CandidateConfig
from recsys.ranking.neighbours import NeighbourConfig
from training.interest_config import InterestRecipe


class FactorsConfig(BaseConfig):
    """Matrix factorisation by alternating least squares."""

    size: int = Field(default=32, ge=0)
    """0: none."""
    iterations: int = Field(default=15, ge=1)


class TablesConfig(BaseConfig):
    """The simple sources."""

    neighbours: NeighbourConfig = NeighbourConfig()
    factors: FactorsConfig = FactorsConfig()


class RankingConfig(BaseConfig):
    """The second stage."""

    enabled: bool = True
    candidates: CandidateConfig = CandidateConfig()
    tables: TablesConfig = TablesConfig()
    interest: InterestRecipe = InterestRecipe()
    rankers: tuple[BoostedConfig, ...] = (BoostedConfig(), BoostedConfig(objective="lambdarank"))
    """Those that are compared."""
    folds: int = Field(default=3, ge=2)
    round_step: int = Field(default=50, ge=1)
    """The number of trees is a multiple of this, at most each ranker's own."""
