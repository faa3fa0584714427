"""The questions of a frozen split: for each customer, what came next, of what he could have been offered."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, PART, Part, resolve_split
from recsys.features.spec import Entity, FeatureManifest
from recsys.policy.as_of import customer_facts_as_of, had_before, taken_before
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ProductFacts
from recsys.policy.rules import RequestContext
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, PolicyName, Table
from training.dataset import Catalogue, join_customers
from training.examples import ROW_ID, Ragged, point_in_time
from training.labels import ACQUISITIONS

_EARLIER_EVENTS = 5
"""Training events of each customer that are asked about where the split leaves the last one out."""


@dataclass(frozen=True)
class Queries:
    """Q customers, each asked about once."""

    customer_ids: list[str]
    now: np.ndarray
    """[Q] int64 epoch µs."""
    columns: pl.DataFrame
    """Customer features at `now`, all views."""
    relevant: Ragged
    """The products that each newly took up in the part."""
    allowed: np.ndarray
    """[Q, P] bool: what the policy let him be offered; a relevant product is always among them."""
    segments: list[str | None]
    new_customer: np.ndarray
    """[Q] bool: no positive event before."""
    drawn_from: int = 0
    """So many took something up, of whom these were drawn by lot; 0: all of them are asked about."""

    def __len__(self) -> int:
        return len(self.customer_ids)

    def of(self, customers: Collection[str]) -> "Queries":
        """The questions about these customers only."""
        return self.take(np.flatnonzero([name in customers for name in self.customer_ids]))

    def take(self, rows: np.ndarray) -> "Queries":
        """Questions `rows`, [B] int."""
        return replace(
            self,
            customer_ids=[self.customer_ids[row] for row in rows],
            now=self.now[rows],
            columns=self.columns[rows],
            relevant=self.relevant.take(rows),
            allowed=self.allowed[rows],
            segments=[self.segments[row] for row in rows],
            new_customer=self.new_customer[rows],
        )


@dataclass(frozen=True)
class QueryBuilder:
    """Asks about the customers of one dataset."""

    dataset: Dataset
    home: Path
    parts: pl.DataFrame
    """Positives with part and order_timestamp."""
    catalogue: Catalogue
    policy: PolicyEngine
    most: int = 20_000
    """Customers who are asked about at once, drawn by lot where there are more: bounds memory and time."""
    cells: int = 100_000_000
    """At most so many questions times products, for the same reason."""

    def of_part(self, part: Part) -> Queries:
        """The questions of one part; a customer who takes up nothing new in it is not asked about."""
        answers = self._answers(part)
        drawn = self._drawn(answers)
        asked = self._ask(_instants(self.dataset, drawn, part), drawn)
        return asked if drawn is answers else replace(asked, drawn_from=answers[CUSTOMER_ID].n_unique())

    def earlier(self, at_most: int) -> list[Queries]:
        """Questions like those of the split, about earlier times: their answers are in the training part.

        With a split in time, customers are asked about at instants before the validation part, as far apart as its
        questions look ahead. With leave-last-out, each customer is asked about his last few training events, one at a
        time. Of all there are, the latest `at_most`.
        """
        asked: list[Queries] = []
        left = at_most
        for instants, relevant in _earlier(self.dataset, self._answers(Part.TRAIN)):
            drawn = self._drawn(relevant)
            some = self._ask(instants.join(drawn, on=CUSTOMER_ID, how="semi"), drawn)
            asked.append(some.take(np.arange(min(len(some), left))))
            left -= len(asked[-1])
            if not left:
                break
        return asked

    def _drawn(self, answers: pl.DataFrame) -> pl.DataFrame:
        """The answers of as many customers as may be asked about at once; always the same of the same customers."""
        customers = answers[CUSTOMER_ID].unique().sort()
        most = max(1, min(self.most, self.cells // max(1, len(self.catalogue.products))))
        if len(customers) <= most:
            return answers
        lot = np.random.default_rng(0).permutation(len(customers))[:most]
        return answers.filter(pl.col(CUSTOMER_ID).is_in(customers.gather(lot).implode()))

    def _answers(self, part: Part) -> pl.DataFrame:
        """customer_id, product_id, order_timestamp of what was taken up in the part."""
        mine = self.parts.filter(pl.col(PART) == str(part), pl.col(PRODUCT_ID).is_not_null())
        if self.dataset.config.policy is not PolicyName.NONE:
            acquired = pl.col(EVENT_TYPE).is_in(ACQUISITIONS)
            if self.parts.select(acquired.any()).item():
                mine = mine.filter(acquired)
        return mine.select(CUSTOMER_ID, PRODUCT_ID, ORDER_TIMESTAMP)

    def _ask(self, asked: pl.DataFrame, relevant: pl.DataFrame) -> Queries:
        """Asks about customers (`asked`: customer_id, event_timestamp); what they already had is no answer."""
        dataset, catalogue = self.dataset, self.catalogue
        held = had_before(dataset, asked)
        if not dataset.config.repeatable:
            relevant = relevant.join(held, on=[CUSTOMER_ID, PRODUCT_ID], how="anti")
        relevant = relevant.filter(pl.col(PRODUCT_ID).is_in(catalogue.product_ids))
        asked = asked.join(relevant.select(CUSTOMER_ID).unique(), on=CUSTOMER_ID, how="semi").sort(CUSTOMER_ID)
        ids = asked[CUSTOMER_ID].to_list()
        truth = _ragged(relevant, ids, catalogue.product_ids)
        views = [view.name for view in FeatureManifest.read(self.home / "features").views_of(Entity.CUSTOMER)]
        numbered = asked.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
        before = self.parts.join(asked.select(CUSTOMER_ID, instant=EVENT_TIMESTAMP), on=CUSTOMER_ID)
        active = set(before.filter(pl.col(ORDER_TIMESTAMP) <= pl.col("instant"))[CUSTOMER_ID].to_list())
        return Queries(
            customer_ids=ids,
            now=asked[EVENT_TIMESTAMP].dt.epoch("us").to_numpy(),
            columns=join_customers(self.home, numbered, views),
            relevant=truth,
            allowed=self._allowed(asked) | truth.mask(np.arange(len(ids)), len(catalogue.products)),
            segments=segments_as_of(dataset, asked),
            new_customer=np.array([name not in active for name in ids], bool),
        )

    def _allowed(self, asked: pl.DataFrame) -> np.ndarray:
        """[Q, P] bool: what the policy lets each customer be offered at his instant."""
        products = ProductFacts.from_frame(self.catalogue.products)
        if asked.is_empty():
            return np.zeros((0, len(products)), bool)
        facts = customer_facts_as_of(self.dataset, asked, products)
        latest: datetime = asked[EVENT_TIMESTAMP].max()  # type: ignore[assignment]
        context = RequestContext(taken=taken_before(self.dataset, latest))
        return self.policy.evaluate(facts, products, latest, context).allowed


def segments_as_of(dataset: Dataset, asked: pl.DataFrame) -> list[str | None]:
    """The segment of each customer at his instant (customer_id, event_timestamp); None where there is none."""
    if "segment" not in dataset.columns(Table.CUSTOMERS):
        return [None] * len(asked)
    rows = dataset.scan(Table.CUSTOMERS).select(CUSTOMER_ID, EVENT_TIMESTAMP, "segment").sort(EVENT_TIMESTAMP).collect()
    wanted = asked.select(CUSTOMER_ID, EVENT_TIMESTAMP).with_row_index("_order").sort(EVENT_TIMESTAMP)
    joined = wanted.join_asof(rows, on=EVENT_TIMESTAMP, by=CUSTOMER_ID, strategy="backward", check_sortedness=False)
    return joined.sort("_order")["segment"].to_list()


def _earlier(dataset: Dataset, relevant: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Instants (customer_id, event_timestamp) and their answers, the latest first."""
    split = resolve_split(dataset)
    if split.validation_start is None:
        from_end = pl.col(ORDER_TIMESTAMP).rank("ordinal", descending=True).over(CUSTOMER_ID)
        numbered = relevant.with_columns(_number=from_end)
        for number in range(1, _EARLIER_EVENTS + 1):
            answers = numbered.filter(pl.col("_number") == number).drop("_number")
            yield answers.select(CUSTOMER_ID, point_in_time(pl.col(ORDER_TIMESTAMP)).alias(EVENT_TIMESTAMP)), answers
        return
    step = split.look_ahead
    start, first = split.validation_start - step, relevant[ORDER_TIMESTAMP].min()
    while first is not None and start > first:  # type: ignore[operator]
        answers = relevant.filter(pl.col(ORDER_TIMESTAMP).is_between(start, start + step, closed="left"))
        instant = point_in_time(pl.lit(start, pl.Datetime("us", "UTC")))
        yield answers.select(CUSTOMER_ID).unique().with_columns(instant.alias(EVENT_TIMESTAMP)), answers
        start -= step


