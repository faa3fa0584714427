"""What the boosted ranker sees of a customer and a candidate: other methods' scores, transitions, popularity, content.

The features are those that the benchmark's strongest peer had. Letters: B questions, P products, N chosen pairs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from training.peers.als import AlsPeer
from training.peers.as_of import DAY, NEVER, AsOf, Window
from training.peers.base import Peer, PeerSettings
from training.peers.ease import EasePeer
from training.peers.interactions import Asked, Interactions, Items
from training.peers.itemknn import ItemKnnPeer
from training.peers.transitions import RECENT, TransitionsPeer

WINDOWS: dict[str, float | None] = {"all": None, "30d": 30.0, "7d": 7.0}
LATEST = 5
"""The products that count as the recent history."""


class Pairs(NamedTuple):
    """N candidates of B questions, question by question."""

    question: np.ndarray
    """[N] int64 in 0..B-1, rising."""
    product: np.ndarray
    """[N] int64."""
    features: np.ndarray
    """[N, F] float32, NaN where something is not known."""


def make_sources() -> dict[str, Peer[Any]]:
    """The methods whose best products are the candidates, beside popularity."""
    return {"ease": EasePeer(), "als": AlsPeer(), "itemknn": ItemKnnPeer(), "transitions": TransitionsPeer()}


class BoostedFeatures:
    """Candidates and their features, from fitted sources."""

    def __init__(self, known: Interactions, items: Items, settings: dict[str, PeerSettings]) -> None:
        """Fits every source of `make_sources` on `known` with its settings."""
        self.known = known
        self.items = items
        self.sources = make_sources()
        for name, source in self.sources.items():
            source.fit(known, settings[name])
        self._as_of = AsOf(known)

    def pairs(self, asked: Asked, allowed: np.ndarray, per_source: int) -> Pairs:
        """The best `per_source` allowed products of each source, with their features.

        Args:
            asked: B customers.
            allowed: [B, P] bool.
            per_source: candidates of each source and of each window's popularity.
        """
        sources = dict(self._sources(asked))
        ranks = {name: _ranks(scores, allowed) for name, scores in sources.items()}
        chosen = np.zeros_like(allowed)
        for rank in ranks.values():
            chosen |= rank < per_source
        question, product = np.nonzero(chosen & allowed)
        columns = [sources[name][question, product] for name in sources]
        columns += [ranks[name][question, product] for name in ranks]
        columns += list(self._behaviour(asked, question, product))
        columns += list(self._content(asked, question, product))
        return Pairs(question, product, np.stack(columns, axis=1).astype(np.float32))

    def names(self) -> list[str]:
        """F names, in the order of the columns."""
        sources = [*self.sources, *(f"popularity_{window}" for window in WINDOWS)]
        names = [f"{name}_score" for name in sources] + [f"{name}_rank" for name in sources]
        names += [f"transition_from_last_{place}" for place in range(1, RECENT + 1)]
        names += ["days_since_product_event", "activity"]
        for space in self.items.spaces:
            names += [f"{space}_to_history", f"{space}_to_recent"]
        for number in range(self.items.numbers.shape[1]):
            names += [f"number_{number}", f"number_{number}_to_history"]
        return names

    def _sources(self, asked: Asked) -> Iterator[tuple[str, np.ndarray]]:
        for name, source in self.sources.items():
            yield name, source.scores(asked)
        for name, days in WINDOWS.items():
            yield f"popularity_{name}", np.log1p(self._as_of.counts(asked.now, Window(days)))

    def _behaviour(self, asked: Asked, question: np.ndarray, product: np.ndarray) -> Iterator[np.ndarray]:
        transitions = self.sources["transitions"]
        assert isinstance(transitions, TransitionsPeer)  # noqa: S101 - made by `make_sources`
        yield from transitions.scores_of_last(asked)[:, question, product]
        last = self._as_of.last_seen(asked.now)[question, product]
        age = (asked.now[question] - np.where(last == NEVER, 0, last)) / DAY
        yield np.where(last == NEVER, np.nan, np.log1p(np.maximum(age, 0)))
        yield np.log1p(self.known.activity[asked.customer])[question]

    def _content(self, asked: Asked, question: np.ndarray, product: np.ndarray) -> Iterator[np.ndarray]:
        whole = self.known.matrix()[asked.customer]
        last = self.known.last(asked.customer, LATEST)
        recent = (last[:, :, None] == np.arange(self.known.n_products)).any(axis=1).astype(np.float32)
        for vectors in self.items.spaces.values():
            for history in (whole, recent):
                towards = _unit(np.asarray(history @ vectors))
                yield (towards @ vectors.T)[question, product]
        for values in self.items.numbers.T:
            filled, there = np.nan_to_num(values), (~np.isnan(values)).astype(np.float32)
            with np.errstate(invalid="ignore"):
                mean = np.asarray(whole @ filled) / np.asarray(whole @ there)
            yield values[product]
            yield values[product] - mean[question]


def _ranks(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """[B, P] float32: place of each product among the allowed, from 0; equal scores share their middle place."""
    masked = np.where(allowed, scores, -np.inf)
    order = np.argsort(-masked, axis=1, kind="stable")
    ordered = np.take_along_axis(masked, order, axis=1)
    width = np.arange(scores.shape[1])
    new = np.concatenate([np.ones((len(scores), 1), bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    start = np.maximum.accumulate(np.where(new, width, 0), axis=1)
    ends = np.where(np.concatenate([new[:, 1:], np.ones((len(scores), 1), bool)], axis=1), width, width[-1])
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    out = np.empty_like(scores, np.float32)
    np.put_along_axis(out, order, ((start + end) / 2).astype(np.float32), axis=1)
    return out


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
