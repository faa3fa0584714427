"""Questions whose answers are known, with the features of their candidates: what the second stage is learned from.

Whoever is asked about in a part is looked at with what had been learned before it: towers and simple sources of the
training part, a model of interest of earlier questions and of those that were answered by then.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys.bundle import Bundle, PriorConfig
from recsys.data.splits import Part
from recsys.modeling.reader import ModelReader
from recsys.modeling.two_tower import TwoTower
from recsys.ranking.boosted import RankingRows
from recsys.ranking.candidates import candidate_mask
from recsys.ranking.features import Asked, FeatureBuilder, Pairs
from recsys.ranking.interest import INTEREST, Interest
from recsys.ranking.sources import Sources
from recsys.ranking.tables import ItemTables, numeric_names
from recsys.recommender import Recommender
from recsys.schema import Kind, Modality
from training.config import TrainConfig
from training.dataset import Prepared
from training.evaluate import FrozenSplit
from training.interest import InterestFitter
from training.item_tables import fit_tables, read_sequences
from training.labels import teachers
from training.loop import loop_threads
from training.missing import drawn_without, without
from training.packing import BundlePacker
from training.queries import Queries
from training.ranking_config import TablesConfig
from training.scoring import metrics_of, query_instant, read_queries
from training.source_choice import SourceChoice, choose_sources

_QUESTIONS_AT_ONCE = 512
"""Bounds the memory of the sources' scores, [Q, P] each."""


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


class Knowledge(NamedTuple):
    """What had been learned by an instant."""

    recommender: Recommender
    """The towers alone."""
    tables: ItemTables
    interest: Interest | None


class Examiner:
    """Looks at questions with what had been learned by then.

    Everywhere, `share` is how many of the questions are learned from once more with one modality missing.
    """

    def __init__(self, first: FirstStage, split: FrozenSplit, parts: pl.DataFrame, config: TrainConfig) -> None:
        """`parts` are the positives of customers who agreed to profiling."""
        self._first = first
        self._split = split
        self._parts = parts
        self._config = config
        taught = teachers(parts, config.labels)
        agreed = split.of(taught)
        self.questions = {Part.VALIDATION: agreed.validation, Part.TEST: agreed.test}
        """About customers who agreed to profiling: nothing is learned from the others' answers."""
        recipe = config.ranking.interest
        asked = split.earlier(recipe.questions) if config.ranking.enabled and recipe.enabled else []
        self._earlier = [some for queries in asked if len(some := queries.of(taught))]
        self.modalities = [one for one in first.model.customers.modalities if one is not Modality.HISTORY]
        """Those that some questions lack; who has no history is met anyway."""
        self.source_choice = self._choose_sources()
        self._fitters: dict[int, InterestFitter] = {}
        """By the columns that they read."""
        self._tables: dict[tuple[Part, ...], ItemTables] = {}
        self._interests: dict[tuple[tuple[Part, ...], float], Interest | None] = {}

    def pack(self, queries: Queries) -> Bundle:
        """The towers as of the questions, alone."""
        first, until = self._first, query_instant(queries)
        return first.packer.pack(first.model, first.prepared, self._split.catalogue, first.prior, until)

    def sources(self, keep: tuple[Part, ...], share: float) -> tuple[ItemTables, Interest | None]:
        """What has learned from these parts, read by the first stage's encodings."""
        if keep not in self._tables:
            self._tables[keep] = self.tables(keep, self._first.prepared)
        tables = self._tables[keep]
        if (keep, share) not in self._interests:
            self._interests[keep, share] = self.interest(keep, share, self._first.prepared, tables)
        return tables, self._interests[keep, share]

    def tables(self, keep: tuple[Part, ...], prepared: Prepared) -> ItemTables:
        """The simple sources of these parts."""
        return fit_tables(self._parts, keep, self._split.catalogue, prepared, self._recipe)

    def interest(self, keep: tuple[Part, ...], share: float, prepared: Prepared, tables: ItemTables) -> Interest | None:
        """The model of interest, of earlier questions and of those that these parts answer."""
        if not self._earlier:
            return None
        asked = [
            *self._earlier,
            *(queries for part, queries in self.questions.items() if part in keep and len(queries)),
        ]
        lacking = [some for queries in asked for _, some in self._drawn(queries, share)]
        fitter = self._fitter(prepared)
        examples = (fitter.examples(questions, tables) for questions in (asked, lacking))
        return fitter.fit(next(examples), tables, loop_threads(self._config.loop), next(examples))

    def before(self, part: Part, share: float) -> Knowledge:
        """What had been learned before the validation or the test part."""
        keep = (Part.TRAIN,) if part is Part.VALIDATION else (Part.TRAIN, Part.VALIDATION)
        return Knowledge(Recommender(self.pack(self.questions[part])), *self.sources(keep, share))

    def answers(self, part: Part, known: Knowledge, share: float) -> Answers:
        """The candidates of the part's questions with their features and labels, and copies of some questions."""
        queries = self.questions[part]
        lacking = [(rows, self._examined(some, known)) for rows, some in self._drawn(queries, share)]
        return replace(self._examined(queries, known), lacking=_numbered(lacking, len(queries)))

    def without(self, part: Part, known: Knowledge, modality: Modality, rows: np.ndarray) -> Answers:
        """Questions `rows` of the part, [B] int, with a modality missing."""
        return self._examined(without(self.questions[part].take(rows), modality), known)

    def _choose_sources(self) -> SourceChoice:
        """The settings of the simple sources, by the validation questions."""
        catalogue, config, asked = self._split.catalogue, self._config, self.questions[Part.VALIDATION]
        tables = config.ranking.tables
        if not (config.ranking.enabled and len(asked)):
            return SourceChoice(tables.neighbours, [])
        reader = ModelReader(self._first.prepared.inputs, catalogue.product_ids, catalogue.content_ids)
        sequences, _ = read_sequences(self._parts, (Part.TRAIN,), catalogue.product_ids)
        history = read_queries(reader, asked).history
        return choose_sources(sequences, asked, history, tables.neighbours, tables.grid, config.evaluation.k)

    @property
    def _recipe(self) -> TablesConfig:
        """Of the simple sources, with the settings that were chosen."""
        return self._config.ranking.tables.model_copy(update={"neighbours": self.source_choice.settings})

    def _fitter(self, prepared: Prepared) -> InterestFitter:
        if id(prepared) not in self._fitters:
            catalogue, config = self._split.catalogue, self._config
            reader = ModelReader(prepared.inputs, catalogue.product_ids, catalogue.content_ids)
            fitter = InterestFitter(prepared, reader, config.ranking.interest, config.loop.seed)
            self._fitters[id(prepared)] = fitter
        return self._fitters[id(prepared)]

    def _drawn(self, queries: Queries, share: float) -> list[tuple[np.ndarray, Queries]]:
        """Some of the questions, by the modality that is missing in them."""
        return drawn_without(queries, self.modalities, share, self._config.loop.seed) if self.modalities else []

    def _examined(self, queries: Queries, known: Knowledge) -> Answers:
        recommender, tables, interest = known
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
            candidates = self._config.ranking.candidates
            mask = candidate_mask(some, sources, tables.activity, queries.allowed[chunk], candidates)
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
