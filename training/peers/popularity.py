"""Popularity: what was taken up most in the last days before the question."""

import numpy as np
from pydantic import Field

from training.peers.as_of import AsOf, Window
from training.peers.base import PeerSettings, weightings
from training.peers.interactions import Asked, Interactions

WINDOWS = (None, 90.0, 30.0, 14.0, 7.0)
OLDER_WEIGHT = 1e-3
"""Of an event before the window: it orders what the window does not tell apart."""


class PopularitySettings(PeerSettings):
    """Which events count."""

    window_days: float | None = Field(default=None, gt=0)
    """The last so many days before the question; None: all."""


class PopularityPeer:
    """Counts."""

    def grid(self, known: Interactions) -> list[PopularitySettings]:
        """All time and four windows, plain and weighted."""
        return [
            PopularitySettings(window_days=days, weighted=weighted)
            for weighted in weightings(known)
            for days in WINDOWS
        ]

    def fit(self, known: Interactions, settings: PopularitySettings) -> None:
        """Remembers the events."""
        self._counts, self._settings = AsOf(known), settings

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32 counts."""
        settings = self._settings
        recent = self._counts.counts(asked.now, Window(settings.window_days, settings.weighted))
        if settings.window_days is None:
            return recent
        return recent + OLDER_WEIGHT * self._counts.counts(asked.now, Window(None, settings.weighted))
