"""Chooses by cross-validation over customers: which ranker, how many trees, and whether it learns from copies.

Every question is answered by rankers that have not seen it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from recsys.metrics.bootstrap import Interval, bootstrap_difference
from recsys.ranking.linear import LinearConfig
from recsys.ranking.rankers import Ranker, RankerConfig, fit_ranker
from recsys.schema import Modality
from training.answers import Answers
from training.config import TrainConfig
from training.loop import loop_threads

_FEWEST_QUESTIONS = 50
"""With fewer validation questions, cross-validation cannot tell: the towers are served alone."""
_MOST_LACKING = 2000
"""Of the questions that are asked without each modality: more would say little more."""
_DOUBT = 0.05
"""That copies are learned from though they are worth nothing."""
ALL_THERE = "nothing"
"""The name of the questions that lack no modality."""


class Trial(NamedTuple):
    """One choice, cross-validated."""

    name: str
    ranker: RankerConfig | None
    """As many trees as are tried; None: the towers alone."""
    ndcg: np.ndarray
    """[Q]."""

    @property
    def mean(self) -> float:
        """What choices are made by."""
        return float(self.ndcg.mean()) if len(self.ndcg) else 0.0


class Fold(NamedTuple):
    """A ranker, and the questions that it has not seen."""

    held_out: np.ndarray
    """[Q] bool."""
    model: Ranker


class Way(NamedTuple):
    """A way to learn: from whole questions alone, or from copies of some of them too."""

    answers: Answers
    """What is learned from."""
    without: Callable[[Modality, np.ndarray], Answers]
    """Some of its questions, [B] int, with a modality missing, as this way sees them."""


@dataclass(frozen=True)
class CopiesTrial:
    """Learning from copies of some questions, each with one modality missing, beside learning from whole ones alone."""

    plain: Mapping[str, np.ndarray]
    """The modality that is missing in all questions to [Q] NDCG; `ALL_THERE`: none is."""
    copies: Mapping[str, np.ndarray]
    samples: int
    """Of the bootstrap."""

    @property
    def chosen(self) -> bool:
        """Whether copies are surely worth it where some modality is missing.

        Sure of all modalities together (Bonferroni): with many of them, one would seem to gain by chance.
        """
        missing = [name for name in self.plain if name != ALL_THERE]
        return any(self._ahead(name, 1 - _DOUBT / len(missing)).low > 0 for name in missing)

    def report(self) -> dict[str, Any]:
        """The numbers that the choice was made by."""
        missing = {
            name: {
                "plain": float(self.plain[name].mean()),
                "copies": float(self.copies[name].mean()),
                "copies_minus_plain": self._ahead(name, 1 - _DOUBT)._asdict(),
            }
            for name in self.plain
        }
        return {"learned_from_copies": self.chosen, "missing": missing}

    def _ahead(self, name: str, level: float) -> Interval:
        """Paired by customer."""
        return bootstrap_difference(self.copies[name], self.plain[name], self.samples, level=level)


class RankerChoice:
    """Compares rankers on known answers."""

    def __init__(self, config: TrainConfig) -> None:
        self._ranking = config.ranking
        self._seed = config.loop.seed
        self._threads = loop_threads(config.loop)
        self._k = config.evaluation.k
        self._samples = config.evaluation.bootstrap_samples

    def try_all(self, answers: Answers) -> list[Trial]:
        """The towers alone, and each ranker, those of trees at each number of them."""
        trials = [Trial("towers", None, answers.ndcg(answers.tower, self._k))]
        questions = np.unique(answers.rows.query[answers.rows.label > 0])
        if self._ranking.enabled and len(questions) >= _FEWEST_QUESTIONS:
            for ranker in self._ranking.rankers:
                trials += self._cross_validate(answers, ranker)
        return trials

    def best_of(self, trials: Sequence[Trial]) -> Trial:
        """The best ranker, unless the towers alone are surely better.

        The towers' epochs were chosen on these very answers, which flatters them; a ranker knows their score, and is
        learned from answers that they have not seen. Of equal rankers, the simpler.
        """
        towers, *rankers = trials
        if not rankers:
            return towers
        best = max(rankers, key=lambda trial: trial.mean)
        return towers if bootstrap_difference(towers.ndcg, best.ndcg, self._samples).low > 0 else best

    def try_copies(self, ranker: RankerConfig, plain: Way, copies: Way, modalities: Sequence[Modality]) -> CopiesTrial:
        """One ranker, learned both ways, and asked without each modality in turn."""
        plainly, copied = (self._without_each(ranker, way, modalities) for way in (plain, copies))
        return CopiesTrial(plainly, copied, self._samples)

    def _without_each(self, ranker: RankerConfig, way: Way, modalities: Sequence[Modality]) -> dict[str, np.ndarray]:
        """What is missing to [B] NDCG."""
        questions = len(way.answers.queries)
        rows = np.sort(np.random.default_rng(self._seed).permutation(questions)[:_MOST_LACKING])
        folds = self._folds(way.answers, ranker)
        ndcg = {ALL_THERE: self._held_out(way.answers, folds)[rows]}
        for modality in modalities:
            mine = [Fold(held_out[rows], model) for held_out, model in folds]
            ndcg[str(modality)] = self._held_out(way.without(modality, rows), mine)
        return ndcg

    def _held_out(self, answers: Answers, folds: list[Fold], rounds: int | None = None) -> np.ndarray:
        """[Q] NDCG of questions by rankers that have not seen them; with `rounds`, by their first so many trees."""
        scores = np.empty(len(answers.rows.label), np.float32)
        for held_out, model in folds:
            asked = held_out[answers.rows.query]
            scores[asked] = model.predict(answers.rows.features[asked], rounds)
        return answers.ndcg(answers.dense(scores), self._k)

    def _cross_validate(self, answers: Answers, ranker: RankerConfig) -> list[Trial]:
        """One trial per number of trees."""
        if isinstance(ranker, LinearConfig):
            ndcg = self._held_out(answers, self._folds(answers, ranker))
            return [Trial(f"conditional logit, l2 {ranker.l2:g}", ranker, ndcg)]
        step = self._ranking.round_step
        numbers = range(min(step, ranker.rounds), ranker.rounds + 1, step)
        folds = self._folds(answers, ranker)
        return [
            Trial(
                f"{ranker.objective}, {number} trees",
                ranker.model_copy(update={"rounds": number}),
                self._held_out(answers, folds, number),
            )
            for number in numbers
        ]

    def _folds(self, answers: Answers, ranker: RankerConfig) -> list[Fold]:
        """Rankers that each have not seen some of the questions, every question by one of them."""
        fold = np.random.default_rng(self._seed).permutation(len(answers.queries)) % self._ranking.folds
        return [
            Fold(mine, fit_ranker(answers.learned(~mine), answers.names, ranker, self._seed, self._threads))
            for mine in (fold == number for number in range(self._ranking.folds))
        ]
