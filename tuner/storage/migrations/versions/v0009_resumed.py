"""Resumption: when a study was last asked to go on, since which its failures are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("tuner_studies", sa.Column("resumed_at", sa.Double, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("tuner_studies", "resumed_at")
