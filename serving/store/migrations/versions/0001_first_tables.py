"""The tables of the first release, which made them without Alembic."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes facts, events and decisions."""
    _facts()
    op.create_table(
        "events",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("event_type", sa.String, nullable=False),
        sa.Column("event_timestamp", TIME, nullable=False),
        sa.Column("product_id", sa.String),
        sa.Column("content_id", sa.String),
        sa.Column("channel", sa.String),
        sa.Column("placement", sa.String),
        sa.Column("value", sa.Float),
        sa.Column("decision_id", sa.String),
        sa.Column("position", sa.Integer),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("applied_at", TIME),
    )
    op.create_index("events_by_customer", "events", ["customer_id", "event_timestamp"])
    pending = sa.text("applied_at IS NULL")
    op.create_index("events_to_apply", "events", ["customer_id"], sqlite_where=pending, postgresql_where=pending)
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String, primary_key=True),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("model_version", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
    )
    op.create_index("decisions_by_customer", "decisions", ["customer_id", "created_at"])


def _facts() -> None:
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "customer_facts",
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("segment", sa.String),
        sa.Column("country", sa.String),
        sa.Column("language", sa.String),
        sa.Column("risk_level", sa.String),
        sa.Column("risk_assessed_at", TIME),
        sa.Column("is_minor", sa.Boolean),
        sa.Column("age", sa.Float),
        sa.Column("loaded_at", TIME),
    )
    op.create_table(
        "holdings",
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("opened_at", TIME, primary_key=True),
        sa.Column("closed_at", TIME),
        sa.Column("loaded_at", TIME),
    )
    op.create_table(
        "dismissals",
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("dismissed_at", TIME, nullable=False),
        sa.Column("loaded_at", TIME),
    )
