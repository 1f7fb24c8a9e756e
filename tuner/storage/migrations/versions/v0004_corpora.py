"""Corpora: folders by the names under which studies may ask for them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "tuner_corpora",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("labels", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("tuner_corpora")
