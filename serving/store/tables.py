"""The tables of the SQL store. Times are UTC; SQLite keeps them without their zone, so the type puts it back."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
)

SCHEMA_VERSION: Final = 1
"""Raised with every change of a table; a store of another version is refused."""


class UtcTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuses a time that names no instant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Puts the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA: Final = MetaData()

schema_version = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))

customer_facts = Table(
    "customer_facts",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("updated_at", UtcTime, nullable=False),  # when this became true
    Column("segment", String),
    Column("country", String),
    Column("language", String),
    Column("risk_level", String),
    Column("risk_assessed_at", UtcTime),
    Column("is_minor", Boolean),
    Column("age", Float),
    Column("loaded_at", UtcTime),  # by which load of a dataset; null: not from a dataset
)

holdings = Table(
    "holdings",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("opened_at", UtcTime, primary_key=True),
    Column("closed_at", UtcTime),
    Column("loaded_at", UtcTime),  # null: from an event of the app
)

dismissals = Table(
    "dismissals",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("dismissed_at", UtcTime, nullable=False),  # the last time
    Column("loaded_at", UtcTime),  # null: from an event of the app
)

events = Table(
    "events",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("event_timestamp", UtcTime, nullable=False),
    Column("product_id", String),
    Column("content_id", String),
    Column("channel", String),
    Column("placement", String),
    Column("value", Float),
    Column("decision_id", String),
    Column("position", Integer),
    Column("received_at", UtcTime, nullable=False),
    Column("applied_at", UtcTime),  # when the online features learned of it; null: not yet
    Index("events_by_customer", "customer_id", "event_timestamp"),
)

Index(
    "events_to_apply",
    events.c.customer_id,
    sqlite_where=events.c.applied_at.is_(None),
    postgresql_where=events.c.applied_at.is_(None),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("decision_id", String, primary_key=True),
    Column("request_id", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("mode", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("request", JSON, nullable=False),
    Column("answer", JSON, nullable=False),
    Index("decisions_by_customer", "customer_id", "created_at"),
)
