"""What changed in the catalogue since the model was trained: a row a change, never one less."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "catalogue_changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("item_id", sa.String, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String, nullable=False),
        sa.Column("columns", sa.Text, nullable=False),
        sa.Column("picture", sa.LargeBinary),
        sa.Column("features", sa.Text, nullable=False),
        sa.Column("schema_hash", sa.String(16), nullable=False),
    )
    op.create_index("catalogue_changes_by_item", "catalogue_changes", ["kind", "item_id", "revision"])
