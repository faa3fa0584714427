"""Batch recommendation: ranked lists for many customers, chunk by chunk, by the pipeline that the API uses too."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from rich.progress import Progress

from recsys.bundle import Bundle
from recsys.data.contract import Dataset
from recsys.data.splits import ORDER_TIMESTAMP, order_timestamps, resolve_split
from recsys.decisions.answer import DecisionRequest
from recsys.decisions.catalogue import Catalogue
from recsys.decisions.pipeline import DecisionPipeline
from recsys.decisions.scoring import ScoreArray, Understanding, score_all
from recsys.errors import RecsysError
from recsys.features.in_time import TablesInTime
from recsys.features.spec import Entity, FeatureManifest
from recsys.modeling.reader import CustomerRows
from recsys.policy.as_of import customer_facts_as_of, taken_before
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import BoolArray, ProductFacts
from recsys.policy.registry import pack_in_force
from recsys.policy.rules import RequestContext
from recsys.recommender import Recommender
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, MODE, PRODUCT_ID, RANK, SCORE, Kind, Modality, Table
from training.examples import ROW_ID

_CHUNK = 10_000
"""Customers ranked at a time: bounds memory."""


@dataclass(frozen=True)
class BatchRequest:
    """What is asked for."""

    customers: Sequence[str] | None
    """Ids, or None for all of the dataset's."""
    kind: Kind
    k: int
    candidates: Sequence[str] | None = None
    """The only items that may be recommended, or None for all."""


class BatchReport:
    """How much was written."""

    def __init__(self) -> None:
        self.customers = 0
        self.rows = 0
        self.short_lists = 0
        self.modes: dict[str, int] = {}

    def add(self, frame: pl.DataFrame, customers: int, k: int) -> None:
        """Counts one chunk of `customers` lists of at most k rows."""
        self.customers += customers
        self.rows += len(frame)
        lengths = frame.group_by(CUSTOMER_ID).len()["len"]
        self.short_lists += int((lengths < k).sum()) + customers - len(lengths)
        for mode, count in frame.unique(CUSTOMER_ID)[MODE].value_counts().iter_rows():
            self.modes[mode] = self.modes.get(mode, 0) + count


