"""Consent of a block's customers by purpose and channel, default no, and how it changes."""

from typing import Final

import numpy as np
import polars as pl

from recsys.schema import CONSENT_PURPOSES
from recsys.simulator.clock import Clock
from recsys.simulator.customers import NEVER, Population
from recsys.simulator.journal import customer_id, moments
from recsys.simulator.products import UTC_TIME
from recsys.simulator.world import CHANNEL_NAMES, Bools, Ints

CONSENT_SCHEMA: Final = pl.Schema(
    {
        "customer_id": pl.String(),
        "purpose": pl.String(),
        "event_timestamp": UTC_TIME,
        "channel": pl.String(),
        "granted": pl.Boolean(),
    }
)
_ASKED: Final = 0.97
_GRANTED: Final = {"marketing": 0.9, "profiling": 0.92, "text_analysis": 0.92, "image_analysis": 0.9}
_WITHDRAWN: Final = {"marketing": 0.03, "profiling": 0.02, "text_analysis": 0.01, "image_analysis": 0.01}
_EMAIL = CHANNEL_NAMES.index("email")
_WHOLE = -1


class Consent:
    """Who agreed to what, when. C customers."""

    def __init__(self, population: Population, joined: Ints, clock: Clock, rng: np.random.Generator) -> None:
        """Draws answers; `joined` is the moment [C] at which each customer was asked."""
        self._population = population
        count = population.count
        self._rows: list[dict[str, np.ndarray]] = []
        self._since: dict[str, Bools] = {}
        self._until: dict[str, Ints] = {}
        for number, purpose in enumerate(CONSENT_PURPOSES):
            asked, granted = rng.random(count) < _ASKED, rng.random(count) < _GRANTED[purpose]
            self._add(number, np.flatnonzero(asked), _WHOLE, joined, granted)
            self._since[purpose] = asked & granted
            leaves = self._since[purpose] & (rng.random(count) < _WITHDRAWN[purpose])
            day = np.maximum(rng.integers(1, len(clock.days), count), population.joined_day + 1)
            leaves &= day < len(clock.days)
            moment = clock.moment(np.minimum(day, len(clock.days) - 1), population.country, (8, 21), rng)
            self._add(number, np.flatnonzero(leaves), _WHOLE, moment, np.zeros(count, bool))
            self._until[purpose] = np.where(leaves, day, NEVER)
        no_email = self._since["marketing"] & (rng.random(count) < 0.12)
        self._add(0, np.flatnonzero(no_email), _EMAIL, joined, np.zeros(count, bool))
        self._channel_until = np.full((count, len(CHANNEL_NAMES)), NEVER)
        self._channel_until[no_email, _EMAIL] = -NEVER

    def marketing_on(self, day: int, customers: Ints, channel: int) -> Bools:
        """Whether each of `customers` agrees to marketing in `channel` during the whole day."""
        general = self._since["marketing"][customers] & (self._until["marketing"][customers] > day)
        return general & (self._channel_until[customers, channel] > day)

    def profiling_on(self, day: int, customers: Ints) -> Bools:
        """Whether each of `customers` agrees to profiling during the whole day."""
        return self._since["profiling"][customers] & (self._until["profiling"][customers] > day)

    def withdraw(self, customer: Ints, channel: Ints, day: Ints) -> None:
        """Ends marketing in a channel, after an opt-out."""
        self._channel_until[customer, channel] = np.minimum(self._channel_until[customer, channel], day)

    def frame(self, opt_outs: list[tuple[Ints, Ints, Ints]]) -> pl.DataFrame:
        """The consents table; `opt_outs` holds customer, channel and moment."""
        for customer, channel, moment in opt_outs:
            zeros = np.zeros(len(customer), np.int64)
            row = {"customer": customer, "purpose": zeros, "channel": channel, "moment": moment, "granted": zeros}
            self._rows.append(row)
        columns = {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}
        frame = pl.DataFrame(columns)
        purposes, channels = pl.Series(CONSENT_PURPOSES), pl.Series(CHANNEL_NAMES)
        channel_index = pl.when(pl.col("channel") >= 0).then(pl.col("channel"))
        named = frame.select(
            customer_id(pl.col("customer"), self._population.first),
            pl.lit(purposes).gather(pl.col("purpose")).alias("purpose"),
            moments("moment").alias("event_timestamp"),
            pl.lit(channels).gather(channel_index).alias("channel"),
            pl.col("granted").cast(pl.Boolean),
        )
        key = ["customer_id", "purpose", "channel", "event_timestamp"]
        return named.cast(CONSENT_SCHEMA).unique(key, keep="first", maintain_order=True).sort(key)

    def _add(self, purpose: int, customers: Ints, channel: int, moment: Ints, granted: np.ndarray) -> None:
        self._rows.append(
            {
                "customer": customers,
                "purpose": np.full(len(customers), purpose),
                "channel": np.full(len(customers), channel),
                "moment": moment[customers],
                "granted": granted[customers].astype(np.int64),
            }
        )
