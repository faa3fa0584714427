"""The experiment inside the history: which products a request showed was drawn, so each request is a trial of them.

A row is a request and a product that the same customer was shown before (so that the policy may draw it), has neither
applied for nor dismissed, and that somebody is shown later still (so that it is on sale). Treated: this request drew
it. Outcome: an application for it within the horizon. The chance of being drawn is the share within the stratum of all
that the drawing looked at; rows that are not treated are thinned, and the propensity is that of the thinned table
(Elkan 2001, theorem 2), so 1 / propensity weights it back to a fair trial.
"""

import numpy as np
import polars as pl
from pydantic import AwareDatetime, Field

from recsys.config import BaseConfig
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType

AT = "at"
PERIOD = "period"
TREATED, OUTCOME, PROPENSITY = "treated", "outcome", "propensity"
_PAIR = [CUSTOMER_ID, PRODUCT_ID]


class HistoryConfig(BaseConfig):
    """What counts as a trial."""

    horizon_days: int = Field(default=14, ge=1)
    """Days after the request in which an application counts."""
    strata: tuple[str, ...] = ("arm", "segment", "channel", PRODUCT_ID, PERIOD)
    """Columns on which the drawing depended."""
    period_days: int = Field(default=30, ge=1)
    """Length of a `period`: who may be shown what changes with time, and with it the chance of being drawn."""
    cuts: tuple[AwareDatetime, ...] = ()
    """Instants at which a new period begins: what is learned from and what is compared on must each be a fair trial,
    and a product that comes on sale or sells out inside a period is drawn unevenly in its halves."""
    least_rows: int = Field(default=40, ge=2)
    """Rows of a stratum below which its share of treated says too little."""
    controls_per_treated: float = Field(default=2.0, gt=0)
    """How many rows that are not treated are kept for each treated one."""
    most_requests: int = Field(default=60_000, ge=1)
    """More requests are thinned to this many; bounds the memory."""
    seed: int = Field(default=0, ge=0)


def trials(events: pl.DataFrame, customers: pl.DataFrame, config: HistoryConfig) -> pl.DataFrame:
    """The trials of a history, in the order of time; empty where no request was logged with its propensities.

    Args:
        events: of the data contract; `request_id`, `propensity`, `channel` and `arm` say what was drawn.
        customers: one row per customer, with the columns of the strata that the events do not have.
        config: see there.

    Returns:
        customer_id, product_id, channel, the strata, at (datetime), treated (bool), outcome (0 or 1),
        propensity (0 to 1, of the thinned table).
    """
    needed = {"request_id", "propensity", "channel", "arm"}
    if not needed <= set(events.columns):
        return pl.DataFrame(schema=_schema(config))
    drawn = events.filter(
        (pl.col(EVENT_TYPE) == EventType.IMPRESSION)
        & pl.col("propensity").is_not_null()
        & pl.col(PRODUCT_ID).is_not_null()
    )
    if drawn.is_empty():
        return pl.DataFrame(schema=_schema(config))
    open_pairs = _open_pairs(drawn, events, config)
    traits = [name for name in config.strata if name not in open_pairs.columns]
    if traits:
        open_pairs = open_pairs.join(customers.select(CUSTOMER_ID, *traits), on=CUSTOMER_ID, how="inner")
    horizon = pl.duration(days=config.horizon_days)
    last = events[EVENT_TIMESTAMP].max()
    rows = open_pairs.filter(pl.col(AT) + horizon <= pl.lit(last))
    rows = _with_outcome(rows, _applications(events), config.horizon_days)
    return _thinned(_with_propensity(rows, config), config)


def _schema(config: HistoryConfig) -> dict[str, pl.DataType]:
    texts = dict.fromkeys((CUSTOMER_ID, PRODUCT_ID, "channel", *config.strata), pl.String())
    numbers = {TREATED: pl.Boolean(), OUTCOME: pl.Float64(), PROPENSITY: pl.Float64()}
    return {**texts, AT: pl.Datetime("us", "UTC"), **numbers}


def _applications(events: pl.DataFrame) -> pl.DataFrame:
    return (
        events.filter(pl.col(EVENT_TYPE).is_in([EventType.APPLY, EventType.CONVERT]) & pl.col(PRODUCT_ID).is_not_null())
        .group_by(_PAIR)
        .agg(pl.col(EVENT_TIMESTAMP).min().alias("applied"))
    )


