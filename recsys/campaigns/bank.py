"""The customers of a dataset as audiences and rules see them (`recsys.campaigns.source.RuleSource`); no model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from recsys.campaigns.audience import AudienceFields
from recsys.data.contract import Dataset
from recsys.features.spec import Entity, FeatureManifest, FeatureView, ViewName, feature_name
from recsys.policy.as_of import FactsOnFile, taken_before
from recsys.policy.engine import PolicyEngine
from recsys.policy.facts import CustomerFacts, ProductFacts
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, Table

_OPTIONAL: Final = ("segment", "language", "time_zone")
ROW_ID: Final = "row_id"


@dataclass(frozen=True)
class Shelf:
    """What can be sent, and within which rules."""

    policy: PolicyEngine
    products: ProductFacts
    contents: pl.DataFrame
    """The canonical columns."""


class DatasetCustomers:
    """The customers of a dataset, looked at when the data end."""

    def __init__(self, dataset: Dataset, features: Path, shelf: Shelf) -> None:
        """`features` is the home's folder of feature tables."""
        self.dataset = dataset
        self.policy = shelf.policy
        self.products = shelf.products
        self.contents = shelf.contents
        newest = dataset.config.end or dataset.end()
        self.as_of: datetime = newest.astimezone(UTC)
        self._feature_tables = features
        manifest = FeatureManifest.read(features)
        self.schema_hash = manifest.schema_hash
        # the profile view holds what the customers table does, under longer names
        self._views = [view for view in manifest.views_of(Entity.CUSTOMER) if view.name != ViewName.CUSTOMER_PROFILE]

    def fields(self) -> AudienceFields:
        """The columns of the customers, and the numbers and words of their feature views as `<view>__<column>`."""
        schema = dict(self.dataset.scan(Table.CUSTOMERS).collect_schema())
        schema.pop(EVENT_TIMESTAMP)
        for view in self._views:
            table = pl.scan_parquet(self._table(view)).collect_schema()
            schema.update({feature_name(view.name, column.name): table[column.name] for column in view.columns})
        return AudienceFields.of_schema(schema)

    def count(self) -> int:
        """Customers of the bank."""
        return int(self._latest.select(pl.len()).collect(engine="streaming").item())

    def audience(self, condition: pl.Expr, fields: Sequence[str]) -> pl.DataFrame:
        """Who meets a condition: customer_id, segment, language, time_zone."""
        rows = self._latest
        for view in self._views:
            asked = [column.name for column in view.columns if feature_name(view.name, column.name) in fields]
            if asked:
                rows = rows.join(self._features(view, asked), on=CUSTOMER_ID, how="left")
        present = rows.collect_schema().names()
        optional = [pl.col(name) if name in present else pl.lit(None, pl.String).alias(name) for name in _OPTIONAL]
        return rows.filter(condition).select(CUSTOMER_ID, *optional).collect(engine="streaming")

    @cached_property
    def _taken(self) -> Mapping[str, int]:
        return taken_before(self.dataset, self.as_of)

    def taken(self) -> Mapping[str, int]:
        """How much of each limited product is gone."""
        return self._taken

    def facts_of(self, audience: Sequence[str]) -> Callable[[Sequence[str]], CustomerFacts]:
        """What the rules know of an audience, and the messages that they were sent, for some of them at a time."""
        channels, since = self.policy.pack.pushed_channels, self.as_of - timedelta(days=self.policy.contact_days)
        return FactsOnFile.read(self.dataset, self.asked(audience), self.products, channels, since).of

    @cached_property
    def _latest(self) -> pl.LazyFrame:
        """The latest row of each customer that was true at `as_of`."""
        rows = self.dataset.scan(Table.CUSTOMERS).filter(pl.col(EVENT_TIMESTAMP) <= self.as_of)
        columns = [name for name in rows.collect_schema().names() if name not in (CUSTOMER_ID, EVENT_TIMESTAMP)]
        return rows.group_by(CUSTOMER_ID).agg(pl.col(columns).sort_by(EVENT_TIMESTAMP).last())

    def _features(self, view: FeatureView, columns: Sequence[str]) -> pl.LazyFrame:
        rows = pl.scan_parquet(self._table(view)).filter(pl.col(EVENT_TIMESTAMP) <= self.as_of)
        named = [pl.col(name).sort_by(EVENT_TIMESTAMP).last().alias(feature_name(view.name, name)) for name in columns]
        return rows.group_by(CUSTOMER_ID).agg(named)

    def _table(self, view: FeatureView) -> Path:
        return self._feature_tables / f"{view.name}.parquet"

    def asked(self, customers: Sequence[str]) -> pl.DataFrame:
        """The question about B customers at the end of the data: row_id, customer_id, event_timestamp."""
        asked = pl.DataFrame({CUSTOMER_ID: pl.Series(customers, dtype=pl.String)}).with_row_index(ROW_ID)
        moment = pl.lit(self.as_of + timedelta(seconds=1)).cast(pl.Datetime("us", "UTC"))
        return asked.select(pl.col(ROW_ID).cast(pl.Int64), CUSTOMER_ID, moment.alias(EVENT_TIMESTAMP))
