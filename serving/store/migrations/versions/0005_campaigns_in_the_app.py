"""Campaigns in the app: boosts that recommendations show, the events that answer to them, and rejections."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the columns."""
    op.add_column("campaigns", sa.Column("note", sa.Text))
    op.add_column("campaign_variants", sa.Column("words_hash", sa.String(64)))
    op.add_column("campaign_messages", sa.Column("views_left", sa.Integer))
    op.add_column("events", sa.Column("campaign_id", sa.String))
    op.drop_index("campaign_messages_by_customer", "campaign_messages")
    op.create_index("campaign_messages_by_customer", "campaign_messages", ["customer_id", "state"])
