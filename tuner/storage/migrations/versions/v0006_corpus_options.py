"""Corpora: a registered folder has options with which it is read, of which labels were the only one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("tuner_corpora", sa.Column("options", sa.JSON, nullable=False, server_default="{}"))
    op.execute("""UPDATE tuner_corpora SET options = '{"labels": "last"}' WHERE labels""")
    op.drop_column("tuner_corpora", "labels")


def downgrade() -> None:
    op.add_column("tuner_corpora", sa.Column("labels", sa.Boolean, nullable=False, server_default=sa.false()))
    op.drop_column("tuner_corpora", "options")
