"""What happened in a block: events with the truth behind each impression, holdings, consents that changed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from recsys.schema import EventType
from recsys.simulator.catalogue import Catalogue
from recsys.simulator.creatives import Creatives
from recsys.simulator.customers import Population
from recsys.simulator.products import UTC_TIME
from recsys.simulator.world import ARMS, CHANNELS

EVENT_TYPES = tuple(EventType)
"""Also the order of events at one moment."""
_NOTHING = -1


@dataclass
class Journal:
    """Collects columns of numbers while the days pass, and turns them into frames at the end."""

    events: list[dict[str, Any]] = field(default_factory=list)
    holdings: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    """Customer, product, moment of opening."""
    opt_outs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    """Customer, channel, moment."""

    def record(self, kind: EventType, customer: np.ndarray, moment: np.ndarray, **columns: Any) -> None:
        """Adds events of one kind; columns that are not given are missing."""
        self.events.append({"kind": EVENT_TYPES.index(kind), "customer": customer, "moment": moment, **columns})

    def event_frames(
        self, population: Population, catalogue: Catalogue, creatives: Creatives, block: int
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The events table, ordered by customer and time, and the truth of its impressions (responses)."""
        frame = self._stacked().sort("customer", "moment", "kind", "position", "product", maintain_order=True)
        products = pl.Series("product_id", [product.id for product in catalogue.products])
        contents = pl.Series("content_id", [item.id for item in creatives.items])
        arms = pl.Series("arm", [ARMS[arm] for arm in population.arm])
        named = frame.select(
            pl.format("e{}{}", pl.lit(f"{block:03d}"), pl.int_range(pl.len()).cast(pl.String).str.zfill(8)).alias(
                "event_id"
            ),
            customer_id(pl.col("customer"), population.first),
            pl.col("moment").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("event_timestamp"),
            _lookup(pl.Series([str(kind) for kind in EVENT_TYPES]), "kind").alias("event_type"),
            _lookup(products, "product").alias("product_id"),
            _lookup(contents, "content").alias("content_id"),
            _lookup(pl.Series([channel.name for channel in CHANNELS]), "channel").alias("channel"),
            _lookup(pl.Series([channel.placement for channel in CHANNELS]), "placement").alias("placement"),
            pl.col("value"),
            pl.when(pl.col("request") >= 0)
            .then(pl.format("r{}{}", pl.lit(f"{block:03d}"), pl.col("request").cast(pl.String).str.zfill(8)))
            .alias("request_id"),
            pl.when(pl.col("position") >= 0).then(pl.col("position") + 1).alias("position"),
            pl.col("propensity"),
            _lookup(arms, "customer").alias("arm"),
            pl.col("product_propensity", "p_click", "p_apply", "p_convert"),
        )
        truth = ("product_propensity", "p_click", "p_apply", "p_convert")
        responses = named.filter(pl.col("event_type") == EventType.IMPRESSION).select(
            "event_id", "customer_id", "product_id", "content_id", *truth
        )
        return named.drop(truth), responses

    def _stacked(self) -> pl.DataFrame:
        whole = ("customer", "product", "content", "channel", "placement", "position", "request")
        real = ("value", "propensity", "product_propensity", "p_click", "p_apply", "p_convert")
        columns: dict[str, np.ndarray] = {}
        for name in ("kind", "moment", *whole, *real):
            default: float = np.nan if name in real else _NOTHING
            parts = [np.broadcast_to(part.get(name, default), part["customer"].shape) for part in self.events]
            columns[name] = np.concatenate(parts) if parts else np.empty(0)
        return pl.DataFrame(columns).with_columns(
            pl.col("kind", "moment", *whole).cast(pl.Int64), pl.col(real).cast(pl.Float64).fill_nan(None)
        )


def customer_id(index: pl.Expr, first: int) -> pl.Expr:
    """The customer_id of the customer `index` of a block whose first customer has the number `first`."""
    return pl.format("c{}", (index + first).cast(pl.String).str.zfill(7)).alias("customer_id")


def _lookup(names: pl.Series, column: str) -> pl.Expr:
    """The name at each index of `column`; missing where the index is negative."""
    index = pl.col(column)
    return pl.lit(names).gather(pl.when(index >= 0).then(index).otherwise(None))


def moments(name: str) -> pl.Expr:
    """A column of microseconds as a UTC timestamp."""
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(UTC_TIME)
