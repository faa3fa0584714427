"""The response model: the probabilities of a click, an application and a conversion, were a creative shown.

It ranks creatives, and says in money's terms what a contact is worth. Probabilities are calibrated for each product
family. The place is an input, and while ranking the same for all.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.modeling.groups import best_of_groups
from recsys.ranking.blend import Blend
from recsys.ranking.blocks import in_blocks
from recsys.ranking.boosted import BoostedRanker
from recsys.ranking.calibrators import Calibration, Method
from recsys.ranking.creative_loop import creative_loops
from recsys.ranking.features import Asked, FeatureBuilder
from recsys.ranking.forest import Forest, Parts
from recsys.ranking.heads import HEADS, BoostedHeads, Heads, NetworkConfig
from recsys.ranking.response_features import POSITION, Exposed, ResponseTables, exposure_parts, response_features

FIRST_PLACE = 1.0


class TasteConfig(BaseConfig):
    """What of a `TastefulClick` is no array."""

    average: float
    weights: tuple[float, ...]
    """Of each feature in its linear part."""


class ResponseConfig(BaseConfig):
    """What the model is, as it was chosen on validation."""

    kind: Literal["boosted", "network"]
    network: NetworkConfig = NetworkConfig()
    position: Literal["input", "propensity"]
    """How the place is accounted for: as an input, or by weights from the logged propensities."""
    methods: tuple[Method, ...]
    """The calibration of each head."""
    averages: tuple[float, ...]
    """Log-odds of the heads that are their average."""
    boosted: tuple[bool, ...]
    """Which heads have trees."""
    taste: TasteConfig | None = None
    """Of the second model of the click; None: there is none."""
    features: tuple[str, ...]
    """The names of its features, in order."""
    event_types: tuple[str, ...]
    numbers: tuple[str, ...]
    customers: tuple[str, ...]
    products: tuple[str, ...]
    creatives: tuple[str, ...]
    """The names of the columns of each."""
    families: tuple[str, ...]
    """[P]: the family of each product."""
    ranks_creatives: bool
    """Whether it orders exposures better than the towers do."""
    candidates: int = Field(default=40, ge=1)
    """The creatives that it looks at: the best by the towers."""
    blend: Blend | None = None
    """How the champion's ranking has a say in what follows a contact; None: it has none."""


class Creatives(NamedTuple):
    """C creatives."""

    row: np.ndarray
    """[C] int64: which of all."""
    product: np.ndarray
    """[C] int64: whose; -1 where that is not in the catalogue."""


