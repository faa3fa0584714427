"""Events whose decision nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Makes the table."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "quarantined_events",
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("decision_id", sa.String, nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
    )
    op.create_index("quarantined_events_by_customer", "quarantined_events", ["customer_id"])
    op.create_index("quarantined_events_by_decision", "quarantined_events", ["decision_id"])
