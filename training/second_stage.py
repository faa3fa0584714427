"""Fits the second stage on answers that the first has not seen, and keeps it only if it helps.

The towers and the simple sources learn from the training part; what customers took up in the validation part, with the
features of just before, is what the boosted ranker learns from. Which ranker, and how many trees, is chosen by
cross-validation over customers; the towers alone are served where they are surely better.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys.bundle import Bundle, PriorConfig, Ranking
from recsys.data.splits import Part
from recsys.metrics.bootstrap import bootstrap_difference
from recsys.modeling.reader import ModelReader
from recsys.modeling.two_tower import TwoTower
from recsys.ranking.boosted import BoostedConfig, BoostedRanker, RankingRows
from recsys.ranking.candidates import candidate_mask
from recsys.ranking.features import Asked, FeatureBuilder, Pairs
from recsys.ranking.interest import INTEREST, Interest
from recsys.ranking.sources import Sources
from recsys.ranking.stage import StageConfig
from recsys.ranking.tables import ItemTables, numeric_names
from recsys.recommender import Recommender
from recsys.schema import Kind, Modality
from training.config import TrainConfig
from training.dataset import Catalogue, Prepared
from training.evaluate import FrozenSplit
from training.interest import InterestFitter
from training.item_tables import fit_tables
from training.labels import teachers
from training.loop import loop_threads
from training.missing import drawn_without
from training.packing import BundlePacker
from training.queries import Queries
from training.scoring import metrics_of, query_instant, read_queries

_QUESTIONS_AT_ONCE = 512
"""Bounds the memory of the sources' scores, [Q, P] each."""
_FEWEST_QUESTIONS = 50
"""With fewer validation questions, cross-validation cannot tell: the towers are served alone."""


class Trial(NamedTuple):
    """One choice, cross-validated."""

    name: str
    ranker: BoostedConfig | None
    """None: the towers alone."""
    rounds: int
    ndcg: float


class FirstStage(NamedTuple):
    """A model that has learned from the training part only."""

    packer: BundlePacker
    model: TwoTower
    prepared: Prepared
    prior: PriorConfig


@dataclass(frozen=True)
class Answers:
    """Questions whose answers are known, with the features of their candidates."""

    queries: Queries
    pairs: Pairs
    rows: RankingRows
    names: tuple[str, ...]
    tower: np.ndarray
    """[Q, P] float32."""
    lacking: "Lacking | None" = None
    """Some of the questions once more, each with one modality missing."""

    def learned(self, questions: np.ndarray) -> RankingRows:
        """What some questions teach, [Q] bool: the rows of `rows`, then those of `lacking`."""
        mine = self.rows.take(questions[self.rows.query])
        if self.lacking is None:
            return mine
        more = self.lacking.rows.take(questions[self.lacking.question])
        return RankingRows(*(np.concatenate(values) for values in zip(mine, more, strict=True)))

    def dense(self, scores: np.ndarray) -> np.ndarray:
        """[E] scores of the pairs to [Q, P], -inf elsewhere."""
        out = np.full(self.tower.shape, -np.inf, np.float32)
        out[self.pairs] = scores
        return out

    def ndcg(self, scores: np.ndarray, k: int) -> np.ndarray:
        """[Q] of [Q, P] scores."""
        return metrics_of(scores, self.queries, k).ndcg


class Lacking(NamedTuple):
    """Questions that lack a modality, with the features of their candidates."""

    rows: RankingRows
    """Their numbers follow those of the whole questions."""
    question: np.ndarray
    """[E] int64: of which question each row is."""


def _numbered(parts: list[tuple[np.ndarray, Answers]], first: int) -> Lacking | None:
    """`parts` are which questions there are, and what there is of them; the new numbers begin at `first`."""
    if not parts:
        return None
    starts = first + np.cumsum([0, *(len(which) for which, _ in parts)])
    rows = [
        part.rows._replace(query=part.rows.query + start)
        for (_, part), start in zip(parts, starts[:-1].tolist(), strict=True)
    ]
    question = [which[part.rows.query] for which, part in parts]
    return Lacking(RankingRows(*map(np.concatenate, zip(*rows, strict=True))), np.concatenate(question))