class BatchRecommender:
    """Ranks for the customers of a dataset with a bundle.

    Args:
        dataset: whose customers they are.
        home: where their features are.
        bundle: what ranks.
        popular_only: nobody is looked at: everybody gets what is popular in his segment.
    """

    def __init__(self, dataset: Dataset, home: Path, bundle: Bundle, popular_only: bool = False) -> None:
        self._popular_only = popular_only
        self.dataset = dataset
        self.home = home
        self.recommender = Recommender(bundle)
        catalogue = Catalogue.from_frames(bundle.products, bundle.contents)
        policy = PolicyEngine(pack_in_force(home, bundle.manifest.policy), bundle.manifest.repeatable)
        self.pipeline = DecisionPipeline(self.recommender, policy, catalogue)
        self._products = ProductFacts.from_frame(bundle.products)
        views = FeatureManifest.read(home / "features").views_of(Entity.CUSTOMER)
        self._tables = TablesInTime(home / "features", views, self.recommender.reader.reads)
        self._end = dataset.end()

    def write(self, request: BatchRequest, out: Path, progress: Progress | None = None) -> BatchReport:
        """Writes the lists to a parquet file: customer_id, rank, product_id or content_id, score, mode.

        Raises:
            RecsysError: a customer or candidate is unknown, or there is nothing of that kind to recommend.
        """
        customers = self._customers(request)
        allowed = self._candidates(request)
        report = BatchReport()
        temporary = out.with_name(out.name + ".partial")
        out.parent.mkdir(parents=True, exist_ok=True)
        task = progress.add_task("recommend", total=len(customers)) if progress else None
        writer: pq.ParquetWriter | None = None
        try:
            for start in range(0, len(customers), _CHUNK):
                ids = customers[start : start + _CHUNK]
                frame = self._rank(ids, request, allowed)
                report.add(frame, len(ids), request.k)
                table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                if progress and task is not None:
                    progress.advance(task, len(ids))
        except BaseException:
            if writer is not None:
                writer.close()
            temporary.unlink(missing_ok=True)
            raise
        if writer is not None:
            writer.close()
            temporary.replace(out)
        return report

    def _customers(self, request: BatchRequest) -> list[str]:
        known = self.dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique().sort())
        everybody: list[str] = known.collect(engine="streaming")[CUSTOMER_ID].to_list()
        if request.customers is None:
            return everybody
        unknown = sorted(set(request.customers) - set(everybody))
        if unknown:
            names = ", ".join(unknown[:5])
            raise RecsysError(f"--customers names {len(unknown)} that {self.dataset.path} does not have: {names}")
        return list(request.customers)

    def _candidates(self, request: BatchRequest) -> np.ndarray | None:
        ids = self.pipeline.catalogue.ids(request.kind)
        if not ids:
            raise RecsysError(f"{self.dataset.path}: there are no {request.kind} to recommend")
        if request.candidates is None:
            return None
        unknown = sorted(set(request.candidates) - set(ids))
        if unknown:
            names = ", ".join(unknown[:5])
            raise RecsysError(f"--candidates names {len(unknown)} {request.kind} that the model does not know: {names}")
        return self.pipeline.catalogue.mask(request.kind, request.candidates)

    def _rank(self, ids: list[str], request: BatchRequest, candidates: np.ndarray | None) -> pl.DataFrame:
        asked = asked_now(self.dataset, ids, self._end)
        facts = customer_facts_as_of(self.dataset, asked, self._products)
        latest: datetime = asked[EVENT_TIMESTAMP].max()  # type: ignore[assignment]
        unread = self.pipeline.policy.profiling_refused(facts, latest) | self._popular_only
        customers = self.understand(asked, unread)
        only = {} if candidates is None else {request.kind: candidates}
        context = RequestContext(taken=taken_before(self.dataset, latest))
        ranking = self.pipeline.rank(
            customers, facts, request.kind, request.k, DecisionRequest(latest, context=context, candidates=only)
        )
        row, place = np.nonzero(ranking.items >= 0)
        names = np.array(self.pipeline.catalogue.ids(request.kind), dtype=object)
        item = PRODUCT_ID if request.kind is Kind.PRODUCTS else CONTENT_ID
        return pl.DataFrame(
            {
                CUSTOMER_ID: pl.Series([ids[r] for r in row], dtype=pl.String),
                RANK: pl.Series(place + 1, dtype=pl.Int32),
                item: pl.Series(names[ranking.items[row, place]].tolist(), dtype=pl.String),
                SCORE: pl.Series(ranking.scores[row, place], dtype=pl.Float32),
                MODE: pl.Series([str(ranking.modes[r]) for r in row], dtype=pl.String),
            }
        )

    def scores(
        self,
        customers: Understanding,
        segments: Sequence[str | None],
        kind: Kind,
        allowed: BoolArray | None = None,
    ) -> ScoreArray:
        """[B, N] the scores of all items of a kind; the popularity in the segment where nothing is known."""
        return score_all(self.recommender, customers, segments, kind, allowed)

    def understand(self, asked: pl.DataFrame, refused: BoolArray) -> Understanding:
        """What the model knows of the customers; of who refused profiling nothing is read and nothing computed.

        Args:
            asked: row_id (from 0, in order), customer_id and event_timestamp, the instant at which each is looked at.
            refused: [B] who refused.
        """
        profiled = asked.filter(~pl.Series(refused))
        everything = tuple(self.recommender.modalities)
        if profiled.is_empty():
            return Understanding(None, np.zeros(len(asked), bool), (everything,) * len(asked))
        joined = self._tables.join(profiled)
        now = profiled[EVENT_TIMESTAMP].dt.epoch("us").to_numpy()
        rows = self.recommender.reader.read_customers(joined.to_dict(), now, [None] * len(profiled))
        some = self._understanding(rows)
        if not refused.any():
            return some
        known = np.zeros(len(asked), bool)
        known[~refused] = some.known
        missing = iter(some.missing)
        return Understanding(some.states, known, tuple(everything if no else next(missing) for no in refused))

    def _understanding(self, rows: CustomerRows) -> Understanding:
        names = [*self.recommender.reader.inputs.customers.group_names(), Modality.HISTORY]
        present = np.concatenate([rows.columns.present, (rows.history.length > 0)[:, None]], axis=1)
        column = [names.index(modality) for modality in self.recommender.modalities]
        present = present[:, column]
        missing = tuple(
            tuple(m for m, here in zip(self.recommender.modalities, row, strict=True) if not here) for row in present
        )
        known = np.asarray(present.any(axis=1))
        states = self.recommender.encode_rows(rows.take(np.flatnonzero(known))) if known.any() else None
        return Understanding(states, known, missing)


def asked_now(dataset: Dataset, ids: Sequence[str], end: datetime | None = None) -> pl.DataFrame:
    """When each customer is asked about if nothing else is said: row_id, customer_id, event_timestamp.

    With leave-last-out the question is each customer's next event, so he is asked about right after his last one; with
    a split in time everybody is asked about at the dataset's end.

    Args:
        dataset: whose customers they are.
        ids: of B customers.
        end: `dataset.end()`, where it is at hand already.
    """
    asked = pl.DataFrame({CUSTOMER_ID: ids}).with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
    # Tied events are moved apart by microseconds, some past the dataset's last second: look from just after it.
    after = pl.lit(end or dataset.end()).cast(pl.Datetime("us", "UTC")) + pl.duration(seconds=1)
    if resolve_split(dataset).kind == "global_time":
        return asked.with_columns(after.alias(EVENT_TIMESTAMP))
    events = order_timestamps(dataset.scan(Table.EVENTS).filter(pl.col(CUSTOMER_ID).is_in(ids)))
    last = events.group_by(CUSTOMER_ID).agg(pl.col(ORDER_TIMESTAMP).max()).collect(engine="streaming")
    joined = asked.join(last, on=CUSTOMER_ID, how="left", maintain_order="left")
    return joined.select(ROW_ID, CUSTOMER_ID, pl.coalesce(pl.col(ORDER_TIMESTAMP), after).alias(EVENT_TIMESTAMP))
