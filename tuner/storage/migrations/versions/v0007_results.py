"""Results: when a study's last changed, and its winner by them. A trial's value is the figure that is minimised, alone: before, a
study with a least rate added what the trial's rate falls short of it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

STUDIES = sa.table(
    "tuner_studies", sa.column("name"), sa.column("specification", sa.JSON), sa.column("revision"), sa.column("results")
)
TRIALS = sa.table(
    "tuner_trials", sa.column("study"), sa.column("number"), sa.column("metrics", sa.JSON), sa.column("value"),
    sa.column("values", sa.JSON), sa.column("told"),
)  # fmt: skip


def upgrade() -> None:
    op.add_column("tuner_studies", sa.Column("results", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("tuner_studies", sa.Column("winner", sa.JSON))
    op.execute(STUDIES.update().values(results=STUDIES.c.revision))
    _add(-1)


def downgrade() -> None:
    _add(1)
    for column in ("winner", "results"):
        op.drop_column("tuner_studies", column)


def _add(sign: int) -> None:
    """Adds what rates fall short, or takes it away, where studies have a least rate; Optuna's record shall hear of it."""
    connection = op.get_bind()
    for name, facts in connection.execute(sa.select(STUDIES.c.name, STUDIES.c.specification)).all():
        least = facts.get("min_rate", 0.0) if isinstance(facts, dict) else 0.0
        if not least:
            continue
        mine = TRIALS.c.study == name
        rows = connection.execute(sa.select(TRIALS).where(mine, TRIALS.c.value.is_not(None))).mappings().all()
        for row in rows:
            short = max(least - ((row["metrics"] or {}).get("rate") or 0.0), 0.0)
            value = row["value"] + sign * short
            changed = {"value": value, "values": [value, *(row["values"] or [value])[1:]], "told": False}
            connection.execute(TRIALS.update().where(mine, TRIALS.c.number == row["number"]).values(**changed))
