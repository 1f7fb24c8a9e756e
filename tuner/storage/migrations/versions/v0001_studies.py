"""Studies, attempts, epochs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tuner_studies",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("specification", sa.JSON, nullable=False),
        sa.Column("budget", sa.Integer, nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("asker", sa.String),
        sa.Column("asker_until", sa.Double, nullable=False),
    )
    op.create_table(
        "tuner_attempts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study", sa.String, sa.ForeignKey("tuner_studies.name", ondelete="CASCADE"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("token", sa.String, nullable=False, unique=True),
        sa.Column("seed", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("message", sa.String),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
    )
    op.create_index("tuner_attempts_by_trial", "tuner_attempts", ["study", "trial"])
    op.create_table(
        "tuner_epochs",
        sa.Column("study", sa.String, sa.ForeignKey("tuner_studies.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("trial", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("distortion", sa.Double),
        sa.Column("rate", sa.Double),
        sa.Column("neg_elbo", sa.Double),
        sa.Column("active_units", sa.Integer),
        sa.Column("seconds", sa.Double),
        sa.Column("objective", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    for table in ("tuner_epochs", "tuner_attempts", "tuner_studies"):
        op.drop_table(table)
