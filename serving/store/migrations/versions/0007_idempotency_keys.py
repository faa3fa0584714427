"""Answers that are given again to who asks again with the same key."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Makes the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("claimed_by", sa.String(32), nullable=False),
        sa.Column("lease_until", time, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("expires_at", time, nullable=False),
    )
    op.create_index("idempotency_keys_by_end", "idempotency_keys", ["expires_at"])
    op.create_table(
        "idempotency_customers",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String, primary_key=True),
    )
    op.create_index("idempotency_customers_by_customer", "idempotency_customers", ["customer_id"])
