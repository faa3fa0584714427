"""Campaigns: what was approved by whom, and the messages on their way."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("submitted_at", time, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ends_at", time, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("approver", sa.String),
        sa.Column("approved_at", time),
        sa.Column("changed_by", sa.String, nullable=False),
        sa.Column("changed_at", time, nullable=False),
    )
    op.create_table(
        "campaign_variants",
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("content_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("product_version", sa.String(64), nullable=False),
        sa.Column("copy", sa.Text, nullable=False),
    )
    op.create_table(
        "campaign_messages",
        sa.Column("message_id", sa.String(64), primary_key=True),
        sa.Column("campaign_id", sa.String, nullable=False),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("product_id", sa.String, nullable=False),
        sa.Column("content_id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("send_at", time, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claimed_by", sa.String),
        sa.Column("lease_until", time),
        sa.Column("settled_at", time),
    )
    op.create_index("campaign_messages_due", "campaign_messages", ["state", "send_at"])
    op.create_index("campaign_messages_by_campaign", "campaign_messages", ["campaign_id", "state"])
    op.create_index("campaign_messages_by_customer", "campaign_messages", ["customer_id"])
