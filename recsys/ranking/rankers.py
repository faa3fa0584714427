"""The rankers that a second stage can have: one of few weights, and trees."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.linear import LinearConfig, LinearRanker

Ranker = LinearRanker | BoostedRanker


def _kind(config: Any) -> str:
    """Trees, unless the objective is the linear ranker's: a recipe that names none means trees."""
    objective = config.get("objective") if isinstance(config, dict) else getattr(config, "objective", None)
    return "linear" if objective == "conditional" else "trees"


RankerConfig = Annotated[
    Annotated[LinearConfig, Tag("linear")] | Annotated[BoostedConfig, Tag("trees")], Discriminator(_kind)
]


def fit_ranker(
    rows: RankingRows,
    names: tuple[str, ...],
    config: LinearConfig | BoostedConfig,
    seed: int = 0,
    threads: int = 1,
) -> Ranker:
    """Learns from rows, whose features have these names."""
    if isinstance(config, LinearConfig):
        return LinearRanker.fit(rows, names, config, seed)
    return BoostedRanker.fit(rows, config, seed, threads)


def load_ranker(text: str) -> Ranker:
    """The ranker of a bundle's text.

    Raises:
        ModelError: it cannot be read.
    """
    return LinearRanker.parse(text) if text.lstrip().startswith("{") else BoostedRanker(text)
