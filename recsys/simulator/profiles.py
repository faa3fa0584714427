"""What the bank knows of its customers: the history of their profiles, and what they held when the period began."""

from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.clock import DAY, SECOND, Clock
from recsys.simulator.config import SimulatorConfig
from recsys.simulator.customers import NEVER, Population
from recsys.simulator.journal import customer_id, moments
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.world import SEGMENTS, Floats, Ints

_BANDS: Final = (15_000, 30_000, 50_000, 80_000)
_BAND_NAMES: Final = ("up_to_15k", "15k_30k", "30k_50k", "50k_80k", "over_80k")
_KNOWLEDGE: Final = ("basic", "informed", "advanced")
_EMPLOYMENT: Final = ("student", "employed", "self_employed", "retired", "not_working")
_JOBS: Final = np.array(  # by life stage
    [
        [0.8, 0.15, 0.0, 0.0, 0.05],
        [0.08, 0.8, 0.07, 0.0, 0.05],
        [0.02, 0.8, 0.12, 0.0, 0.06],
        [0.01, 0.75, 0.12, 0.0, 0.12],
        [0.0, 0.75, 0.15, 0.0, 0.1],
        [0.0, 0.68, 0.24, 0.02, 0.06],
        [0.0, 0.6, 0.2, 0.15, 0.05],
        [0.0, 0.04, 0.05, 0.88, 0.03],
    ]
)


class Profiles:
    """The profile history of one block. C customers."""

    def __init__(self, population: Population, clock: Clock, rng: np.random.Generator) -> None:
        self._population = population
        count, people = population.count, population
        self.joined = _moment(people.joined_day, clock, rng)
        """[C]: microseconds UTC."""
        known = clock.start - (rng.integers(60, 700, count) * 86_400 + rng.integers(0, 86_400, count)) * SECOND
        self._base = np.where(people.joined_day >= 0, self.joined, np.maximum(self.joined, known))
        a = people.assessment
        self._assessed, self._reassessed = _moment(a.day, clock, rng), _moment(a.next_day, clock, rng)
        self._refreshed = _moment(self._within(0.55, rng, clock), clock, rng)
        self._arrears = _moment(people.arrears_day, clock, rng)
        self._flags = {
            name: _moment(self._within(share, rng, clock), clock, rng)
            for name, share in (("bereaved", 0.006), ("fraud_victim", 0.008), ("open_complaint", 0.012))
        }
        self._employment = (rng.random(count)[:, None] >= np.cumsum(_JOBS[people.traits.stage], axis=1)).sum(axis=1)
        self._noise = rng.lognormal(0, 0.2, (2, count))
        self._untold = rng.random((3, count)) < np.array([[0.05], [0.06], [0.2]])
        self._end = clock.end

    def frame(self, config: SimulatorConfig, lexicon: Lexicon) -> pl.DataFrame:
        """The customers table: a row per customer and change."""
        people, count = self._population, self._population.count
        changes = [self._base, self._assessed, self._reassessed, self._refreshed, self._arrears, *self._flags.values()]
        who = np.tile(np.arange(count), len(changes))
        at = np.concatenate(changes)
        keep = (at >= np.tile(self._base, len(changes))) & (at < self._end)
        order = np.lexsort((at[keep], who[keep]))
        c, at = who[keep][order], at[keep][order]
        countries = list(lexicon.countries)
        regions = [country.regions for country in lexicon.countries.values()]
        level, assessed_at = self._rating(c, at)
        frame = pl.DataFrame(
            {
                "customer": c,
                "moment": at,
                "segment": np.array(SEGMENTS)[people.segment[c]],
                "region": [regions[a][b] for a, b in zip(people.country[c], people.region[c], strict=True)],
                "country": np.array(countries)[people.country[c]],
                "time_zone": np.array([country.time_zone for country in lexicon.countries.values()])[people.country[c]],
                "language": np.full(len(c), config.language),
                "joined": self.joined[c],
                "income_band": masked(np.array(_BAND_NAMES)[np.digitize(people.income, _BANDS)][c], self._untold[0][c]),
                "risk_level": masked(np.char.add("C", level.astype(str)), level == 0),
                "assessed": masked(assessed_at, level == 0),
                "kyc_status": np.where(people.verified, "verified", "pending")[c],
                "liquid_amount": masked(self._liquid(c, at, lexicon), self._untold[1][c]),
                "horizon_months": masked(people.horizon[c], self._untold[2][c]),
                "knowledge_level": masked(np.array(_KNOWLEDGE)[people.knowledge[c]], level == 0),
                "employment": np.array(_EMPLOYMENT)[self._employment[c]],
                "is_minor": people.minor[c],
                "in_arrears": self._arrears[c] <= at,
                **{name: self._flags[name][c] <= at for name in self._flags},
            }
        )
        return frame.select(
            customer_id(pl.col("customer"), people.first),
            moments("moment").alias("event_timestamp"),
            pl.col("segment", "region", "country", "time_zone", "language"),
            moments("joined").alias("joined_at"),
            pl.col("income_band", "risk_level"),
            moments("assessed").alias("risk_assessed_at"),
            pl.exclude("customer", "moment", "segment", "region", "country", "time_zone", "language", "joined").exclude(
                "income_band", "risk_level", "assessed"
            ),
        )

    def _within(self, share: float, rng: np.random.Generator, clock: Clock) -> Ints:
        """A day of the period for a share of the customers, NEVER for the others."""
        count = self._population.count
        return np.where(rng.random(count) < share, rng.integers(1, len(clock.days), count), NEVER)

    def _rating(self, c: Ints, at: Ints) -> tuple[Ints, Ints]:
        """Risk level (0: none) and moment of assessment of customers `c` as of moments `at`."""
        a = self._population.assessment
        again, first = self._reassessed[c] <= at, (self._assessed[c] <= at) & (a.level[c] > 0)
        level = np.where(again, a.next_level[c], np.where(first, a.level[c], 0))
        return level, np.where(again, self._reassessed[c], self._assessed[c])

    def _liquid(self, c: Ints, at: Ints, lexicon: Lexicon) -> Floats:
        factor = np.where(self._refreshed[c] <= at, self._noise[1][c], self._noise[0][c])
        return np.round(self._population.liquid[c] * factor * lexicon.scale, 0)


def _moment(day: Ints, clock: Clock, rng: np.random.Generator) -> Ints:
    """A moment in office hours of each day; days that do not come give moments that do not come."""
    return clock.start + day * DAY + rng.integers(8 * 3600, 18 * 3600, len(day)) * SECOND


def masked(values: np.ndarray, missing: np.ndarray) -> pl.Series:
    """A column that is null where `missing`."""
    return pl.Series(values).set(pl.Series(missing), None)
