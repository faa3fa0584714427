"""A bank's dataset and its champion as the planner of campaigns sees them (`recsys.campaigns.source`)."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from recsys.bundle import Bundle
from recsys.campaigns.audience import AudienceFields
from recsys.campaigns.brief import Objective, canonical_json
from recsys.campaigns.plan_files import Creatives
from recsys.campaigns.source import Groups, History, Scores
from recsys.data.contract import Dataset
from recsys.decisions.versions import product_version, words_hash
from recsys.features.spec import Entity, FeatureManifest, FeatureView, ViewName, feature_name
from recsys.policy.as_of import customer_facts_as_of, taken_before
from recsys.policy.facts import BoolArray, CustomerFacts
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, PRODUCT_ID, EventType, Kind, Table
from training.campaign_history import conversions_per_response, read_history
from training.campaign_responses import Responses
from training.campaign_tones import read_tone_responses
from training.campaign_uplift import learn_uplift
from training.examples import ROW_ID
from training.fairness.groups import read_attributes
from training.recommend import BatchRecommender

_MOST_GROUPS: Final = 30
_OPTIONAL: Final = ("segment", "language", "time_zone")


class BankCustomers:
    """The customers of a dataset, judged and scored in batches."""

    def __init__(self, dataset: Dataset, home: Path, bundle: Bundle, fingerprint: str) -> None:
        """`fingerprint` is the dataset's, at hand already: it takes a pass over all files."""
        self.dataset = dataset
        self.home = home
        self.bundle = bundle
        self.recommend = BatchRecommender(dataset, home, bundle)
        self.policy = self.recommend.pipeline.policy
        self.products = self.recommend.pipeline.catalogue.products
        self.contents = _contents(bundle)
        newest = dataset.config.end or dataset.end()
        self.as_of: datetime = newest.astimezone(UTC)
        manifest = FeatureManifest.read(home / "features")
        # the profile view holds what the customers table does, under longer names
        self._views = [view for view in manifest.views_of(Entity.CUSTOMER) if view.name != ViewName.CUSTOMER_PROFILE]
        self.versions: Mapping[str, str] = {
            "model": bundle.manifest.model_version,
            "policy": f"{self.policy.pack.name} {self.policy.pack.version}",
            "features": manifest.schema_hash,
            "dataset": fingerprint,
        }

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

    def facts(self, customers: Sequence[str]) -> CustomerFacts:
        """What the rules know of B customers, and the messages that they were sent."""
        return customer_facts_as_of(
            self.dataset, self._asked(customers), self.products, self.policy.pack.pushed_channels
        )

    def scores(self, customers: Sequence[str], segments: Sequence[str], allowed: BoolArray) -> Scores:
        """What the champion says of them."""
        everybody = np.zeros(len(customers), dtype=bool)
        known = self.recommend.understand(self._asked(customers), everybody)
        return Scores(
            self.recommend.scores(known, segments, Kind.PRODUCTS, allowed),
            self.recommend.scores(known, segments, Kind.CONTENTS),
            None if self.bundle.response is None else Responses(self.recommend.recommender, known),
        )

    def history(self, objective: Objective) -> History:
        """What logged impressions taught."""
        found = read_history(self.recommend, objective, self.as_of)
        uplift = learn_uplift(self.dataset, self.as_of, self.policy.pack.credit)
        if objective == "engage" and uplift.predict is not None:
            why = "the history's trials are about applications, and this campaign is about clicks"
            uplift = uplift._replace(method="propensity", reason=why, predict=None)
        worth = conversions_per_response(self.dataset, EventType.APPLY, self.as_of)
        return found._replace(
            uplift=uplift, conversions_per_application=worth, by_responses=self.bundle.response is not None
        )

    def groups(self, customers: Sequence[str]) -> list[Groups]:
        """By the columns that the policy pack keeps from models."""
        found = read_attributes(self.dataset, customers, self.as_of, self.policy.pack.credit, _MOST_GROUPS).found
        return [Groups(attribute.name, attribute.kind, attribute.labels) for attribute in found]

    def creatives(self, used: Sequence[str]) -> Creatives:
        """The copy and pictures of creatives, in the form of a plan's variants."""
        rows = self.contents.filter(pl.col(CONTENT_ID).is_in(list(used))).sort(CONTENT_ID)
        facts = {row[PRODUCT_ID]: product_version(row) for row in self.bundle.products.iter_rows(named=True)}
        variants, images = [], {}
        for row in rows.iter_rows(named=True):
            file = self.dataset.image_file(row["image_path"]) if row.get("image_path") else None
            name = None if file is None else f"{row[CONTENT_ID]}{file.suffix}"
            if file is not None and name is not None:
                images[name] = file
            variants.append(_variant(row, name, file, facts[row[PRODUCT_ID]]))
        return Creatives(variants, images)

    def product_rows(self) -> list[dict[str, Any]]:
        """The catalogue's rows."""
        return self.bundle.products.to_dicts()

    def tone_responses(self) -> pl.DataFrame:
        """Who answered to which tone."""
        return read_tone_responses(self.dataset, self.as_of)

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
        return self.home / "features" / f"{view.name}.parquet"

    def _asked(self, customers: Sequence[str]) -> pl.DataFrame:
        asked = pl.DataFrame({CUSTOMER_ID: pl.Series(customers, dtype=pl.String)}).with_row_index(ROW_ID)
        moment = pl.lit(self.as_of + timedelta(seconds=1)).cast(pl.Datetime("us", "UTC"))
        return asked.select(pl.col(ROW_ID).cast(pl.Int64), CUSTOMER_ID, moment.alias(EVENT_TIMESTAMP))


def _contents(bundle: Bundle) -> pl.DataFrame:
    if bundle.contents is not None:
        return bundle.contents
    return pl.DataFrame(schema={CONTENT_ID: pl.String, PRODUCT_ID: pl.String})


def _variant(row: Mapping[str, Any], image: str | None, file: Path | None, product_version: str) -> dict[str, Any]:
    copy = {
        CONTENT_ID: row[CONTENT_ID],
        PRODUCT_ID: row[PRODUCT_ID],
        "product_version": product_version,
        "segment": None,
        "channel": row.get("channel"),
        "language": row.get("language"),
        "tone": row.get("tone"),
        "headline": row.get("headline"),
        "body": row.get("body"),
        "cta": row.get("call_to_action"),
        "disclaimer": row.get("disclaimer"),
        "opt_out": None,
        "image": image,
        "source": "catalogue",
        "machine_made": bool(row.get("ai_generated")),
    }
    picture = None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    digest = hashlib.sha256(canonical_json({**copy, "image": picture}).encode()).hexdigest()
    return {**copy, "content_hash": digest, "words_hash": words_hash(row)}
