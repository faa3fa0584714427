"""Popularity and recency of products as of each question's instant: no later event is counted."""

from typing import NamedTuple

import numpy as np

from training.peers.interactions import Interactions

DAY = 86_400_000_000
"""In µs."""
NEVER = np.iinfo(np.int64).min


class Window(NamedTuple):
    """Which events count."""

    days: float | None
    """The last so many days; None: all."""
    weighted: bool = False


class AsOf:
    """Counts over the known events, for many instants in one sweep through time."""

    def __init__(self, known: Interactions) -> None:
        self.known = known

    def counts(self, now: np.ndarray, window: Window) -> np.ndarray:
        """[B, P] float32: events of each product strictly before each instant, within the window.

        Args:
            now: [B] int64 epoch µs.
            window: which events count.
        """
        known = self.known
        weight = known.weight.astype(np.float64) if window.weighted else np.ones(len(known))
        instants, row = np.unique(now, return_inverse=True)
        ends = np.searchsorted(known.time, instants, side="left")
        starts = np.zeros_like(ends)
        if window.days is not None:
            starts = np.searchsorted(known.time, instants - int(window.days * DAY), side="left")
        present, out = np.zeros(known.n_products), np.empty((len(instants), known.n_products), np.float32)
        low = high = 0
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            present += self._sum(high, end, weight)
            present -= self._sum(low, start, weight)
            out[place] = present
            low, high = start, end
        return np.maximum(out, 0)[row]

    def _sum(self, start: int, end: int, weight: np.ndarray) -> np.ndarray:
        return np.bincount(self.known.product[start:end], weight[start:end], minlength=self.known.n_products)

    def last_seen(self, now: np.ndarray) -> np.ndarray:
        """[B, P] int64 epoch µs of each product's latest event strictly before each instant; NEVER where none was."""
        known = self.known
        instants, row = np.unique(now, return_inverse=True)
        ends = np.searchsorted(known.time, instants, side="left")
        latest = np.full(known.n_products, NEVER, np.int64)
        out = np.empty((len(instants), known.n_products), np.int64)
        start = 0
        for place, end in enumerate(ends):
            np.maximum.at(latest, known.product[start:end], known.time[start:end])
            out[place], start = latest, end
        return out[row]
