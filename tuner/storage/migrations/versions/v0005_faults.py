"""Faults: how often in a row a study had one of its own, and a trial lost its worker."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

COUNTED = {"tuner_studies": ("faults", "faulted_at"), "tuner_trials": ("abandoned", "wait_until")}
"""Columns by table: the one that counts, and the time that goes with it."""


def upgrade() -> None:
    for table, (count, time) in COUNTED.items():
        op.add_column(table, sa.Column(count, sa.Integer, nullable=False, server_default="0"))
        op.add_column(table, sa.Column(time, sa.Double, nullable=False, server_default="0"))


def downgrade() -> None:
    for table, columns in COUNTED.items():
        for column in columns:
            op.drop_column(table, column)
