"""The second stage at work: candidates of each customer, their features, and their order by the ranker."""

from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.ranking.blocks import in_blocks
from recsys.ranking.candidates import CandidateConfig, candidate_mask
from recsys.ranking.feature_groups import AVERAGE, feature_group
from recsys.ranking.features import (
    Asked,
    FeatureBuilder,
    Pairs,
)
from recsys.ranking.forest import Parts
from recsys.ranking.interest import INTEREST, Interest, InterestConfig, InterestRead
from recsys.ranking.rankers import Ranker
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ItemTables

_TIE = 1e-5
"""Products that the ranker cannot tell apart are in the towers' order."""
_BELOW = 1.0
"""What is no candidate comes so far below the worst candidate, in the towers' order."""


class StageConfig(BaseConfig):
    """What the second stage is, as it was chosen on validation."""

    candidates: CandidateConfig = CandidateConfig()
    rounds: int | None = Field(default=None, ge=1)
    """Trees that are used; None: the ranker has none."""
    features: tuple[str, ...]
    """The names of the ranker's features, in order."""
    event_types: tuple[str, ...]
    numbers: tuple[str, ...]
    interest: InterestConfig | None = None
    """None: too little was known of earlier times."""


class StageRead(NamedTuple):
    """What the stage sees of B customers, whatever they are asked about: a request asks twice."""

    sources: Sources
    interest: InterestRead | None

    def take(self, rows: np.ndarray | slice) -> "StageRead":
        """Of customers `rows`."""
        return StageRead(self.sources.take(rows), None if self.interest is None else self.interest.take(rows))


class SecondStage:
    """Ranks the candidates that the towers and the simple sources propose."""

    def __init__(
        self, tables: ItemTables, ranker: Ranker, config: StageConfig, interest: Interest | None = None
    ) -> None:
        self.tables = tables
        self.ranker = ranker
        self.config = config
        self.interest = interest
        self._builder = FeatureBuilder(tables, config.event_types, config.numbers)
        self._reads = frozenset(config.features[column] for column in ranker.used())
        self._shared = self._reads if interest is None else self._reads | interest.reads
        self._read_rows = [(row, name) for row, name in enumerate(config.features) if name in self._reads]

    def read(self, asked: Asked) -> StageRead:
        """What the stage sees of customers; for few of them, since it is much for each."""
        interest = None if self.interest is None or INTEREST not in self._reads else self.interest.read(asked)
        return StageRead(Sources.of(self.tables, asked.history), interest)

    def score(self, asked: Asked, allowed: np.ndarray | None = None, read: StageRead | None = None) -> np.ndarray:
        """Scores of all products, [B, P] float32.

        Args:
            asked: the customers with the towers' scores.
            allowed: [B, P] bool: the only products that will be looked at; None: all.
            read: what `read` says of them, where it is known already.
        """
        if allowed is None:
            allowed = np.ones(asked.tower.shape, bool)
        if read is not None:
            return self._score(asked, allowed, read)
        out = np.empty(asked.tower.shape, np.float32)

        def block(rows: slice) -> None:
            out[rows] = self._score(asked.take(rows), allowed[rows])

        in_blocks(len(out), block)
        return out

    def _score(self, asked: Asked, allowed: np.ndarray, read: StageRead | None = None) -> np.ndarray:
        read = self.read(asked) if read is None else read
        mask = candidate_mask(asked, read.sources, self.tables.activity, allowed, self.config.candidates)
        pairs = Pairs(*np.nonzero(mask))
        ranked = np.zeros(0, np.float32)
        if len(pairs.product):
            ranked = self.ranker.predict_parts(self._parts(asked, read, pairs), self.config.rounds)
            ranked += _TIE * np.tanh(asked.tower[pairs])
        floor = np.zeros(len(allowed), np.float32)
        if len(allowed) == 1:
            floor[0] = ranked.min(initial=0.0)
        else:
            np.minimum.at(floor, pairs.customer, ranked)
        out = asked.tower - asked.tower.max(axis=1, keepdims=True) + floor[:, None] - _BELOW
        out[pairs.customer, pairs.product] = ranked
        return out

    def contributions(self, asked: Asked, product: int, read: StageRead | None = None) -> dict[str, float]:
        """What groups of features, and `average`, add up to: one product's score for one customer."""
        pairs = Pairs(np.zeros(1, np.int64), np.array([product], np.int64))
        rows = self._parts(asked, self.read(asked) if read is None else read, pairs).rows()
        found = self.ranker.contributions(rows, self.config.rounds)[0]
        sums = {AVERAGE: float(found[-1])}
        for name, value in zip(self.config.features, found[:-1].tolist(), strict=True):
            group = feature_group(name)
            sums[group] = sums.get(group, 0.0) + value
        return sums

    def _parts(self, asked: Asked, read: StageRead, pairs: Pairs) -> Parts:
        """The features in the ranker's order; those that no tree asks for are 0."""
        sources = read.sources
        looked_at = np.zeros(len(self.tables), bool)
        looked_at[pairs.product] = True
        scores = sources.proposals | sources.likenesses(self.tables, np.flatnonzero(looked_at))
        columns = self._builder.build(asked, scores, pairs, self._shared, sources.which)
        if self.interest is not None and INTEREST in self._reads:
            columns[INTEREST] = self.interest.score(asked, columns, pairs, read.interest)
        own = np.zeros((len(self.config.features), len(pairs.product)), np.float32)
        for row, name in self._read_rows:
            own[row] = columns[name]
        return Parts.of_columns(own)