def _instants(dataset: Dataset, relevant: pl.DataFrame, part: Part) -> pl.DataFrame:
    """customer_id, event_timestamp: when each is asked about.

    With leave-last-out, the last instant before his answer; with a split in time, before the part begins.
    """
    split = resolve_split(dataset)
    if split.kind == "leave_last_out":
        first = relevant.group_by(CUSTOMER_ID).agg(pl.col(ORDER_TIMESTAMP).min())
        return first.select(CUSTOMER_ID, point_in_time(pl.col(ORDER_TIMESTAMP)).alias(EVENT_TIMESTAMP))
    start: datetime | None = split.validation_start if part is Part.VALIDATION else split.test_start
    instant = point_in_time(pl.lit(start, pl.Datetime("us", "UTC")))
    return relevant.select(CUSTOMER_ID).unique().with_columns(instant.alias(EVENT_TIMESTAMP))


def _ragged(rows: pl.DataFrame, customers: list[str], products: list[str]) -> Ragged:
    owner = {name: position for position, name in enumerate(customers)}
    item = {name: position for position, name in enumerate(products)}
    return Ragged.group(
        np.array([owner[name] for name in rows[CUSTOMER_ID].to_list()], np.int64),
        np.array([item[name] for name in rows[PRODUCT_ID].to_list()], np.int64),
        len(customers),
    )
