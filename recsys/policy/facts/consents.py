"""What customers agreed to, by purpose and channel: default no, the latest answer counts, a doubt is a no.

What `recsys.features.consent` says for feature tables is said here for one instant and with channels.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import NOT_A_TIME, BoolArray, IntArray, TimeArray, instants, times_of
from recsys.policy.facts.relations import owner_positions
from recsys.schema import EVENT_TIMESTAMP


class ConsentAnswer(NamedTuple):
    """One customer's answer."""

    purpose: str
    """One of `schema.CONSENT_PURPOSES`."""
    channel: str | None
    """None: for all channels."""
    granted: bool
    since: datetime


class Consents(NamedTuple):
    """The latest answer of B customers to each of K questions (a purpose, in one channel or in all)."""

    questions: tuple[tuple[str, str | None], ...]
    """K pairs of purpose and channel."""
    granted: BoolArray
    """[K, B]"""
    since: TimeArray
    """[K, B]: NaT where there is no answer."""

    @classmethod
    def none(cls, customers: int) -> Self:
        """Nobody answered anything: no to everything."""
        return cls((), np.zeros((0, customers), dtype=bool), np.empty((0, customers), dtype="datetime64[us]"))

    @classmethod
    def build(
        cls,
        customers: int,
        owners: IntArray,
        questions: Sequence[tuple[str, str | None]],
        granted: BoolArray,
        since: TimeArray,
    ) -> Self:
        """From answers in any order, one an entry; of contradicting answers of one time the refusal stands."""
        known = tuple(dict.fromkeys(questions))
        code = {question: position for position, question in enumerate(known)}
        rows = np.array([code[question] for question in questions], dtype=np.int64)
        order = np.lexsort((~granted, since))  # numpy lets the last of several assignments stand
        order = order[(owners[order] >= 0) & ~np.isnat(since[order])]
        table = cls(
            known,
            np.zeros((len(known), customers), dtype=bool),
            np.full((len(known), customers), NOT_A_TIME),
        )
        place = (rows[order], owners[order])
        table.granted[place] = granted[order]
        table.since[place] = since[order]
        return table

    @classmethod
    def single(cls, answers: Sequence[ConsentAnswer]) -> Self:
        """The answers of one customer."""
        if not answers:
            return cls.none(1)
        return cls.build(
            customers=1,
            owners=np.zeros(len(answers), dtype=np.int64),
            questions=[(answer.purpose, answer.channel) for answer in answers],
            granted=np.array([answer.granted for answer in answers], dtype=bool),
            since=instants([answer.since for answer in answers]),
        )

    @classmethod
    def from_frame(cls, rows: pl.DataFrame, customers: Sequence[str]) -> Self:
        """From rows of customer_id, purpose, channel (may be missing), event_timestamp and granted."""
        channels = rows["channel"].to_list() if "channel" in rows.columns else [None] * len(rows)
        return cls.build(
            customers=len(customers),
            owners=owner_positions(rows, customers),
            questions=list(zip(rows["purpose"].to_list(), channels, strict=True)),
            granted=rows["granted"].to_numpy().astype(bool),
            since=times_of(rows, EVENT_TIMESTAMP),
        )

    def slice(self, start: int, stop: int) -> Self:
        """The answers of the customers from `start` up to `stop`."""
        return type(self)(self.questions, self.granted[:, start:stop], self.since[:, start:stop])

    def agrees(self, purpose: str, now: np.datetime64) -> BoolArray:
        """[B]: whose latest answer about a purpose, whatever the channel, is yes.

        An answer that is dated after `now` is no yes.
        """
        asked = [row for row, (name, _) in enumerate(self.questions) if name == purpose]
        if not asked:
            return np.zeros(self.granted.shape[1], dtype=bool)
        if len(asked) == 1:  # one request at a time takes this path
            return self.granted[asked[0]] & (self.since[asked[0]] <= now)
        since = self.since[asked]
        newest = np.fmax.reduce(since, axis=0)
        refused = (since == newest) & ~self.granted[asked]
        return (newest <= now) & ~refused.any(axis=0)

    def agrees_to(self, purpose: str, channel: str | None, now: np.datetime64) -> BoolArray:
        """[B]: who agrees to a purpose in a channel; None: in general.

        A refusal of the channel stands until the channel itself is agreed to again; an agreement to the channel is
        worth nothing once everything was refused at the same time or later.
        """
        general, since = self._answer(purpose, None, now)
        if channel is None:
            return general
        own, own_since = self._answer(purpose, channel, now)
        standing = np.isnat(since) | general | (own_since > since)
        return np.where(np.isnat(own_since), general, own & standing)

    def _answer(self, purpose: str, channel: str | None, now: np.datetime64) -> tuple[BoolArray, TimeArray]:
        """[B] whether the latest answer to one question is yes, and of when it is."""
        if (purpose, channel) not in self.questions:
            customers = self.granted.shape[1]
            return np.zeros(customers, dtype=bool), np.full(customers, NOT_A_TIME)
        row = self.questions.index((purpose, channel))
        return self.granted[row] & (self.since[row] <= now), self.since[row]
