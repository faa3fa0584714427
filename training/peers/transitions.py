"""What is taken up next: directed item-to-item counts over the customers' sequences."""

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array, diags_array

from training.peers.base import PeerSettings
from training.peers.interactions import Asked, Interactions

RECENT = 3
"""How many of the customer's last products are looked at."""


class TransitionSettings(PeerSettings):
    """How far a transition reaches."""

    reach: int = Field(default=3, ge=1)
    """A product counts as the next of so many before it, one g places before with weight 1 / g."""
    shrink: float = Field(default=10.0, ge=0)
    """Added to the count of the first product: rare ones say less."""
    decay: float = Field(default=0.6, gt=0, le=1)
    """Weight of a customer's last product but one beside his last."""


class TransitionsPeer:
    """Scores a product by how often it followed the customer's last ones."""

    def grid(self, known: Interactions) -> list[TransitionSettings]:
        """Reach by decay."""
        return [TransitionSettings(reach=reach, decay=decay) for reach in (3, 10) for decay in (0.5, 0.8)]

    def fit(self, known: Interactions, settings: TransitionSettings) -> None:
        """Counts pairs of each customer's sequence."""
        self._known, self._settings = known, settings
        offsets, values = known.sequences.offsets, known.sequences.values
        owner = np.repeat(np.arange(known.n_customers), np.diff(offsets))
        shape = (known.n_products, known.n_products)
        counts = csr_array(shape, dtype=np.float64)
        for gap in range(1, settings.reach + 1):
            same = owner[gap:] == owner[:-gap]
            pairs = (values[:-gap][same], values[gap:][same])
            counts = counts + csr_array((np.full(len(pairs[0]), 1.0 / gap), pairs), shape=shape)
        total = np.asarray(counts.sum(axis=1)).ravel()
        self._next = csr_array(diags_array(1.0 / np.maximum(total + settings.shrink, 1e-9)) @ counts).astype(np.float32)

    def scores_of_last(self, asked: Asked) -> np.ndarray:
        """[RECENT, B, P] float32: from the last product, the one before, and so on; 0 where there is none."""
        last = self._known.last(asked.customer, RECENT)
        out = np.zeros((RECENT, len(last), self._known.n_products), np.float32)
        for place in range(RECENT):
            there = np.flatnonzero(last[:, place] >= 0)
            out[place, there] = self._next[last[there, place]].toarray()
        return out

    def scores(self, asked: Asked) -> np.ndarray:
        """[B, P] float32."""
        weights = self._settings.decay ** np.arange(RECENT, dtype=np.float32)
        return np.tensordot(weights, self.scores_of_last(asked), axes=1).astype(np.float32)
