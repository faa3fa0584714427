"""The studio: drafts of campaigns, who did what, verdicts on variants, and jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the columns and makes the tables."""
    time = sa.DateTime(timezone=True)
    op.add_column("campaigns", sa.Column("starts_at", time))
    op.add_column("campaigns", sa.Column("brief", sa.Text))
    op.add_column("campaigns", sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
    for name, kind in (("edited_by", sa.String), ("verdict", sa.String), ("judged_by", sa.String), ("note", sa.Text)):
        op.add_column("campaign_variants", sa.Column(name, kind))
    op.create_table(
        "campaign_acts",
        sa.Column("act_id", sa.Integer, primary_key=True),
        sa.Column("campaign_id", sa.String, nullable=False),
        sa.Column("act", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("note", sa.Text),
    )
    op.create_index("campaign_acts_by_campaign", "campaign_acts", ["campaign_id", "act_id"])
    op.create_table(
        "campaign_jobs",
        sa.Column("job_id", sa.String(32), primary_key=True),
        sa.Column("campaign_id", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("step", sa.String),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.String),
        sa.Column("beat_at", time),
        sa.Column("finished_at", time),
    )
    op.create_index("campaign_jobs_by_campaign", "campaign_jobs", ["campaign_id", "created_at"])
    op.create_index("campaign_jobs_by_state", "campaign_jobs", ["state", "created_at"])