class ResponseModel:
    """Predicts responses to creatives."""

    def __init__(
        self, tables: ResponseTables, heads: Heads, calibrations: list[Calibration], config: ResponseConfig
    ) -> None:
        self.tables = tables
        self.heads = heads
        self.calibrations = calibrations
        self.config = config
        self._builder = FeatureBuilder(tables.items, config.event_types, config.numbers)
        self._families = np.array(config.families)
        self._lean = _Lean.of(heads, tables, config.features)
        creative_loops()  # whoever loads the model waits for them

    def features(self, asked: Asked, exposed: Exposed) -> np.ndarray:
        """[E, F] float32 in the model's order."""
        names, values = response_features(self.tables, self._builder, asked, exposed)
        place = {name: column for column, name in enumerate(names)}
        return values[:, [place[name] for name in self.config.features]]

    def probabilities(self, asked: Asked, exposed: Exposed) -> np.ndarray:
        """[E, 3] float64: of a click, of an application and of a conversion, each of an exposure."""
        if not len(exposed.content):
            return np.zeros((0, len(HEADS)))
        return self.calibrated(self.logits(asked, exposed), exposed.product)

    def logits(self, asked: Asked, exposed: Exposed, heads: int = len(HEADS)) -> np.ndarray:
        """[E, H] float32: the first heads' log-odds of each outcome, given the one before it."""
        found = np.empty((len(exposed.content), heads), np.float32)

        def block(some: Asked, mine: Exposed, place: slice) -> None:
            if self._lean is None:
                found[place] = self.heads.predict(self.features(some, mine))[:, :heads]
            else:
                found[place] = self._lean.predict(self._parts(some, mine), range(heads))

        _in_blocks(asked, exposed, block)
        return found

    def choose(self, asked: Asked, exposed: Exposed, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each group of exposures the one with the highest log-odds of a click: which, and `logits` of those alone.

        Args:
            asked: B customers.
            exposed: E exposures of them.
            group: [E] int64, rising; a group is one customer's.
        """
        if self._lean is None:
            logits = self.logits(asked, exposed)
            best = best_of_groups(logits[:, 0], group)
            return best, logits[best]
        lean, found = self._lean, np.empty((len(group), len(HEADS)), np.float32)
        chosen = np.zeros(len(group), bool)

        def block(some: Asked, mine: Exposed, place: slice) -> None:
            parts = self._parts(some, mine)
            click = lean.predict(parts, range(1))
            best = best_of_groups(click[:, 0], group[place])
            chosen[place.start + best] = True
            rest = lean.predict(parts.take(best), range(1, len(HEADS)))
            found[place.start + best] = np.concatenate([click[best], rest], axis=1)

        _in_blocks(asked, exposed, block)
        return np.flatnonzero(chosen), found[chosen]

    def _parts(self, asked: Asked, exposed: Exposed) -> Parts:
        assert self._lean is not None  # noqa: S101 - asked before
        found = exposure_parts(self.tables, self._builder, asked, exposed, self._lean.reads)
        return found.parts(self._lean.own)

    def calibrated(self, logits: np.ndarray, product: np.ndarray) -> np.ndarray:
        """[E, 3] log-odds of the heads to probabilities of an exposure of the [E] products."""
        chained = np.cumprod(1 / (1 + np.exp(-logits.astype(np.float64))), axis=1)
        family = self._families[product]
        columns = [curve(chained[:, head], family) for head, curve in enumerate(self.calibrations)]
        return np.minimum.accumulate(np.stack(columns, axis=1), axis=1)

    def reorder(
        self, asked: Asked, scores: np.ndarray, creatives: "Creatives", allowed: np.ndarray | None
    ) -> np.ndarray:
        """[B, C] scores with the best creatives in the order of their log-odds of a click.

        Args:
            asked: B customers.
            scores: [B, C] float32 of the towers; `asked.tower` is not looked at.
            creatives: C of them.
            allowed: [B, C] bool: the only ones that will be looked at; None: all.
        """
        owner = creatives.product
        among = np.broadcast_to(owner >= 0, scores.shape) if allowed is None else allowed & (owner >= 0)
        ranked = np.where(among, scores, -np.inf)
        count = min(self.config.candidates, ranked.shape[1])
        worst = np.partition(ranked, ranked.shape[1] - count, axis=1)[:, ranked.shape[1] - count, None]
        customer, column = np.nonzero(among & (ranked >= worst))
        if not len(column):
            return scores
        place = np.full(len(column), FIRST_PLACE, np.float32)
        exposed = Exposed(customer, owner[column], creatives.row[column], _channel(asked)[customer], place)
        logit = self.logits(asked, exposed, heads=1)[:, 0]
        floor = np.zeros(len(scores), np.float32)
        np.minimum.at(floor, customer, logit)
        out = scores - scores.max(axis=1, keepdims=True) + floor[:, None] - 1
        out[customer, column] = logit
        return np.asarray(out, np.float32)


class _Lean(NamedTuple):
    """Boosted heads that are asked about parts: a customer's columns once, not once an exposure."""

    reads: frozenset[str]
    """The features that are asked for: nobody needs the others."""
    own: tuple[str, ...]
    """Those of them that are an exposure's own, in the order in which the forests read them."""
    forests: tuple[Forest | None, ...]
    """None: the head is its average."""
    averages: tuple[float, ...]
    taste: "tuple[np.ndarray, float, Forest] | None"
    """Of the second model of the click: a weight for each of `own`, the average, and the trees."""

    @classmethod
    def of(cls, heads: Heads, tables: ResponseTables, features: tuple[str, ...]) -> "_Lean | None":
        """None where the heads are no forests."""
        if not isinstance(heads, BoostedHeads):
            return None
        taste, rankers = heads.taste, [model for model in heads.models if model is not None]
        rankers += [] if taste is None else [taste.trees]
        if any(model.forest is None for model in rankers):
            return None
        weights = np.zeros(len(features), np.float32) if taste is None else taste.weights
        columns = {column for model in rankers for column in model.used().tolist()} | set(np.flatnonzero(weights))
        reads = frozenset(features[column] for column in columns)
        interest = tables.interest
        whole = (*interest.customer_names, *interest.product_names, *tables.creatives.names)
        own = tuple(name for name in features if name in reads and name not in set(whole))
        place = {name: column for column, name in enumerate(features)}
        if any(weights[place[name]] for name in whole):
            return None
        order = np.array([place[name] for name in (*whole, *own)], np.int64)

        def reading(model: BoostedRanker | None) -> Forest | None:
            return None if model is None or model.forest is None else model.forest.reading(order, len(features))

        second = None if taste is None else reading(taste.trees)
        of_own = weights[[place[name] for name in own]]
        return cls(
            reads,
            own,
            tuple(reading(model) for model in heads.models),
            tuple(heads.averages),
            None if taste is None or second is None else (of_own, taste.average, second),
        )

    def predict(self, parts: Parts, heads: range) -> np.ndarray:
        """[E, H] float32 log-odds of some heads."""
        found = np.empty((len(parts.product), len(heads)), np.float32)
        for column, head in enumerate(heads):
            forest = self.forests[head]
            found[:, column] = self.averages[head] if forest is None else forest.predict(parts)
        if self.taste is not None and 0 in heads:
            weights, average, trees = self.taste
            weighted = np.flatnonzero(weights)
            start = parts.pairs[weighted].T @ weights[weighted]
            found[:, 0] = (found[:, 0] + (start + np.float32(average) + trees.predict(parts).astype(np.float32))) / 2
        return found


def _in_blocks(asked: Asked, exposed: Exposed, block: Callable[[Asked, Exposed, slice], None]) -> None:
    """Calls `block` with some customers, their exposures, and where those stand; nobody without any is asked about."""

    def some(rows: slice) -> None:
        first, last = np.searchsorted(exposed.customer, [rows.start, rows.stop])
        mine = Exposed(*(values[first:last] for values in exposed))
        if last > first:
            block(asked.take(rows), mine._replace(customer=mine.customer - rows.start), slice(first, last))

    in_blocks(len(asked.now), some)


def fixed_place(names: tuple[str, ...], features: np.ndarray) -> np.ndarray:
    """[E, F] as if every exposure had been in the first place."""
    same = features.copy()
    same[:, names.index(POSITION)] = FIRST_PLACE
    return same


def _channel(asked: Asked) -> np.ndarray:
    return np.zeros(len(asked.now), np.int64) if asked.channel is None else asked.channel
