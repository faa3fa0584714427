"""Times: local hours of each customer as microseconds UTC, and the end of everything."""

from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from recsys.simulator.config import SimulatorConfig
from recsys.simulator.lexicon import Lexicon
from recsys.simulator.world import Ints

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND


class Clock:
    """Turns (day, local hour) into microseconds since 1970 UTC, within that UTC day."""

    def __init__(self, config: SimulatorConfig, lexicon: Lexicon) -> None:
        self.start: int = int(config.start.timestamp()) * SECOND
        """Microseconds UTC at which the first day starts."""
        self.end: int = int(config.end.timestamp()) * SECOND
        """Microseconds UTC after the last day."""
        self.days = range(config.days)
        """The days of the period."""
        zones = [ZoneInfo(country.time_zone) for country in lexicon.countries.values()]
        noons = [config.start + timedelta(days=day, hours=12) for day in range(config.days)]
        offsets = [[noon.astimezone(zone).utcoffset() or timedelta() for zone in zones] for noon in noons]
        self._offsets = np.array([[int(offset.total_seconds()) for offset in row] for row in offsets])

    def moment(self, day: Ints | int, country: Ints, hours: tuple[int, int], rng: np.random.Generator) -> Ints:
        """A random moment of each `day` between two local hours of each `country`, [N]."""
        low, high = hours
        local = low * 3600 + (rng.beta(1.6, 1.6, len(country)) * (high - low) * 3600)
        second = (local.astype(np.int64) - self._offsets[day, country]) % 86_400
        return self.start + (np.asarray(day) * 86_400 + second) * SECOND + rng.integers(0, SECOND, len(country))

    def day_of(self, moment: Ints) -> Ints:
        """The day of the period that a moment falls on; negative before it."""
        return (moment - self.start) // DAY