def _open_pairs(drawn: pl.DataFrame, events: pl.DataFrame, config: HistoryConfig) -> pl.DataFrame:
    """Every request with each product that its customer was shown earlier and has not applied for."""
    keys = ["request_id", CUSTOMER_ID]
    requests = drawn.group_by(keys).agg(pl.col(EVENT_TIMESTAMP).min().alias(AT), pl.col("channel", "arm").first())
    requests = requests.sort("request_id")
    if len(requests) > config.most_requests:
        requests = requests.sample(config.most_requests, seed=config.seed)
    shown = drawn.group_by(_PAIR).agg(pl.col(EVENT_TIMESTAMP).min().alias("first_shown"))
    on_sale = drawn.group_by(PRODUCT_ID).agg(pl.col(EVENT_TIMESTAMP).max().alias("last_shown"))
    dismissed = events.filter(pl.col(EVENT_TYPE) == EventType.DISMISS).group_by(_PAIR)
    dismissals = dismissed.agg(pl.col(EVENT_TIMESTAMP).min().alias("dismissed"))
    hits = drawn.select("request_id", PRODUCT_ID, pl.lit(value=True).alias(TREATED)).unique()
    return (
        requests.join(shown, on=CUSTOMER_ID)
        .filter(pl.col("first_shown") < pl.col(AT))
        .join(_applications(events), on=_PAIR, how="left")
        .filter(pl.col("applied").is_null() | (pl.col("applied") > pl.col(AT)))
        .join(dismissals, on=_PAIR, how="left")
        .filter(pl.col("dismissed").is_null() | (pl.col("dismissed") > pl.col(AT)))
        .join(on_sale, on=PRODUCT_ID)
        .filter(pl.col("last_shown") >= pl.col(AT))
        .join(hits, on=["request_id", PRODUCT_ID], how="left")
        .with_columns(
            pl.col(TREATED).fill_null(value=False),
            _period(config).alias(PERIOD),
        )
        .drop("applied", "first_shown", "dismissed", "last_shown")
    )


def _period(config: HistoryConfig) -> pl.Expr:
    """The number of the period, with how many of the cuts came before."""
    passed = sum((pl.col(AT) >= cut for cut in config.cuts), start=pl.lit(0))
    return pl.format("{}/{}", pl.col(AT).dt.epoch("d") // config.period_days, passed)


def _with_outcome(rows: pl.DataFrame, applications: pl.DataFrame, days: int) -> pl.DataFrame:
    within = pl.col("applied") <= pl.col(AT) + pl.duration(days=days)
    joined = rows.join(applications, on=_PAIR, how="left")
    return joined.with_columns(within.fill_null(value=False).cast(pl.Float64).alias(OUTCOME)).drop("applied")


def _with_propensity(rows: pl.DataFrame, config: HistoryConfig) -> pl.DataFrame:
    """Share of treated in the stratum. Strata of few rows or of one side are left out: they tell no chance.

    How few is asked of the rows and not of the treated, or the treated of small strata would look likelier than they
    are.
    """
    share = pl.col(TREATED).mean().over(config.strata)
    enough = pl.len().over(config.strata) >= config.least_rows
    told = rows.with_columns(share.alias(PROPENSITY), enough.alias("enough"))
    return told.filter("enough", (pl.col(PROPENSITY) > 0) & (pl.col(PROPENSITY) < 1)).drop("enough")


def _thinned(rows: pl.DataFrame, config: HistoryConfig) -> pl.DataFrame:
    treated, others = int(rows[TREATED].sum()), int((~rows[TREATED]).sum())
    keep = min(1.0, config.controls_per_treated * treated / max(others, 1))
    rows = rows.sort(AT, "request_id", PRODUCT_ID)
    # no hash of the row: polars' hash of two columns keeps far more of some products than of others
    chance = np.random.default_rng(config.seed).random(len(rows))
    kept = rows.filter(pl.col(TREATED) | (pl.Series(chance) < keep))
    share = int((~kept[TREATED]).sum()) / max(others, 1)  # what was kept, which is not quite what was meant to be
    of_thinned = pl.col(PROPENSITY) / (pl.col(PROPENSITY) + share * (1 - pl.col(PROPENSITY)))
    names = list(_schema(config))
    return kept.with_columns(of_thinned.alias(PROPENSITY)).select(names)
