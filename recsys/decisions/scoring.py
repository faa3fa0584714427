"""What a decision needs of a model, and what it then understands of its customers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.policy.facts import BoolArray, IntArray
from recsys.schema import Kind, Modality, ServingMode

ScoreArray = NDArray[np.float32]
Features = Mapping[str, Any]
"""One customer's feature row: `<view>__<column>` to value; a missing key or None is a missing modality."""


class States(Protocol):
    """What a model makes of B customers: an array [B, D], or whatever else its `score` reads."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """The states of some of the customers: a slice, or a [B] bool or [N] int array."""


class Scorer(Protocol):
    """A model for inference with its candidates in memory; `recsys.recommender.Recommender` is the real one."""

    product_ids: list[str]
    content_ids: list[str]

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that the model was trained with."""

    def encode(self, customers: Sequence[Features], now: Sequence[datetime], channel: str | None = None) -> Any:
        """The `States` of B customers."""

    def score(self, states: Any, kind: Kind, allowed: BoolArray | None = None) -> ScoreArray:
        """The scores of all items of a kind, [B, N]; what is not in `allowed` [B, N] need not be looked at closely."""

    def score_items(self, states: Any, kind: Kind, items: IntArray) -> ScoreArray:
        """[B, K]: of K items, what `score` says of them where nothing else is allowed: at the cost of K, not of N."""

    def popularity(self, segment: str | None, kind: Kind) -> ScoreArray:
        """[N]: the recent popularity in a segment, or overall where the segment is None or unknown."""

    def companions(self, product: int) -> BoolArray:
        """[P]: the products that many customers chose soon after one; none where the model cannot tell."""

    def ranker_contributions(self, states: Any, product: int) -> dict[str, float]:
        """What groups of the ranker's features, and `average`, add up to one product's score for one customer.

        Empty where there is no ranker behind the towers.
        """

    def missing_modalities(self, customer: Features) -> list[Modality]:
        """Those of the model's modalities of which the customer has nothing."""


class Understanding(NamedTuple):
    """What the model knows of B customers."""

    states: States | None
    """Of the known customers, in order; None where nobody is known."""
    known: BoolArray
    """[B]: of whom the model knows something; the others get what is popular."""
    missing: tuple[tuple[Modality, ...], ...]
    """Per customer, the modalities that were missing."""

    def without(self, customers: BoolArray) -> "Understanding":
        """The same, but nothing is known of the given customers, [B] bool."""
        known = self.known & ~customers
        if not known.any():
            return self._replace(states=None, known=known)
        states = None if self.states is None else self.states[~customers[self.known]]
        return self._replace(states=states, known=known)

    def mode(self, customer: int) -> ServingMode:
        """How much is known of one customer."""
        if not self.known[customer]:
            return ServingMode.POPULAR
        return ServingMode.PARTIAL if self.missing[customer] else ServingMode.PERSONALISED


def understand(
    scorer: Scorer, features: Sequence[Features | None], now: datetime, channel: str | None = None
) -> Understanding:
    """Encodes the customers of whom at least one modality is there, all at once."""
    missing = [tuple(scorer.modalities if row is None else scorer.missing_modalities(row)) for row in features]
    known = np.array([len(names) < len(scorer.modalities) for names in missing], dtype=bool)
    rows = [row for row, is_known in zip(features, known, strict=True) if is_known and row is not None]
    states = scorer.encode(rows, [now] * len(rows), channel) if rows else None
    return Understanding(states, known, tuple(missing))


def score_all(
    scorer: Scorer,
    understanding: Understanding,
    segments: Sequence[str | None],
    kind: Kind,
    allowed: BoolArray | None = None,
) -> ScoreArray:
    """[B, N]: the model's scores where the customer is known, else the popularity in his segment."""
    known = understanding.known
    count = len(scorer.product_ids if kind is Kind.PRODUCTS else scorer.content_ids)
    scores = np.empty((len(known), count), dtype=np.float32)
    if understanding.states is not None:
        scores[known] = scorer.score(understanding.states, kind, None if allowed is None else allowed[known])
    popularity: dict[str | None, ScoreArray] = {}
    for row in np.flatnonzero(~known).tolist():
        segment = segments[row]
        if segment not in popularity:
            popularity[segment] = scorer.popularity(segment, kind)
        scores[row] = popularity[segment]
    return scores
