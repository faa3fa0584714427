"""When the bank reached out to customers of its own accord: what contact caps count."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import BoolArray, IntArray, TextArray, TimeArray, instants, texts, times_of, values_of
from recsys.policy.facts.relations import offsets_of, owner_positions, owners_of, slice_offsets
from recsys.schema import EVENT_TIMESTAMP


class Contact(NamedTuple):
    """One message to a customer."""

    channel: str
    category: str | None
    """Of the product that it was about."""
    at: datetime


class Contacts(NamedTuple):
    """The recent messages to B customers: compressed rows, E entries."""

    offsets: IntArray
    """[B + 1]: customer b owns the entries offsets[b] up to offsets[b + 1]."""
    channel: TextArray
    category: TextArray
    """[E]: empty where it is not known."""
    at: TimeArray

    @classmethod
    def empty(cls, customers: int) -> Self:
        """No message to any of `customers`."""
        nothing = np.empty(0, dtype=np.str_)
        return cls(np.zeros(customers + 1, dtype=np.int64), nothing, nothing, np.empty(0, dtype="datetime64[us]"))

    @classmethod
    def single(cls, contacts: Sequence[Contact]) -> Self:
        """The messages to one customer."""
        if not contacts:
            return cls.empty(1)
        return cls(
            offsets=np.array([0, len(contacts)], dtype=np.int64),
            channel=texts([contact.channel for contact in contacts]),
            category=texts([contact.category for contact in contacts]),
            at=instants([contact.at for contact in contacts]),
        )

    @classmethod
    def from_frame(cls, rows: pl.DataFrame, customers: Sequence[str]) -> Self:
        """From rows of customer_id, channel, category and event_timestamp; other customers' rows are dropped."""
        owners = owner_positions(rows, customers)
        kept = np.flatnonzero(owners >= 0)
        order = kept[np.argsort(owners[kept], kind="stable")]
        return cls(
            offsets=offsets_of(owners[order], len(customers)),
            channel=texts(values_of(rows, "channel"))[order],
            category=texts(values_of(rows, "category"))[order],
            at=times_of(rows, EVENT_TIMESTAMP)[order],
        )

    def slice(self, start: int, stop: int) -> Self:
        """The messages to the customers from `start` up to `stop`."""
        offsets, entries = slice_offsets(self.offsets, start, stop)
        return type(self)(offsets, self.channel[entries], self.category[entries], self.at[entries])

    def within(self, days: int, now: np.datetime64) -> BoolArray:
        """[E]: the messages of the last `days` days; one that is dated in the future counts too."""
        return self.at > now - np.timedelta64(days, "D")

    def tally(self, entries: BoolArray) -> IntArray:
        """[B]: how many of the chosen `entries` [E] each customer has."""
        return np.bincount(owners_of(self.offsets)[entries], minlength=len(self.offsets) - 1)
