"""Fits the second stage on answers that the first has not seen, and keeps it only if it helps.

The towers and the simple sources learn from the training part; what customers took up in the validation part, with the
features of just before, is what the ranker learns from. Which ranker, and how many trees, is chosen by
cross-validation over customers; the towers alone are served where they are surely better. Some questions are learned
from once more with one modality missing where that surely helps when one is missing.
"""

from functools import partial
from typing import Any

import numpy as np
import polars as pl

from recsys.bundle import Bundle, Ranking
from recsys.data.splits import Part
from recsys.ranking.boosted import BoostedConfig, RankingRows
from recsys.ranking.interest import Interest
from recsys.ranking.rankers import RankerConfig, fit_ranker
from recsys.ranking.stage import StageConfig
from recsys.ranking.tables import ItemTables, numeric_names
from training.answers import Answers, Examiner, FirstStage
from training.config import TrainConfig
from training.dataset import Prepared
from training.evaluate import FrozenSplit
from training.loop import loop_threads
from training.ranker_choice import CopiesTrial, RankerChoice, Trial, Way


class SecondStage:
    """Chooses the second stage on the validation answers, and fits it for measuring and for serving."""

    def __init__(self, first: FirstStage, split: FrozenSplit, parts: pl.DataFrame, config: TrainConfig) -> None:
        """`parts` are the positives of customers who agreed to profiling."""
        self._first = first
        self._split = split
        self._config = config
        self._ranking = config.ranking
        self._examiner = Examiner(first, split, parts, config)
        choice = RankerChoice(config)
        self._known: list[Answers] = []
        self.copies: CopiesTrial | None = None
        """None: there is nothing to choose."""
        if not len(self._examiner.questions[Part.VALIDATION]):
            self.trials = [Trial("towers", None, np.zeros(0))]
            self.chosen = self.trials[0]
            return
        plain = self._way(0.0)
        self.trials = choice.try_all(plain.answers)
        self.chosen = choice.best_of(self.trials)
        self._known = [plain.answers]
        if self.chosen.ranker is not None and self._ranking.one_missing and self._examiner.modalities:
            copies = self._way(self._ranking.one_missing)
            self.copies = choice.try_copies(self.chosen.ranker, plain, copies, self._examiner.modalities)
            if self.copies.chosen:
                self._known = [copies.answers]

    def for_measuring(self) -> Bundle:
        """The bundle that is measured on the frozen split.

        Where only the validation part has answers, the ranker has learned from them: the towers are measured alone.
        """
        part, queries = self._split.measured
        bundle = self._examiner.pack(queries)
        if part is not Part.TEST or self.chosen.ranker is None:
            return bundle
        sources = self._examiner.sources((Part.TRAIN, Part.VALIDATION), self._share)
        return self._with_ranking(bundle, self.chosen.ranker, self._known, *sources)

    def for_serving(self, bundle: Bundle, everything: Prepared) -> Bundle:
        """The refitted bundle, with a ranker that has learned from all answers that the first stage had not seen."""
        if self.chosen.ranker is None:
            return bundle
        examiner, share, known = self._examiner, self._share, list(self._known)
        if len(examiner.questions[Part.TEST]):
            known.append(examiner.answers(Part.TEST, examiner.before(Part.TEST, share), share))
        same = numeric_names(everything.inputs.products) == numeric_names(self._first.prepared.inputs.products)
        tables = examiner.tables(tuple(Part), everything if same else self._first.prepared)
        interest = examiner.interest(tuple(Part), share, everything, tables)
        return self._with_ranking(bundle, self.chosen.ranker, known, tables, interest)

    def report(self) -> dict[str, Any]:
        """What was tried, with the cross-validated NDCG of each; and what copies that lack a modality are worth."""
        k = self._config.evaluation.k
        found: dict[str, Any] = {
            "chosen": self.chosen.name,
            f"validation_ndcg@{k}": {trial.name: round(trial.mean, 4) for trial in self.trials},
        }
        if self._examiner.source_choice.trials:
            settings = self._examiner.source_choice.settings
            chosen = {name: getattr(settings, name) for name in ("ease_l2", "knn_shrinkage", "knn_keep")}
            found["sources"] = {"chosen": chosen, f"validation_ndcg@{k}": self._examiner.source_choice.report()}
        return found if self.copies is None else found | {f"one_missing_ndcg@{k}": self.copies.report()}

    @property
    def _share(self) -> float:
        """Of the questions that are learned from once more with one modality missing."""
        return self._ranking.one_missing if self.copies is not None and self.copies.chosen else 0.0

    def _way(self, share: float) -> Way:
        """The validation questions as they look to who learns from so many copies."""
        examiner = self._examiner
        known = examiner.before(Part.VALIDATION, share)
        return Way(examiner.answers(Part.VALIDATION, known, share), partial(examiner.without, Part.VALIDATION, known))

    def _with_ranking(
        self, bundle: Bundle, ranker: RankerConfig, known: list[Answers], tables: ItemTables, interest: Interest | None
    ) -> Bundle:
        """The bundle with the chosen ranker, fitted on the known answers."""
        inputs = self._first.prepared.inputs
        learned = [part.learned(np.ones(len(part.queries), bool)) for part in known]
        starts = np.cumsum([0, *(int(part.query.max()) + 1 for part in learned)])
        rows = RankingRows(
            np.concatenate([part.features for part in learned]),
            np.concatenate([part.label for part in learned]),
            np.concatenate([part.query + start for part, start in zip(learned, starts[:-1], strict=True)]),
        )
        model = fit_ranker(rows, known[0].names, ranker, self._config.loop.seed, loop_threads(self._config.loop))
        config = StageConfig(
            candidates=self._ranking.candidates,
            rounds=ranker.rounds if isinstance(ranker, BoostedConfig) else None,
            features=known[0].names,
            event_types=inputs.event_types,
            numbers=numeric_names(inputs.products),
            interest=None if interest is None else interest.config,
        )
        manifest = bundle.manifest.model_copy(update={"stage": config})
        return bundle._replace(manifest=manifest, ranking=Ranking(tables, model, config, interest))