class SecondStage:
    """Chooses the second stage on the validation answers, and fits it for measuring and for serving."""

    def __init__(self, first: FirstStage, split: FrozenSplit, parts: pl.DataFrame, config: TrainConfig) -> None:
        """`parts` are the positives of customers who agreed to profiling."""
        self._first = first
        self._split = split
        self._parts = parts
        self._config = config
        self._ranking = config.ranking
        self._k = config.evaluation.k
        self._teachers = teachers(parts, config.labels)
        self._agreed = split.of(self._teachers)
        """The questions about customers who agreed to profiling: nothing is learned from the others' answers."""
        self._before = self._earlier_questions()
        self._interests: dict[tuple[int, int], Interest | None] = {}
        """By the columns that they read, and how many parts had answered."""
        validation = self._agreed.validation
        self._known = [self._answers((Part.TRAIN,), validation, [])] if len(validation) else []
        self._ndcg: dict[str, np.ndarray] = {}
        """Name of a trial to [Q]."""
        self.trials = self._try_all()
        self.chosen = self._choose()

    def for_measuring(self) -> Bundle:
        """The bundle that is measured on the frozen split.

        Where only the validation part has answers, the ranker has learned from them: the towers are measured alone.
        """
        first, (part, queries) = self._first, self._split.measured
        bundle = self._pack(queries)
        if part is not Part.TEST or self.chosen.ranker is None:
            return bundle
        tables = self._tables((Part.TRAIN, Part.VALIDATION), self._split.catalogue, first.prepared)
        interest = self._interest(first.prepared, [self._agreed.validation], tables)
        return self._with_ranking(bundle, self._known, tables, interest)

    def for_serving(self, bundle: Bundle, everything: Prepared) -> Bundle:
        """The refitted bundle, with a ranker that has learned from all answers that the first stage had not seen."""
        if self.chosen.ranker is None:
            return bundle
        known, answered = list(self._known), [self._agreed.validation]
        if len(self._agreed.test):
            known.append(self._answers((Part.TRAIN, Part.VALIDATION), self._agreed.test, answered))
            answered.append(self._agreed.test)
        catalogue = self._split.catalogue
        same = numeric_names(everything.inputs.products) == numeric_names(self._first.prepared.inputs.products)
        tables = self._tables(tuple(Part), catalogue, everything if same else self._first.prepared)
        return self._with_ranking(bundle, known, tables, self._interest(everything, answered, tables))

    def report(self) -> dict[str, Any]:
        """What was tried, with the cross-validated NDCG of each."""
        return {
            "chosen": self.chosen.name,
            f"validation_ndcg@{self._k}": {trial.name: round(trial.ndcg, 4) for trial in self.trials},
        }

    def _pack(self, queries: Queries) -> Bundle:
        first = self._first
        until = query_instant(queries)
        return first.packer.pack(first.model, first.prepared, self._split.catalogue, first.prior, until)

    def _tables(self, keep: tuple[Part, ...], catalogue: Catalogue, prepared: Prepared) -> ItemTables:
        return fit_tables(self._parts, keep, catalogue, prepared, self._ranking.tables)

    def _earlier_questions(self) -> list[Queries]:
        recipe = self._ranking.interest
        if not (self._ranking.enabled and recipe.enabled):
            return []
        asked = self._split.earlier(recipe.questions)
        return [some for queries in asked if len(some := queries.of(self._teachers))]

    def _interest(self, prepared: Prepared, answered: list[Queries], tables: ItemTables) -> Interest | None:
        """The model of interest, of earlier questions and of those that are answered by now."""
        key = id(prepared), len(answered)
        if key not in self._interests:
            self._interests[key] = self._fit_interest(prepared, answered, tables)
        return self._interests[key]

    def _fit_interest(self, prepared: Prepared, answered: list[Queries], tables: ItemTables) -> Interest | None:
        if not self._before:
            return None
        catalogue, loop = self._split.catalogue, self._config.loop
        reader = ModelReader(prepared.inputs, catalogue.product_ids, catalogue.content_ids)
        fitter = InterestFitter(prepared, reader, self._ranking.interest, loop.seed)
        asked = [*self._before, *answered]
        lacking = [some for queries in asked for _, some in self._lacking(queries)]
        examples = (fitter.examples(questions, tables) for questions in (asked, lacking))
        return fitter.fit(next(examples), tables, loop_threads(loop), next(examples))

    def _lacking(self, queries: Queries) -> list[tuple[np.ndarray, Queries]]:
        """Some of the questions, by the modality that is missing in them; who has no history is met anyway."""
        modalities = [one for one in self._first.model.customers.modalities if one is not Modality.HISTORY]
        if not modalities:
            return []
        return drawn_without(queries, modalities, self._ranking.one_missing, self._config.loop.seed)

    def _answers(self, keep: tuple[Part, ...], queries: Queries, answered: list[Queries]) -> Answers:
        """The candidates of the questions with their features and labels; simple sources learn from `keep`."""
        recommender = Recommender(self._pack(queries))
        tables = self._tables(keep, self._split.catalogue, self._first.prepared)
        interest = self._interest(self._first.prepared, answered, tables)
        answers = self._examined(queries, recommender, tables, interest)
        lacking = [(rows, self._examined(some, recommender, tables, interest)) for rows, some in self._lacking(queries)]
        return replace(answers, lacking=_numbered(lacking, len(queries)))

    def _examined(
        self, queries: Queries, recommender: Recommender, tables: ItemTables, interest: Interest | None
    ) -> Answers:
        rows = read_queries(recommender.reader, queries)
        tower = recommender.tower_scores(recommender.encode_rows(rows), Kind.PRODUCTS)
        asked = Asked(rows.history, rows.now, tower, rows.columns)
        inputs = self._first.prepared.inputs
        builder = FeatureBuilder(tables, inputs.event_types, numeric_names(inputs.products))
        names: tuple[str, ...] = ()
        pairs: list[Pairs] = []
        features: list[np.ndarray] = []
        for start in range(0, len(queries), _QUESTIONS_AT_ONCE):
            chunk = np.arange(start, min(start + _QUESTIONS_AT_ONCE, len(queries)))
            some = asked.take(chunk)
            sources = Sources.of(tables, some.history)
            mask = candidate_mask(some, sources, tables.activity, queries.allowed[chunk], self._ranking.candidates)
            local = Pairs(*np.nonzero(mask))
            columns = builder.build(some, sources.scores(tables), local, which=sources.which)
            if interest is not None:
                columns[INTEREST] = interest.score(some, columns, local)
            names = tuple(columns)
            features.append(np.stack(list(columns.values()), axis=1))
            pairs.append(Pairs(local.customer + start, local.product))
        every = Pairs(*(np.concatenate(values) for values in zip(*pairs, strict=True)))
        relevant = queries.relevant.mask(np.arange(len(queries)), tower.shape[1])
        learned = RankingRows(np.concatenate(features), relevant[every].astype(np.float32), every.customer)
        return Answers(queries, every, learned, names, tower)

    def _try_all(self) -> list[Trial]:
        if not self._known:
            return [Trial("towers", None, 0, 0.0)]
        answers = self._known[0]
        trials = [self._trial("towers", None, 0, answers.ndcg(answers.tower, self._k))]
        questions = np.unique(answers.rows.query[answers.rows.label > 0])
        if self._ranking.enabled and len(questions) >= _FEWEST_QUESTIONS:
            for ranker in self._ranking.rankers:
                trials += self._cross_validate(answers, ranker)
        return trials

    def _cross_validate(self, answers: Answers, ranker: BoostedConfig) -> list[Trial]:
        """One trial per number of trees; every question is answered by a ranker that has not seen it."""
        step, seed = self._ranking.round_step, self._config.loop.seed
        numbers = range(min(step, ranker.rounds), ranker.rounds + 1, step)
        scores = {number: np.empty(len(answers.rows.label), np.float32) for number in numbers}
        fold = np.random.default_rng(seed).permutation(len(answers.queries)) % self._ranking.folds
        of_row = fold[answers.rows.query]
        for held_out in range(self._ranking.folds):
            model = BoostedRanker.fit(answers.learned(fold != held_out), ranker, seed, loop_threads(self._config.loop))
            asked = of_row == held_out
            for number in numbers:
                scores[number][asked] = model.predict(answers.rows.features[asked], number)
        return [
            self._trial(
                f"{ranker.objective}, {number} trees", ranker, number, answers.ndcg(answers.dense(values), self._k)
            )
            for number, values in scores.items()
        ]

    def _trial(self, name: str, ranker: BoostedConfig | None, rounds: int, ndcg: np.ndarray) -> Trial:
        self._ndcg[name] = ndcg
        return Trial(name, ranker, rounds, float(ndcg.mean()))

    def _choose(self) -> Trial:
        """The best ranker, unless the towers alone are surely better.

        The towers' epochs were chosen on these very answers, which flatters them; a ranker knows their score, and is
        learned from answers that they have not seen. Of equal rankers, the simpler.
        """
        towers, *rankers = self.trials
        if not rankers:
            return towers
        best = max(rankers, key=lambda trial: trial.ndcg)
        ahead = bootstrap_difference(
            self._ndcg[towers.name], self._ndcg[best.name], self._config.evaluation.bootstrap_samples
        )
        return towers if ahead.low > 0 else best

    def _with_ranking(
        self, bundle: Bundle, known: list[Answers], tables: ItemTables, interest: Interest | None
    ) -> Bundle:
        """The bundle with the chosen ranker, fitted on the known answers."""
        chosen, inputs = self.chosen, self._first.prepared.inputs
        assert chosen.ranker is not None  # noqa: S101 - asked before
        learned = [part.learned(np.ones(len(part.queries), bool)) for part in known]
        starts = np.cumsum([0, *(int(part.query.max()) + 1 for part in learned)])
        rows = RankingRows(
            np.concatenate([part.features for part in learned]),
            np.concatenate([part.label for part in learned]),
            np.concatenate([part.query + start for part, start in zip(learned, starts[:-1], strict=True)]),
        )
        ranker = chosen.ranker.model_copy(update={"rounds": chosen.rounds})
        model = BoostedRanker.fit(rows, ranker, self._config.loop.seed, loop_threads(self._config.loop))
        config = StageConfig(
            candidates=self._ranking.candidates,
            rounds=chosen.rounds,
            features=known[0].names,
            event_types=inputs.event_types,
            numbers=numeric_names(inputs.products),
            interest=None if interest is None else interest.config,
        )
        manifest = bundle.manifest.model_copy(update={"stage": config})
        return bundle._replace(manifest=manifest, ranking=Ranking(tables, model, config, interest))
