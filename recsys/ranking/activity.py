"""How much each product was taken up, and when: cumulative counts over bins of time, cheap to ask at any instant."""

from typing import NamedTuple

import numpy as np

_DAY = 86_400_000_000
_MOST_BINS = 512


class Activity(NamedTuple):
    """Counts of P products over T bins of time."""

    start: int
    """Epoch µs of the first bin's beginning."""
    width: int
    """µs of a bin."""
    cumulative: np.ndarray
    """[P, T + 1] float32: events before the beginning of each bin; the last column counts all."""

    @classmethod
    def fit(cls, product: np.ndarray, timestamp: np.ndarray, products: int) -> "Activity":
        """Counts E events.

        Args:
            product: [E] int64 rows of the catalogue.
            timestamp: [E] int64 epoch µs.
            products: P.
        """
        if not len(product):
            return cls(0, _DAY, np.zeros((products, 2), np.float32))
        start = int(timestamp.min())
        days = (int(timestamp.max()) - start) // _DAY + 1
        width = _DAY * -(-days // _MOST_BINS)
        place = (timestamp - start) // width
        bins = int(place.max()) + 1
        counts = np.zeros((products, bins + 1), np.float32)
        np.add.at(counts, (product, place + 1), 1.0)
        return cls(start, int(width), counts.cumsum(axis=1, dtype=np.float32))

    def before(self, product: np.ndarray, instant: np.ndarray) -> np.ndarray:
        """[N] events of each product before each instant, as far as whole bins had passed.

        Args:
            product: [N] int64.
            instant: [N] int64 epoch µs.
        """
        place = (instant - self.start) // self.width
        return self.cumulative[product, np.clip(place, 0, self.cumulative.shape[1] - 1)]

    def together(self) -> "Activity":
        """Of all products, as of one."""
        return self._replace(cumulative=self.cumulative.sum(axis=0, keepdims=True))

    def ages(self, product: np.ndarray, instant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Ages.before`, for one question."""
        return Ages.of(self).before(product, instant)


class Ages(NamedTuple):
    """How long ago each product was taken up for the last and the first time: made once, asked often."""

    activity: Activity
    latest: np.ndarray
    """[P, T + 1] int64: at the beginning of each bin, the end of the last one with an event."""
    first: np.ndarray
    """[P] int64: the end of the first bin with an event."""

    @classmethod
    def of(cls, activity: Activity) -> "Ages":
        """Of the products of `activity`."""
        grew = np.diff(activity.cumulative, axis=1, prepend=0) > 0
        edges = np.arange(activity.cumulative.shape[1])
        latest = np.maximum.accumulate(np.where(grew, edges, 0), axis=1)
        return cls(activity, latest, (activity.cumulative == 0).sum(axis=1))

    def before(self, product: np.ndarray, instant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[N] days since each product's last and first event before each instant; NaN where it has none."""
        start, width, cumulative = self.activity
        place = np.clip((instant - start) // width, 0, cumulative.shape[1] - 1)
        days, bin_days = (instant - start) / _DAY, width / _DAY
        known = cumulative[product, place] > 0
        last = np.where(known, days - self.latest[product, place] * bin_days, np.nan)
        first = np.where(known, days - self.first[product] * bin_days, np.nan)
        return last.astype(np.float32), first.astype(np.float32)
