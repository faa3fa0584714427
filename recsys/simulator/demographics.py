"""Sex and date of birth: what the bank knows, no model may read, and the fairness report measures by.

dataset.yaml does not declare them, so nothing is learned from them. Sex has no part in anything else of the simulated
world: what differs by it is chance. Age follows the life stage, which moves needs and behaviour.
"""

from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.bank import seed_of
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.customers import Population
from recsys.simulator.journal import customer_id
from recsys.simulator.products import UTC_TIME

_SEXES: Final = ("female", "male", "diverse")
_SHARES: Final = (0.5, 0.49, 0.01)
_AGES: Final = ((18, 25), (22, 34), (26, 40), (27, 43), (34, 55), (42, 60), (50, 68), (62, 90))
"""Youngest and oldest of each life stage, in years."""
_MINOR_AGES: Final = (14, 18)
_DAYS_A_YEAR: Final = 365.25
_PART: Final = 7
"""Of the bank's seed: these draws leave all others as they are."""


def demographics(people: Population, config: SimulatorConfig, block: int) -> pl.DataFrame:
    """customer_id, sex and birth_date of the customers of one block."""
    rng = np.random.default_rng(seed_of(config, _PART, block))
    sex = rng.choice(len(_SEXES), people.count, p=_SHARES)
    bounds = np.where(people.minor[:, None], _MINOR_AGES, np.array(_AGES)[people.traits.stage])
    years = rng.uniform(bounds[:, 0], bounds[:, 1])
    days = pl.Series("days", -np.ceil(years * _DAYS_A_YEAR).astype(np.int64))
    born = pl.lit(config.start).dt.truncate("1d") + pl.duration(days=pl.col("days"))
    frame = pl.DataFrame({"customer": np.arange(people.count), "sex": np.array(_SEXES)[sex], "days": days})
    return frame.select(customer_id(pl.col("customer"), people.first), "sex", born.cast(UTC_TIME).alias("birth_date"))
