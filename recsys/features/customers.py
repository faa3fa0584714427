"""customer_profile: who the customer is, one row per row of the customers table, if he agreed to profiling.

Ids, the vulnerability flags and what only rules read (risk_assessed_at, kyc_status, time_zone) are left out.
"""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

import polars as pl

from recsys.data.contract import CONFIG_FILE, Dataset
from recsys.errors import ConfigError
from recsys.features.attributes import (
    attribute_columns,
    attribute_expressions,
    declared_columns,
    vector_column,
    vector_series,
)
from recsys.features.consent import Purpose
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.spec import Entity, FeatureView, ViewName
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, FeatureKind, Table

CANONICAL: Final = MappingProxyType(
    {
        "segment": FeatureKind.CATEGORICAL,
        "region": FeatureKind.CATEGORICAL,
        "country": FeatureKind.CATEGORICAL,
        "language": FeatureKind.CATEGORICAL,
        "income_band": FeatureKind.CATEGORICAL,
        "risk_level": FeatureKind.CATEGORICAL,
        "knowledge_level": FeatureKind.CATEGORICAL,
        "liquid_amount": FeatureKind.NUMERIC,
        "horizon_months": FeatureKind.NUMERIC,
        "joined_at": FeatureKind.TIMESTAMP,
    }
)
NEVER: Final = ("is_minor", "in_arrears", "bereaved", "fraud_victim", "open_complaint")
"""Facts that rules act on and no model may see."""
_KEYS = [CUSTOMER_ID, EVENT_TIMESTAMP]


def plan_profile(sources: Sources) -> ViewPlan | None:
    """The view; None where the customers table has nothing but ids.

    Raises:
        ConfigError: dataset.yaml declares a vulnerability flag or a picture of the customer as a feature.
    """
    dataset = sources.dataset
    _refuse_forbidden(dataset)
    attributes = attribute_columns(dataset, Table.CUSTOMERS, CANONICAL)
    texts = declared_columns(dataset, Table.CUSTOMERS, FeatureKind.TEXT)
    dim = sources.encodings.text_encoder.dim if texts else 0
    columns = (*attributes, *(vector_column(f"{name}_vector", dim) for name in texts))
    if not columns:
        return None
    view = FeatureView(name=ViewName.CUSTOMER_PROFILE, entity=Entity.CUSTOMER, columns=columns)

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        everybody = customers.of(dataset.scan(Table.CUSTOMERS))
        rows = sources.consent.keep_now(everybody, Purpose.PROFILING).sort(_KEYS).collect()
        profile = rows.select(*_KEYS, *attribute_expressions(attributes))
        yield profile.with_columns(_text_vectors(sources, rows, name) for name in texts)

    return ViewPlan(view, "customers.parquet", frames)


def _text_vectors(sources: Sources, rows: pl.DataFrame, name: str) -> pl.Series:
    """A declared text of the customers, embedded only where they agreed to the analysis of texts."""
    keyed = rows.select(*_KEYS, name).with_row_index("row")
    allowed = sources.consent.keep_at_the_time(keyed.lazy(), Purpose.TEXT_ANALYSIS).select("row", name).collect()
    texts = keyed.select("row").join(allowed, on="row", how="left", maintain_order="left")[name]
    return vector_series(f"{name}_vector", sources.encodings.written(ViewName.CUSTOMER_PROFILE, texts))


def _refuse_forbidden(dataset: Dataset) -> None:
    declared = dataset.declared(Table.CUSTOMERS)
    flags = [name for name in declared if name in NEVER]
    if flags:
        raise ConfigError(
            CONFIG_FILE,
            f"features.customers: {', '.join(flags)} may not become a feature: rules act on these facts, models do not "
            "see them. Remove them from the declaration",
        )
    pictures = [name for name, kind in declared.items() if kind is FeatureKind.IMAGE]
    if pictures:
        raise ConfigError(
            CONFIG_FILE,
            f"features.customers: {', '.join(pictures)} is an image: there are no profile photos. Pictures that a "
            "customer sent belong in messages.image_path",
        )
