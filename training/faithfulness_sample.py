"""Whom faithfulness is measured on: customers of a dataset, as the champion reads them at its end."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.bundle import Bundle
from recsys.data.contract import Dataset
from recsys.decisions.answer import DecisionRequest, Placement
from recsys.decisions.pipeline import DecisionPipeline
from recsys.errors import RecsysError
from recsys.features.spec import Entity, FeatureManifest
from recsys.policy.as_of import customer_facts_as_of, taken_before
from recsys.policy.rules import RequestContext
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, Kind, Table
from training.dataset import join_customers
from training.faithfulness import Asked, FaithfulnessConfig, FaithfulnessMeter, FaithfulnessReport, summarise
from training.recommend import BatchRecommender, asked_now


def measure_bundle(
    dataset: Dataset, home: Path, bundle: Bundle, size: tuple[int, int], config: FaithfulnessConfig
) -> FaithfulnessReport:
    """Measures a bundle on customers drawn at random.

    Args:
        dataset: whose customers they are.
        home: the state directory, with the features of the dataset.
        bundle: what explains.
        size: how many customers, and how many items of each kind are explained to each.
        config: how.

    Raises:
        RecsysError: there is nobody to whom anything can be explained.
    """
    customers, items = size
    batch = BatchRecommender(dataset, home, bundle)
    asked, latest = _sample(dataset, customers, config.seed)
    kinds = [kind for kind in Kind if batch.pipeline.catalogue.ids(kind)]
    placements = tuple(Placement(str(kind), kind, items) for kind in kinds)
    request = DecisionRequest(latest, placements, RequestContext(taken=taken_before(dataset, latest)))
    groups = batch.recommender.reader.inputs.customers.groups
    inputs = {column.key for group in groups for column in group.columns}
    meter = FaithfulnessMeter(batch.pipeline, inputs, config)
    falls = list(meter.falls(_rows(dataset, home, batch.pipeline, asked), request))
    if not falls:
        raise RecsysError(f"{dataset.path}: nothing is known of anybody: there is no reason that could be measured")
    return summarise(falls, config)


def _sample(dataset: Dataset, customers: int, seed: int) -> tuple[pl.DataFrame, datetime]:
    """When each of the drawn customers is asked about, and the latest of these instants."""
    ids = dataset.scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique().sort()).collect()[CUSTOMER_ID].to_list()
    drawn = np.random.default_rng(seed).permutation(len(ids))[:customers]
    asked = asked_now(dataset, [ids[place] for place in sorted(drawn.tolist())])
    latest: datetime = asked[EVENT_TIMESTAMP].max()  # type: ignore[assignment]
    return asked, latest


def _rows(dataset: Dataset, home: Path, pipeline: DecisionPipeline, asked: pl.DataFrame) -> Iterator[Asked]:
    """The customers who agreed to profiling, as the model and the rules see them."""
    facts = customer_facts_as_of(dataset, asked, pipeline.catalogue.products)
    latest: datetime = asked[EVENT_TIMESTAMP].max()  # type: ignore[assignment]
    agreed = ~pipeline.policy.profiling_refused(facts, latest)
    views = [view.name for view in FeatureManifest.read(home / "features").views_of(Entity.CUSTOMER)]
    joined = join_customers(home, asked.filter(pl.Series(agreed)), views)
    people = np.flatnonzero(agreed).tolist()
    for person, row in zip(people, joined.to_dicts(), strict=True):
        yield Asked(row, facts.slice(person, person + 1))
