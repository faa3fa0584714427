"""Are reasons faithful: does an item's score fall more without the evidence that a reason names than without as much
of the customer's row drawn at random?

A row is made of atoms: each column that the model reads, and each entry of the history. Evidence of n atoms is compared
with draws of n atoms among all of the row, the named ones included; the customers are what intervals resample.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.decisions.answer import DecisionRequest
from recsys.decisions.evidence import HISTORY, Evidence, is_input, without_contents, without_entries
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import Features
from recsys.features.history import CONTENT_IDS, PRODUCT_IDS
from recsys.features.spec import feature_name
from recsys.metrics.bootstrap import Interval, bootstrap_mean
from recsys.policy.facts import CustomerFacts
from recsys.schema import Kind


class FaithfulnessConfig(BaseConfig):
    """How it is measured."""

    draws: int = Field(default=8, ge=1)
    """Random removals that each named one is compared with."""
    seed: int = 0
    samples: int = Field(default=2000, ge=100)
    """Of the bootstrap."""


class Asked(NamedTuple):
    """A customer whose answer is explained."""

    features: Features
    facts: CustomerFacts


class Fall(NamedTuple):
    """One reason, measured."""

    customer: int
    code: str
    rank: int
    """Of the reason, from 1."""
    named: float
    """How much the score fell without the named evidence."""
    random: float
    """The same without as much of the row at random, the mean of the draws."""


class FaithfulnessReport(NamedTuple):
    """What was found; the intervals are of named minus random, 95 %, over customers."""

    customers: int
    reasons: int
    named: float
    """Mean fall of the score without the named evidence."""
    random: float
    overall: Interval
    by_code: dict[str, Interval]
    by_rank: dict[int, Interval]

    @property
    def faithful(self) -> bool:
        """Whether the interval over all reasons is above zero."""
        return self.overall.low > 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "customers": self.customers,
            "reasons": self.reasons,
            "named": self.named,
            "random": self.random,
            "faithful": self.faithful,
            "named_minus_random": self.overall._asdict(),
            "by_code": {code: interval._asdict() for code, interval in self.by_code.items()},
            "by_rank": {str(rank): interval._asdict() for rank, interval in self.by_rank.items()},
        }


class FaithfulnessMeter:
    """Measures the reasons of a pipeline.

    Args:
        pipeline: what decides and explains.
        inputs: the columns (`<view>__<column>`) that its model reads beside the history; None: all.
        config: how.
    """

    def __init__(self, pipeline: DecisionPipeline, inputs: Collection[str] | None, config: FaithfulnessConfig) -> None:
        self._pipeline = pipeline
        self._inputs = None if inputs is None else frozenset(inputs)
        self._config = config
        self._rng = np.random.default_rng(config.seed)

    def falls(self, asked: Iterable[Asked], request: DecisionRequest) -> Iterator[Fall]:
        """Every reason that names evidence, of every item that the request's placements show."""
        for number, customer in enumerate(asked):
            yield from self._of_customer(number, customer, request)

    def _of_customer(self, number: int, asked: Asked, request: DecisionRequest) -> Iterator[Fall]:
        decision = self._pipeline.decide(asked.features, asked.facts, request)
        for place in decision.placements:
            positions = {name: position for position, name in enumerate(self._pipeline.catalogue.ids(place.kind))}
            for item in place.items:
                position = positions[item.content_id or item.product_id]
                named = [(rank, reason) for rank, reason in enumerate(item.reasons, start=1) if reason.evidence]
                evidence = [reason.evidence for _, reason in named if reason.evidence is not None]
                falls = self._falls(asked.features, evidence, place.kind, position, request)
                for (rank, reason), (own, other) in zip(named, falls, strict=True):
                    yield Fall(number, str(reason.code), rank, own, other)

    def _falls(
        self, features: Features, evidence: list[Evidence], kind: Kind, item: int, request: DecisionRequest
    ) -> list[tuple[float, float]]:
        """Per evidence, the fall without it and the mean fall without as much at random."""
        if not evidence:
            return []
        draws = self._config.draws
        finder = self._pipeline.finder
        rows = [features, *finder.without_each(finder.read(features), evidence)]
        rows += [self._at_random(features, part) for part in evidence for _ in range(draws)]
        scorer = self._pipeline.scorer
        states = scorer.encode(rows, [request.now] * len(rows), request.context.channel)
        scores = scorer.score_items(states, kind, np.array([item]))[:, 0].astype(np.float64)
        falls = scores[0] - scores[1:]
        count = len(evidence)
        others = falls[count:].reshape(count, draws).mean(axis=1)
        return list(zip(falls[:count].tolist(), others.tolist(), strict=True))

    def _at_random(self, features: Features, evidence: Evidence) -> Features:
        """The row without as many atoms as the evidence has, drawn among all; without a creative's wording, among
        the entries with a creative."""
        if evidence.feature == CONTENT_IDS and evidence.value:
            contents = features[feature_name(HISTORY, CONTENT_IDS)]
            some = [place for place, content in enumerate(contents) if content]
            return without_contents(features, self._rng.choice(some, self._size(features, evidence), replace=False))
        columns = [key for key, value in features.items() if value is not None and self._is_column(key)]
        atoms = [*columns, *range(self._history(features))]
        drawn = self._rng.choice(len(atoms), self._size(features, evidence), replace=False)
        gone = {atoms[place] for place in drawn}
        left = {key: value for key, value in features.items() if key not in gone}
        places = [atom for atom in gone if isinstance(atom, int)]
        return without_entries(left, places) if places else left

    def _size(self, features: Features, evidence: Evidence) -> int:
        """How many atoms that the model reads the evidence has."""
        if evidence.value or evidence.view == HISTORY:
            finder = self._pipeline.finder
            return finder.sizes(finder.read(features), [evidence])[0][0]
        prefix = feature_name(evidence.view, evidence.feature)
        found = [key for key in features if key.startswith(prefix) and self._is_column(key)]
        return sum(features[key] is not None for key in found)

    def _is_column(self, key: str) -> bool:
        known = is_input(key) if self._inputs is None else key in self._inputs
        return known and not key.startswith(feature_name(HISTORY, ""))

    @staticmethod
    def _history(features: Features) -> int:
        """How many entries there are."""
        return len(features.get(feature_name(HISTORY, PRODUCT_IDS)) or ())


def summarise(falls: Iterable[Fall], config: FaithfulnessConfig) -> FaithfulnessReport:
    """Means per customer, then over customers with intervals.

    Raises:
        ValueError: no reason named evidence.
    """
    found = list(falls)

    def interval(some: list[Fall]) -> Interval:
        differences: dict[int, list[float]] = {}
        for fall in some:
            differences.setdefault(fall.customer, []).append(fall.named - fall.random)
        means = np.array([np.mean(values) for values in differences.values()])
        return bootstrap_mean(means, config.samples, config.seed)

    return FaithfulnessReport(
        customers=len({fall.customer for fall in found}),
        reasons=len(found),
        named=float(np.mean([fall.named for fall in found])) if found else 0.0,
        random=float(np.mean([fall.random for fall in found])) if found else 0.0,
        overall=interval(found),
        by_code={code: interval([f for f in found if f.code == code]) for code in sorted({f.code for f in found})},
        by_rank={rank: interval([f for f in found if f.rank == rank]) for rank in sorted({f.rank for f in found})},
    )
