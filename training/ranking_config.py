"""Settings of the second stage: what validation chooses among."""

from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.boosted import BoostedConfig
from recsys.ranking.candidates import CandidateConfig
from recsys.ranking.linear import LinearConfig
from recsys.ranking.neighbours import NeighbourConfig
from recsys.ranking.rankers import RankerConfig
from training.interest_config import InterestRecipe
from training.response_config import ResponseRecipe


class FactorsConfig(BaseConfig):
    """Matrix factorisation by alternating least squares."""

    size: int = Field(default=32, ge=0)
    """0: none."""
    iterations: int = Field(default=15, ge=1)


class SourceGrid(BaseConfig):
    """Settings of the simple sources that validation chooses among."""

    ease_l2: tuple[float, ...] = (10.0, 30.0, 100.0, 300.0, 1000.0)
    knn_shrinkage: tuple[float, ...] = (5.0, 20.0, 100.0)
    knn_keep: tuple[int, ...] = (20, 80, 256)
    fewest: int = Field(default=50, ge=1)
    """With fewer questions chance would choose: the settings stay as they are."""
    most: int = Field(default=3000, ge=1)
    """Questions that are asked."""
    most_products: int = Field(default=4000, ge=1)
    """Larger catalogues keep the settings: each try of EASE inverts a [P, P] matrix."""


class TablesConfig(BaseConfig):
    """The simple sources."""

    neighbours: NeighbourConfig = NeighbourConfig()
    factors: FactorsConfig = FactorsConfig()
    grid: SourceGrid = SourceGrid()


class ColdRecipe(BaseConfig):
    """The ranker of products that nobody has touched."""

    enabled: bool = True
    fewest: int = Field(default=100, ge=10)
    """With fewer touched products there is nothing to drill on."""
    most: int = Field(default=5000, ge=10)
    """Larger catalogues have none: it solves dense [P, P] systems."""
    folds: int = Field(default=6, ge=2)
    population: int = Field(default=20_000, ge=10)
    """Customers whose products are looked at."""
    customers: int = Field(default=150, ge=10)
    """Of those, asked about the new products of each fold."""
    models: int = Field(default=4, ge=1)
    """Rankers that are averaged, each of a drill with folds of its own."""
    without_history: float = Field(default=0.1, ge=0, le=1)
    """Share of them whose history is taken away: somebody new asks about something new."""
    trees: BoostedConfig = BoostedConfig(
        objective="lambdarank", leaves=15, rounds=75, learning_rate=0.1, min_rows_in_leaf=1000, feature_share=0.5
    )
    """A leaf of fewer answers than those about several products would know single products by heart."""
    seed: int = 0


class RankingConfig(BaseConfig):
    """The second stage."""

    enabled: bool = True
    candidates: CandidateConfig = CandidateConfig()
    tables: TablesConfig = TablesConfig()
    interest: InterestRecipe = InterestRecipe()
    one_missing: float = Field(default=0.1, ge=0, le=1)
    """Share of the questions that are learned from once more with one modality missing, where validation says that this
    surely helps when one is missing: trees that never saw it missing may not know what to do then. 0: never."""
    cold: ColdRecipe = ColdRecipe()
    response: ResponseRecipe = ResponseRecipe()
    rankers: tuple[RankerConfig, ...] = (
        *(LinearConfig(l2=l2) for l2 in (10.0, 30.0, 100.0)),
        BoostedConfig(),
        BoostedConfig(objective="lambdarank"),
    )
    """Those that are compared."""
    folds: int = Field(default=3, ge=2)
    round_step: int = Field(default=50, ge=1)
    """The number of trees is a multiple of this, at most each ranker's own."""
