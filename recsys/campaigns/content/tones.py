"""Which tones a segment answers to, estimated from logged responses and shrunk towards what all segments show."""

from typing import Final

import polars as pl

from recsys.config import BaseConfig
from recsys.errors import FeatureError

TONE_SCHEMA: Final = pl.Schema(
    {"segment": pl.String(), "tone": pl.String(), "shown": pl.Float64(), "lift": pl.Float64()}
)
"""shown: effective number of exposures; lift: response rate over the segment's own, 1 = no difference."""


class ToneConfig(BaseConfig):
    """How much evidence a tone needs before it leaves the average."""

    strength: float = 400.0
    """Exposures that the prior counts as: a cell of this many stands half-way."""


def estimate_tone_lifts(responses: pl.DataFrame, config: ToneConfig | None = None) -> pl.DataFrame:
    """Lift of each tone in each segment, shrunk twice: tone towards 1, then segment x tone towards its tone.

    Args:
        responses: one row an exposure: segment, tone, response (0 or 1) and, where the log has propensities, `weight`
            (1 / propensity), which undoes the old policy's favourites.
        config: the strength of the prior.

    Returns:
        TONE_SCHEMA, sorted by segment and tone.

    Raises:
        FeatureError: a column is missing.

    The posterior mean of a gamma-Poisson model (Robbins 1956; DuMouchel 1999, "Bayesian data mining"): with E the
    responses expected at the segment's own rate, lift = (observed + k) / (expected + k), k in expected responses.
    """
    missing = sorted({"segment", "tone", "response"} - set(responses.columns))
    if missing:
        raise FeatureError(
            f"tone responses lack {', '.join(missing)}: one row an exposure with segment, tone, response"
        )
    weight = pl.col("weight") if "weight" in responses.columns else pl.lit(1.0)
    strength = (config or ToneConfig()).strength
    cells = (
        responses.with_columns(weight.alias("w"))
        .group_by("segment", "tone")
        .agg(
            (pl.col("w").sum() ** 2 / (pl.col("w") ** 2).sum()).alias("shown"),
            ((pl.col("w") * pl.col("response")).sum() / pl.col("w").sum()).alias("rate"),
        )
        .with_columns(_segment_rate().alias("base"))
        .with_columns(
            (pl.col("rate") * pl.col("shown")).alias("observed"), (pl.col("base") * pl.col("shown")).alias("expected")
        )
    )
    prior = pl.col("base").mean() * strength
    tone = (pl.col("observed").sum().over("tone") + prior) / (pl.col("expected").sum().over("tone") + prior)
    lift = (pl.col("observed") + prior * pl.col("tone_lift")) / (pl.col("expected") + prior)
    return (
        cells.with_columns(tone.alias("tone_lift"))
        .with_columns(lift.fill_nan(1.0).alias("lift"))
        .select(TONE_SCHEMA.names())
        .cast(dict(TONE_SCHEMA))  # type: ignore[arg-type]
        .sort("segment", "tone")
    )


def rank_tones(lifts: pl.DataFrame, segment: str, tones: list[str]) -> list[str]:
    """`tones` from the one that `segment` answers to most; a tone without evidence counts 1, ties keep their order."""
    known = dict(lifts.filter(pl.col("segment") == segment).select("tone", "lift").iter_rows())
    return sorted(tones, key=lambda tone: -known.get(tone, 1.0))


def _segment_rate() -> pl.Expr:
    total = (pl.col("rate") * pl.col("shown")).sum().over("segment")
    return total / pl.col("shown").sum().over("segment")
