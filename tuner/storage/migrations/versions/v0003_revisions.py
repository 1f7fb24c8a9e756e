"""Revisions of studies, trials and epochs, which events are read by; keys of the REST API."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

REVISED = ("tuner_studies", "tuner_trials", "tuner_epochs")


def upgrade() -> None:
    for table in REVISED:
        op.add_column(table, sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"))
    for table in REVISED[1:]:
        op.create_index(f"{table}_by_revision", table, ["study", "revision"])
    op.create_table(
        "tuner_keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.Column("used_at", sa.Double),
    )


def downgrade() -> None:
    op.drop_table("tuner_keys")
    for table in REVISED[1:]:
        op.drop_index(f"{table}_by_revision", table)
    for table in REVISED:
        op.drop_column(table, "revision")
