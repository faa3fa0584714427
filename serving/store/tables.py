"""The tables of the SQL store. Times are UTC; SQLite keeps them without their zone, so the type puts it back."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

HEAD: Final = "0008"
"""The revision in `migrations/versions` that makes these tables; the store is brought to it when it is opened."""


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
ALL_CHANNELS: Final = ""
"""Stands for "every channel" in the key of a consent: a key cannot be null."""

dataset_facts = Table(
    "dataset_facts",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("keeps_consents", Boolean, nullable=False),  # whether a consent that nobody gave is a refusal
    Column("kept", Text, nullable=False),  # JSON: which columns of customer_facts the bank keeps at all
    Column("confirmed_at", UtcTime, nullable=False),  # when the store was last made to agree with the dataset
)

customer_facts = Table(
    "customer_facts",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("updated_at", UtcTime, nullable=False),  # when this became true
    Column("segment", String),
    Column("country", String),
    Column("language", String),
    Column("time_zone", String),
    Column("income_band", String),
    Column("kyc_status", String),
    Column("knowledge_level", String),
    Column("liquid_amount", Float),
    Column("horizon_months", Float),
    Column("risk_level", String),
    Column("risk_assessed_at", UtcTime),
    Column("is_minor", Boolean),
    Column("in_arrears", Boolean),
    Column("bereaved", Boolean),
    Column("fraud_victim", Boolean),
    Column("open_complaint", Boolean),
    Column("age", Float),
    Column("loaded_at", UtcTime),  # by which load of a dataset; null: not from a dataset
)

consents = Table(
    "consents",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("purpose", String, primary_key=True),
    Column("channel", String, primary_key=True),  # ALL_CHANNELS: every one
    Column("granted", Boolean, nullable=False),
    Column("given_at", UtcTime, nullable=False),  # the last time that he was asked
    Column("loaded_at", UtcTime),  # null: from the API
)

holdings = Table(
    "holdings",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("opened_at", UtcTime, primary_key=True),
    Column("closed_at", UtcTime),
    Column("loaded_at", UtcTime),  # null: from an event of the app
    Index("holdings_by_product", "product_id"),
)

dismissals = Table(
    "dismissals",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("dismissed_at", UtcTime, nullable=False),  # the last time
    Column("loaded_at", UtcTime),  # null: from an event of the app
)

applications = Table(
    "applications",
    METADATA,
    Column("customer_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("applied_at", UtcTime, nullable=False),  # the last time, with no conversion since
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
    Column("campaign_id", String),  # of the boost that the customer answers to; null: of none
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

quarantined_events = Table(
    "quarantined_events",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("decision_id", String, nullable=False),  # that its tracking token names, and the log does not have
    Column("received_at", UtcTime, nullable=False),
    Column("event", Text, nullable=False),  # JSON, as it was sent
    Index("quarantined_events_by_customer", "customer_id"),
    Index("quarantined_events_by_decision", "decision_id"),
)

contacts = Table(
    "contacts",
    METADATA,
    Column("contact_id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("category", String, nullable=False),  # of the product; empty where it has none
    Column("product_id", String),
    Column("contacted_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),  # of a reservation; null: the contact was made
    Index("contacts_by_customer", "customer_id", "contacted_at"),
)

product_capacity = Table(
    "product_capacity",
    METADATA,
    Column("product_id", String, primary_key=True),
    Column("units", BigInteger, nullable=False),  # how many may be sold
    Column("sold", BigInteger, nullable=False),  # so far
    Column("reserved", BigInteger, nullable=False),  # about to be sold
)

capacity_reservations = Table(
    "capacity_reservations",
    METADATA,
    Column("reservation_id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("product_id", String, nullable=False),
    Column("state", String, nullable=False),  # reserved, confirmed (sold), settled (its event came too), released
    Column("expires_at", UtcTime, nullable=False),
    Index("capacity_reservations_by_product", "product_id", "state", "expires_at"),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("decision_id", String, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("record", Text, nullable=False),  # canonical JSON: what stays after an erasure
    Column("hash", String(64), nullable=False),  # of the sequence, the hash before and the record
    Column("customer_id", String),  # null after an erasure, as are the two below
    Column("payload", Text),  # canonical JSON of what is personal; the record holds its digest
    Column("features_digest", String(64)),  # of decision_features; null: no features were read
    Column("erased_at", UtcTime),
    Index("decisions_by_customer", "customer_id", "created_at"),
    Index("decisions_by_features", "features_digest"),
)

decision_features = Table(
    "decision_features",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("features", Text, nullable=False),  # canonical JSON of the row that the model read
    Index("decision_features_by_customer", "customer_id"),
)

decision_chain = Table(
    "decision_chain",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("sequence", BigInteger, nullable=False),  # of the last decision; 0: none yet
    Column("hash", String(64), nullable=False),
)

catalogue_changes = Table(
    "catalogue_changes",
    METADATA,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),  # from 1, without gaps
    Column("kind", String, nullable=False),  # products or contents
    Column("item_id", String, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("changed_by", String, nullable=False),  # the subject of the token
    Column("columns", Text, nullable=False),  # JSON: the item's row, in the columns of the data contract
    Column("picture", LargeBinary),  # null: it has none
    Column("features", Text, nullable=False),  # JSON: the feature row that was made of them
    Column("schema_hash", String(16), nullable=False),  # of the features
    Index("catalogue_changes_by_item", "kind", "item_id", "revision"),
)

campaigns = Table(
    "campaigns",
    METADATA,
    Column("campaign_id", String, primary_key=True),
    Column("state", String, nullable=False),  # see serving.store.campaigns
    Column("author", String, nullable=False),
    Column("submitted_at", UtcTime, nullable=False),
    Column("digest", String(64), nullable=False),  # of who gets what in which words: what an approval is of
    Column("ends_at", UtcTime, nullable=False),
    Column("plan", Text, nullable=False),  # JSON: name, totals, hashes
    Column("approver", String),
    Column("approved_at", UtcTime),
    Column("changed_by", String, nullable=False),  # the last who moved it on
    Column("changed_at", UtcTime, nullable=False),
    Column("note", Text),  # why it was rejected
    Column("starts_at", UtcTime),
    Column("brief", Text),  # JSON; null: it was handed in as a plan's directory
    Column("revision", Integer, nullable=False, server_default="0"),  # rises with every change of brief or copy
)

campaign_variants = Table(
    "campaign_variants",
    METADATA,
    Column("campaign_id", String, primary_key=True),
    Column("content_id", String, primary_key=True),
    Column("product_id", String, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("product_version", String(64), nullable=False),
    Column("copy", Text, nullable=False),  # JSON: the variant of the plan
    Column("words_hash", String(64)),  # of what the catalogue holds of it: what is shown in the app is the catalogue's
    Column("edited_by", String),  # null: as it was made
    Column("verdict", String),  # approved, rejected; null: nobody has said
    Column("judged_by", String),
    Column("note", Text),  # why it was rejected
)

campaign_acts = Table(
    "campaign_acts",
    METADATA,
    Column("act_id", Integer, primary_key=True),
    Column("campaign_id", String, nullable=False),
    Column("act", String, nullable=False),  # see serving.store.campaign_acts
    Column("by", String, nullable=False),  # the subject of the token
    Column("at", UtcTime, nullable=False),
    Column("note", Text),
    Index("campaign_acts_by_campaign", "campaign_id", "act_id"),
)

campaign_jobs = Table(
    "campaign_jobs",
    METADATA,
    Column("job_id", String(32), primary_key=True),
    Column("campaign_id", String, nullable=False),
    Column("revision", Integer, nullable=False),  # of the campaign, for which it was asked
    Column("state", String, nullable=False),  # queued, running, done, failed, cancelled
    Column("created_by", String, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("step", String),  # what it is at
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Text),  # why it failed
    Column("attempts", Integer, nullable=False),
    Column("worker", String),
    Column("beat_at", UtcTime),  # the last sign of life
    Column("finished_at", UtcTime),
    Index("campaign_jobs_by_campaign", "campaign_id", "created_at"),
    Index("campaign_jobs_by_state", "state", "created_at"),
)

campaign_messages = Table(
    "campaign_messages",
    METADATA,
    Column("message_id", String(64), primary_key=True),  # of what is sent to whom: planning it twice is one message
    Column("campaign_id", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("product_id", String, nullable=False),
    Column("content_id", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("send_at", UtcTime, nullable=False),
    Column("state", String, nullable=False),  # see serving.store.campaigns
    Column("reason", String),  # why it was dropped, put off or failed
    Column("attempts", Integer, nullable=False),
    Column("claimed_by", String),
    Column("lease_until", UtcTime),
    Column("settled_at", UtcTime),
    Column("views_left", Integer),  # in the app: how often it may still be shown; null: it is a message
    Index("campaign_messages_due", "state", "send_at"),
    Index("campaign_messages_by_campaign", "campaign_id", "state"),
    Index("campaign_messages_by_customer", "customer_id", "state"),
)

idempotency_keys = Table(
    "idempotency_keys",
    METADATA,
    Column("key", String(64), primary_key=True),  # keyed digest of who asked, what for, and the key that he sent
    Column("request", String(64), nullable=False),  # digest of the body
    Column("claimed_by", String(32), nullable=False),  # the request that works on it
    Column("lease_until", UtcTime, nullable=False),  # until when it counts as being worked on
    Column("answer", LargeBinary),  # null: not yet
    Column("expires_at", UtcTime, nullable=False),
    Index("idempotency_keys_by_end", "expires_at"),
)

idempotency_customers = Table(
    "idempotency_customers",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("customer_id", String, primary_key=True),  # whom the answer is about: it goes with him
    Index("idempotency_customers_by_customer", "customer_id"),
)
