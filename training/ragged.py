"""Lists of different lengths in two arrays; numpy only, so that who reads lists need not load the model's libraries."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Lists of item rows, one for each customer, end to end."""

    offsets: np.ndarray
    """[n + 1] int64."""
    values: np.ndarray
    """[sum of lengths] int64."""

    @classmethod
    def group(cls, owner: np.ndarray, item: np.ndarray, n: int) -> "Ragged":
        """Groups distinct (owner, item) pairs by owner in 0..n-1; pairs with item < 0 are left out."""
        pairs = np.unique(np.stack([owner, item], axis=1)[item >= 0], axis=0)
        counts = np.bincount(pairs[:, 0], minlength=n)
        return cls(np.concatenate([[0], np.cumsum(counts)]), pairs[:, 1].astype(np.int64))

    def pairs(self, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every item of every one of `owners`, [B] int: its owner's place among them, and the item."""
        lengths = self.offsets[owners + 1] - self.offsets[owners]
        row = np.repeat(np.arange(len(owners)), lengths)
        first = np.repeat(self.offsets[owners] - (np.cumsum(lengths) - lengths), lengths)
        return row, self.values[first + np.arange(len(row))]

    def mask(self, owners: np.ndarray, width: int) -> np.ndarray:
        """[B, width] bool: the items of each owner."""
        out = np.zeros((len(owners), width), bool)
        out[self.pairs(owners)] = True
        return out

    def take(self, owners: np.ndarray) -> "Ragged":
        """The lists of `owners`, [B] int, in that order."""
        lists = [self[owner] for owner in owners.tolist()]
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists], dtype=np.int64)]).astype(np.int64)
        return Ragged(offsets, np.concatenate([np.zeros(0, np.int64), *lists]))

    def __getitem__(self, owner: int) -> np.ndarray:
        return self.values[self.offsets[owner] : self.offsets[owner + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1
