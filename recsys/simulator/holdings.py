"""What customers have: drawn for the time before the period, opened by conversions within it."""

from typing import Final

import numpy as np
import polars as pl

from recsys.simulator.behaviour import Block
from recsys.simulator.catalogue import Catalogue
from recsys.simulator.clock import DAY, SECOND
from recsys.simulator.customers import Population
from recsys.simulator.journal import customer_id, moments
from recsys.simulator.products import UTC_TIME
from recsys.simulator.profiles import Profiles, masked
from recsys.simulator.world import Ints

HOLDING_SCHEMA: Final = pl.Schema(
    {
        "customer_id": pl.String(),
        "product_id": pl.String(),
        "opened_at": UTC_TIME,
        "closed_at": UTC_TIME,
    }
)


def open_holdings(block: Block, profiles: Profiles) -> pl.DataFrame:
    """Draws what customers held before the period, marks what is still open as held, and returns all of it.

    Columns: customer, product (indices), opened, closed (microseconds UTC).
    """
    people, catalogue, rng = block.population, block.bank.catalogue, block.rng
    allowed = block.eligibility.allowed(0, np.arange(people.count))
    allowed &= np.array([not product.variant.archetype.requires for product in catalogue.products])
    keys = np.where(allowed, 0.55 * block.utility + rng.gumbel(size=allowed.shape), -np.inf)
    count = np.minimum(rng.poisson(1.7, people.count), allowed.sum(axis=1))
    ranks = np.argsort(np.argsort(-keys, axis=1), axis=1)
    customer, product = np.nonzero(ranks < count[:, None])
    launched = np.array([int(p.row["available_from"].timestamp()) * SECOND for p in catalogue.products])
    start = block.bank.clock.start
    earliest = np.maximum(profiles.joined[customer], launched[product])
    opened = earliest + (rng.random(len(customer)) * (start - DAY - earliest)).astype(np.int64)
    closed = opened + (rng.random(len(customer)) * (start - opened)).astype(np.int64)
    still = rng.random(len(customer)) >= 0.12
    block.eligibility.acquire(customer[still], product[still], np.full(still.sum(), -15))
    return pl.DataFrame({"customer": customer, "product": product, "opened": opened, "closed": masked(closed, still)})


def holdings_frame(
    before: pl.DataFrame, opened: list[tuple[Ints, Ints, Ints]], population: Population, catalogue: Catalogue
) -> pl.DataFrame:
    """The holdings table: what was held before the period, and what conversions opened in it."""
    parts = [before.with_columns(pl.col("closed").cast(pl.Int64))]
    for customer, product, moment in opened:
        none = pl.Series([None] * len(customer), dtype=pl.Int64)
        parts.append(pl.DataFrame({"customer": customer, "product": product, "opened": moment, "closed": none}))
    ids = pl.Series([product.id for product in catalogue.products])
    return (
        pl.concat(parts)
        .select(
            customer_id(pl.col("customer"), population.first),
            pl.lit(ids).gather(pl.col("product")).alias("product_id"),
            moments("opened").alias("opened_at"),
            moments("closed").alias("closed_at"),
        )
        .cast(HOLDING_SCHEMA)
        .sort("customer_id", "opened_at", "product_id")
    )
