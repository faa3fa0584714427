"""The customers that exposure is measured on: a random sample of those whom the model may rank for, at one instant."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.features.consent import Consent, Purpose
from recsys.features.spec import Entity, FeatureManifest
from recsys.policy.as_of import customer_facts_as_of, taken_before
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import ProductFacts
from recsys.policy.pack import PolicyPack
from recsys.policy.rules import RequestContext
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, Table
from training.dataset import Catalogue, join_customers
from training.examples import ROW_ID

STEERING = "CRED_STEERING"
_SEED = 0


@dataclass(frozen=True)
class Audience:
    """B customers with their features and what the rules leave them."""

    customer_ids: list[str]
    now: datetime
    columns: pl.DataFrame
    """Customer features at `now`, all views."""
    products: ProductFacts
    policy: PolicyEngine
    allowed: np.ndarray
    """[B, P] bool: what the pack lets them be shown."""
    choosable: np.ndarray
    """[B, P] bool: the same if nothing kept costlier variants away."""

    def __len__(self) -> int:
        return len(self.customer_ids)


def draw_audience(dataset: Dataset, home: Path, catalogue: Catalogue, pack: PolicyPack, size: int) -> Audience:
    """Draws at most `size` customers who were known at the catalogue's instant and agreed to profiling.

    Args:
        dataset: whose customers.
        home: where the features are.
        catalogue: the P products, as of the instant that is asked about.
        pack: the rules.
        size: how many; the same dataset gives the same ones.
    """
    asked = _draw(dataset, catalogue.as_of, size)
    products = ProductFacts.from_frame(catalogue.products)
    policy = PolicyEngine(pack, dataset.config.repeatable)
    freely = PolicyEngine(without_steering(pack), dataset.config.repeatable)
    facts = customer_facts_as_of(dataset, asked, products)
    request = RequestContext(taken=taken_before(dataset, catalogue.as_of))
    views = [view.name for view in FeatureManifest.read(home / "features").views_of(Entity.CUSTOMER)]
    rows = asked.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
    return Audience(
        customer_ids=asked[CUSTOMER_ID].to_list(),
        now=catalogue.as_of,
        columns=join_customers(home, rows, views),
        products=products,
        policy=policy,
        allowed=policy.evaluate(facts, products, catalogue.as_of, request).allowed,
        choosable=freely.evaluate(facts, products, catalogue.as_of, request).allowed,
    )


def without_steering(pack: PolicyPack) -> PolicyPack:
    """The pack as if a costlier variant might be shown beside a cheaper one."""
    return pack.model_copy(update={"rules": tuple(rule for rule in pack.rules if rule.id != STEERING)})


def _draw(dataset: Dataset, as_of: datetime, size: int) -> pl.DataFrame:
    """customer_id and event_timestamp (`as_of`), by id."""
    instant = pl.lit(as_of.astimezone(UTC), pl.Datetime("us", "UTC")).alias(EVENT_TIMESTAMP)
    known = dataset.scan(Table.CUSTOMERS).filter(pl.col(EVENT_TIMESTAMP) <= as_of).select(pl.col(CUSTOMER_ID).unique())
    agreed = Consent(dataset).keep_now(known, Purpose.PROFILING).collect(engine="streaming").sort(CUSTOMER_ID)
    chosen = agreed.sample(size, seed=_SEED) if len(agreed) > size else agreed
    return chosen.sort(CUSTOMER_ID).select(CUSTOMER_ID, instant)
