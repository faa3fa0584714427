"""The strongest peer: candidates of four methods and of popularity, ranked by LightGBM's LambdaRank (Burges 2010).

It learns from the validation answers: its features come from sources that were fitted before them. For the exam the
sources are fitted again on everything that is known then, and the ranker stays as it is.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from recsys.config import BaseConfig
from recsys.errors import RecsysError
from training.peers.base import PeerSettings
from training.peers.boosted_features import BoostedFeatures, Pairs, make_sources
from training.peers.interactions import Asked, Interactions, Items, Lesson, Questions
from training.peers.tuning import measure, tune

FOLDS = 3
_STEP = 20
"""Rounds between two looks at the held-out customers."""
_LEARNERS = 20_000
"""Questions that the ranker learns from at most: memory grows with them."""
_OUT_OF_SIGHT = -1e3
"""Score of a product that no source proposes; among those the first source decides."""


class BoostedSettings(BaseConfig):
    """Of the ranker; the sources have their own."""

    per_source: int = Field(default=100, ge=1)
    """Candidates of each source."""
    leaves: int = Field(default=7, ge=2)
    learning_rate: float = Field(default=0.05, gt=0)
    rounds: int = Field(default=500, ge=1)
    """At most; the best number is found by cross-validation over customers."""
    smallest_leaf: int = Field(default=200, ge=1)
    seed: int = Field(default=0, ge=0)


GRID = tuple(BoostedSettings(leaves=leaves, smallest_leaf=smallest) for leaves in (4, 7) for smallest in (200, 500))
"""Small trees: a thousand validation answers, one a customer, are few."""


@dataclass(frozen=True)
class TunedRanker:
    """What was tried and chosen."""

    settings: BoostedSettings
    rounds: int
    sources: dict[str, PeerSettings]
    trials: list[dict[str, Any]]
    seconds: float
    training_seconds: float
    """Of these, one training of the ranker with the chosen settings."""


class BoostedPeer:
    """The two-stage ranker."""

    def __init__(self, items: Items, k: int, seed: int = 0) -> None:
        self.items = items
        self.k = k
        self.seed = seed

    def learn(self, lesson: Lesson) -> TunedRanker:
        """Tunes the sources, then the ranker by cross-validation over the lesson's customers, and trains it.

        Raises:
            RecsysError: no answer of the lesson is among the candidates.
        """
        started = time.perf_counter()
        sources = {name: tune(source, lesson, lesson.known, self.k).settings for name, source in make_sources().items()}
        features = BoostedFeatures(lesson.known, self.items, sources)
        questions = _some(lesson.questions, self.seed)
        pairs = _collect(features, questions, GRID[0].per_source)
        labels = questions.relevant.mask(np.arange(len(questions)), lesson.known.n_products)
        hits = labels[pairs.question, pairs.product]
        if not hits.any():
            raise RecsysError("the boosted ranker has nothing to learn from: no validation answer is a candidate")
        trials = [self._cross_validate(pairs, hits, questions, settings) for settings in GRID]
        best = max(range(len(GRID)), key=lambda place: trials[place][0])
        _, rounds = trials[best]
        training = time.perf_counter()
        self._ranker = _train(pairs, hits, GRID[best].model_copy(update={"rounds": rounds, "seed": self.seed}))
        trained = time.perf_counter() - training
        self._settings, self._sources = GRID[best], sources
        shown = [
            {**settings.model_dump(exclude={"seed", "rounds"}), "rounds": tried[1], "ndcg": round(tried[0], 5)}
            for settings, tried in zip(GRID, trials, strict=True)
        ]
        return TunedRanker(GRID[best], rounds, sources, shown, time.perf_counter() - started, trained)

    def refit_sources(self, known: Interactions) -> None:
        """Fits the sources again, on all that is known when the exam is asked."""
        self._features = BoostedFeatures(known, self.items, self._sources)

    def scores(self, asked: Asked, allowed: np.ndarray) -> np.ndarray:
        """[B, P] float32 of B questions with their candidates, [B, P] bool."""
        pairs = self._features.pairs(asked, allowed, self._settings.per_source)
        first = next(iter(self._features.sources.values())).scores(asked)
        spread = np.maximum(np.abs(first).max(axis=1, keepdims=True), 1e-9)
        scores = _OUT_OF_SIGHT + first / spread
        if len(pairs.question):
            scores[pairs.question, pairs.product] = self._ranker.predict(pairs.features)
        return scores.astype(np.float32)

    def importance(self, n: int = 10) -> dict[str, float]:
        """The share of the total gain of the n features with the largest."""
        gain = self._ranker.feature_importance("gain")
        order = np.argsort(-gain, kind="stable")[:n]
        names = self._features.names()
        return {names[place]: round(float(gain[place] / max(gain.sum(), 1e-9)), 4) for place in order}

    def _cross_validate(
        self, pairs: Pairs, hits: np.ndarray, questions: Questions, settings: BoostedSettings
    ) -> tuple[float, int]:
        """Best mean NDCG of held-out customers, and the rounds that it took."""
        fold = np.random.default_rng(self.seed).permutation(len(questions)) % FOLDS
        steps = range(_STEP, settings.rounds + 1, _STEP)
        total = np.zeros((len(steps), len(questions)))
        for held in range(FOLDS):
            inside, outside = fold[pairs.question] != held, fold[pairs.question] == held
            if not hits[inside].any():
                return 0.0, steps[0]
            ranker = _train(_select(pairs, inside), hits[inside], settings.model_copy(update={"seed": self.seed}))
            rows = np.flatnonzero(fold == held)
            part, local = questions.take(rows), np.searchsorted(rows, pairs.question[outside])
            predicted = np.zeros(int(outside.sum()))
            for place, rounds in enumerate(steps):
                predicted += ranker.predict(
                    pairs.features[outside], start_iteration=rounds - _STEP, num_iteration=_STEP, raw_score=True
                )
                scores = np.full(part.allowed.shape, _OUT_OF_SIGHT, np.float32)
                scores[local, pairs.product[outside]] = predicted
                total[place, rows] = measure(scores, part, self.k).ndcg
        means = total.mean(axis=1)
        best = int(means.argmax())
        return float(means[best]), steps[best]


def _train(pairs: Pairs, hits: np.ndarray, settings: BoostedSettings) -> Any:
    import lightgbm

    groups = np.bincount(pairs.question)
    data = lightgbm.Dataset(pairs.features, hits.astype(np.int32), group=groups[groups > 0], free_raw_data=True)
    parameters = {
        "objective": "lambdarank",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.smallest_leaf,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "lambdarank_truncation_level": 30,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return lightgbm.train(parameters, data, num_boost_round=settings.rounds)


def _some(questions: Questions, seed: int) -> Questions:
    if len(questions) <= _LEARNERS:
        return questions
    rows = np.random.default_rng(seed).choice(len(questions), _LEARNERS, replace=False)
    return questions.take(np.sort(rows))


def _collect(features: BoostedFeatures, questions: Questions, per_source: int) -> Pairs:
    """The candidates of all questions, computed a batch at a time."""
    parts = []
    for rows in questions.batches():
        asked = Asked(*(values[rows] for values in questions.asked))
        found = features.pairs(asked, questions.allowed[rows], per_source)
        parts.append(found._replace(question=rows[found.question]))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _select(pairs: Pairs, chosen: np.ndarray) -> Pairs:
    return Pairs(*(column[chosen] for column in pairs))
