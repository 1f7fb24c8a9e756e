"""Workers: which studies each takes, and the load of its card."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for column in ("takes", "gpu"):
        op.add_column("tuner_workers", sa.Column(column, sa.JSON))


def downgrade() -> None:
    for column in ("gpu", "takes"):
        op.drop_column("tuner_workers", column)
