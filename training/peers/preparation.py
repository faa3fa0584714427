"""A dataset's frozen split, or answers from outside, as a benchmark task: the questions that `recsys evaluate` asks."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset, SplitConfig
from recsys.data.splits import ORDER_TIMESTAMP, PART, Part, resolve_split
from recsys.errors import DatasetError, RecsysError
from recsys.features.consent import Consent, Purpose
from recsys.features.spec import FeatureManifest
from recsys.policy.as_of import customer_facts_as_of, had_before
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ProductFacts
from recsys.policy.registry import pack_in_force
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, PRODUCT_ID, Table
from training.dataset import Catalogue, load_catalogue, load_parts
from training.evaluate import FrozenSplit, load_split
from training.peers.content import read_items
from training.peers.interactions import Asked, Interactions, Lesson, Questions
from training.peers.task import Task
from training.queries import Queries
from training.ragged import Ragged
from training.recommend import asked_now

INNER_SHARE = 8 / 9
"""Where an explicit split leaves no test part, validation is measured, and this point of what is before it in time
becomes the new validation: the shares of the default split, 80 to 10."""
_WARM = 5
"""Customers with at least so many events before the question."""


@dataclass(frozen=True)
class OutsideTruth:
    """Answers that the dataset does not hold."""

    answers: Path
    """Parquet: customer_id, product_id (a list or one id a row), boolean columns are slices."""
    candidates: Path | None = None
    """Parquet with product_id: the only items that may be ranked."""


def with_test_part(dataset: Dataset) -> Dataset:
    """The dataset itself; with its split moved earlier where nothing happens after the start of its test part.

    Else all methods would be measured on the very part that they are tuned on.

    Raises:
        DatasetError: before the validation part there is nothing to split.
    """
    split, parts = resolve_split(dataset), load_parts(dataset)
    if split.kind == "leave_last_out" or (parts[PART] == Part.TEST.value).any():
        return dataset
    early = parts.filter(pl.col(PART) == Part.TRAIN.value)[EVENT_TIMESTAMP]
    if early.is_empty():
        raise DatasetError(str(dataset.path), ["no positive event after test_start: move the split's times earlier"])
    point: datetime = early.sort()[int(INNER_SHARE * (len(early) - 1))]
    moved = SplitConfig(validation_start=point, test_start=split.validation_start)
    return replace(dataset, config=dataset.config.model_copy(update={"split": moved}))


def prepare_frozen(dataset: Dataset, home: Path, k: int) -> Task:
    """The task of the dataset's own split: tuned on validation, examined on test.

    Args:
        dataset: as `with_test_part` returns it.
        home: holds current features.
        k: length of the lists.
    """
    split = load_split(dataset, home)
    index = _Index.of(dataset, split.catalogue)
    parts = _lawful(dataset, split.parts)
    part, queries = split.measured
    known = index.interactions(_before(parts, part))
    exam = Lesson(known, index.questions(queries))
    lesson = None
    if part is Part.TEST and len(split.validation):
        lesson = Lesson(index.interactions(_before(parts, Part.VALIDATION)), index.questions(split.validation))
    flags = _activity_flags(exam) | _tie_flags(split, part, queries)
    return Task(k, index.customer_ids, index.product_ids, lesson, exam, read_items(home, split.catalogue), flags)


def prepare_outside(dataset: Dataset, home: Path, k: int, truth: OutsideTruth) -> Task:
    """The task of answers from outside: tuned on the dataset's last part, refitted on all of it.

    Raises:
        RecsysError: the answers or candidates name somebody or something unknown, or what a customer already has.
    """
    split = load_split(dataset, home)
    catalogue = load_catalogue(dataset, home, FeatureManifest.read(home / "features"), dataset.end())
    index = _Index.of(dataset, catalogue)
    parts = _lawful(dataset, split.parts)
    part, queries = split.measured
    lesson = Lesson(index.interactions(_before(parts, part)), index.questions(queries))
    answers = _read_answers(truth.answers, index)
    asked = asked_now(dataset, answers[CUSTOMER_ID].to_list())
    _refuse_held(dataset, asked, answers, truth.answers)
    policy = PolicyEngine(pack_in_force(home, dataset.config.policy), dataset.config.repeatable)
    facts = ProductFacts.from_frame(catalogue.products)
    latest = asked[EVENT_TIMESTAMP].max()
    allowed = policy.evaluate(customer_facts_as_of(dataset, asked, facts), facts, latest).allowed  # type: ignore[arg-type]
    if truth.candidates is not None:
        allowed = allowed & _read_candidates(truth.candidates, index)[None, :]
    exam = Lesson(index.interactions(parts), index.asked(answers, asked, allowed))
    named = {name: answers[name].to_numpy() for name, kind in answers.schema.items() if kind == pl.Boolean}
    flags = _activity_flags(exam) | named
    return Task(k, index.customer_ids, index.product_ids, lesson, exam, read_items(home, catalogue), flags)


@dataclass(frozen=True)
class _Index:
    """Ids to rows."""

    customer_ids: list[str]
    product_ids: list[str]
    customer: dict[str, int]
    product: dict[str, int]

    @classmethod
    def of(cls, dataset: Dataset, catalogue: Catalogue) -> "_Index":
        unique = dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique().sort())
        customers = unique.collect(engine="streaming")[CUSTOMER_ID].to_list()
        products = catalogue.product_ids
        return cls(customers, products, _rows(customers), _rows(products))

    def interactions(self, parts: pl.DataFrame) -> Interactions:
        named = parts.filter(pl.col(PRODUCT_ID).is_not_null())
        return Interactions.sort(
            np.array([self.customer[name] for name in named[CUSTOMER_ID].to_list()], np.int64),
            np.array([self.product.get(name, -1) for name in named[PRODUCT_ID].to_list()], np.int64),
            named["weight"].to_numpy(),
            named[ORDER_TIMESTAMP].dt.epoch("us").to_numpy(),
            (len(self.customer_ids), len(self.product_ids)),
        )

    def questions(self, queries: Queries) -> Questions:
        rows = np.array([self.customer[name] for name in queries.customer_ids], np.int64)
        return Questions(Asked(rows, queries.now), queries.allowed, queries.relevant)

    def asked(self, answers: pl.DataFrame, asked: pl.DataFrame, allowed: np.ndarray) -> Questions:
        rows = np.array([self.customer[name] for name in answers[CUSTOMER_ID].to_list()], np.int64)
        lists = [[self.product[name] for name in names] for names in answers[PRODUCT_ID].to_list()]
        owner = np.repeat(np.arange(len(lists)), [len(names) for names in lists])
        relevant = Ragged.group(owner, np.array([item for items in lists for item in items], np.int64), len(lists))
        return Questions(Asked(rows, asked[EVENT_TIMESTAMP].dt.epoch("us").to_numpy()), allowed, relevant)


def _rows(ids: list[str]) -> dict[str, int]:
    return {identifier: row for row, identifier in enumerate(ids)}


def _lawful(dataset: Dataset, parts: pl.DataFrame) -> pl.DataFrame:
    """Of customers who agreed to profiling: peers learn from whom the model may learn from, and from nobody else."""
    return Consent(dataset).keep_now(parts.lazy(), Purpose.PROFILING).collect()


def _before(parts: pl.DataFrame, part: Part) -> pl.DataFrame:
    """What comes before a part: what each question of it may be answered from."""
    earlier = {Part.TRAIN: (), Part.VALIDATION: (Part.TRAIN,), Part.TEST: (Part.TRAIN, Part.VALIDATION)}[part]
    return parts.filter(pl.col(PART).is_in([str(one) for one in earlier]))


def _activity_flags(exam: Lesson) -> dict[str, np.ndarray]:
    """Who is new, and who is warm, by the events that are known."""
    events = exam.known.activity[exam.questions.asked.customer]
    return {"new_customer": events == 0, "warm_customer": events >= _WARM}


def _tie_flags(split: FrozenSplit, part: Part, queries: Queries) -> dict[str, np.ndarray]:
    """With leave-last-out: whether the answer shares its recorded time with an event before it."""
    if resolve_split(split.dataset).kind != "leave_last_out":
        return {}
    last = _before(split.parts, part).group_by(CUSTOMER_ID).agg(last=pl.col(EVENT_TIMESTAMP).max())
    mine = split.parts.filter(pl.col(PART) == str(part)).select(CUSTOMER_ID, first=pl.col(EVENT_TIMESTAMP))
    both = mine.join(last, on=CUSTOMER_ID).filter(pl.col("first") <= pl.col("last"))
    tied = set(both[CUSTOMER_ID].to_list())
    return {"tied": np.array([name in tied for name in queries.customer_ids], bool)}


def _read_answers(file: Path, index: _Index) -> pl.DataFrame:
    """One row a customer with the list of his answers, in id order, and the boolean columns."""
    frame = _read(file, (CUSTOMER_ID, PRODUCT_ID))
    if frame[PRODUCT_ID].dtype != pl.List:
        flags = [name for name, kind in frame.schema.items() if kind == pl.Boolean]
        frame = frame.group_by(CUSTOMER_ID).agg(pl.col(PRODUCT_ID), *(pl.col(name).first() for name in flags))
    if frame[CUSTOMER_ID].is_duplicated().any():
        raise RecsysError(f"{file}: a customer is named twice: give one row a customer with the list of his answers")
    if (frame[PRODUCT_ID].list.len().fill_null(0) == 0).any():
        raise RecsysError(f"{file}: a customer has no answer: no metric is defined for him, so leave him out")
    for column, known in ((CUSTOMER_ID, index.customer), (PRODUCT_ID, index.product)):
        named = frame[column].explode() if column == PRODUCT_ID else frame[column]
        _refuse_unknown(file, column, set(named.to_list()) - set(known))
    return frame.sort(CUSTOMER_ID)


def _read_candidates(file: Path, index: _Index) -> np.ndarray:
    named = set(_read(file, (PRODUCT_ID,))[PRODUCT_ID].to_list())
    _refuse_unknown(file, PRODUCT_ID, named - set(index.product))
    return np.array([name in named for name in index.product_ids], bool)


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RecsysError(f"{file}: cannot be read as parquet: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise RecsysError(f"{file}: has no column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    return frame


def _refuse_unknown(file: Path, column: str, unknown: set[str]) -> None:
    if unknown:
        names = ", ".join(sorted(map(str, unknown))[:5])
        raise RecsysError(f"{file}: {column} names {len(unknown)} that the dataset does not have: {names}")


def _refuse_held(dataset: Dataset, asked: pl.DataFrame, answers: pl.DataFrame, file: Path) -> None:
    """An answer that no list may hold would be a miss for everybody, for no fault of theirs."""
    if dataset.config.repeatable:
        return
    pairs = answers.select(CUSTOMER_ID, PRODUCT_ID).explode(PRODUCT_ID)
    held = pairs.join(had_before(dataset, asked), on=[CUSTOMER_ID, PRODUCT_ID], how="semi")
    if len(held):
        shown = ", ".join(f"{customer} {product}" for customer, product in held.head(5).iter_rows())
        raise RecsysError(f"{file}: {len(held)} answers are what the customer already has: {shown}")
