"""Trials and workers of our own, states and rules of studies; trials so far are taken over from Optuna's tables."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

STATES = {"RUNNING": "waiting", "WAITING": "waiting", "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def upgrade() -> None:
    op.add_column("tuner_studies", sa.Column("state", sa.String, nullable=False, server_default="active"))
    op.add_column("tuner_studies", sa.Column("why", sa.String))
    op.add_column("tuner_studies", sa.Column("rules", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("tuner_studies", sa.Column("attrs", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("tuner_studies", sa.Column("recorded_at", sa.Double, nullable=False, server_default="0"))
    op.create_table(
        "tuner_trials",
        sa.Column("study", sa.String, sa.ForeignKey("tuner_studies.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("params", sa.JSON, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("values", sa.JSON),
        sa.Column("metrics", sa.JSON),
        sa.Column("cost", sa.JSON),
        sa.Column("attrs", sa.JSON, nullable=False),
        sa.Column("reason", sa.String),
        sa.Column("message", sa.String),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("artifacts", sa.String),
        sa.Column("token", sa.String),
        sa.Column("worker", sa.String),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("told", sa.Boolean, nullable=False),
    )
    op.create_index("tuner_trials_by_state", "tuner_trials", ["study", "state", "number"])
    op.create_index("tuner_trials_by_value", "tuner_trials", ["study", "value"])
    op.create_index("tuner_trials_untold", "tuner_trials", ["study", "told"])
    op.create_index("tuner_trials_by_worker", "tuner_trials", ["worker"])
    op.create_table(
        "tuner_workers",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("process", sa.String, nullable=False),
        sa.Column("device", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("study", sa.String),
        sa.Column("trial", sa.Integer),
        sa.Column("trials", sa.Integer, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.add_column("tuner_attempts", sa.Column("worker", sa.String, nullable=False, server_default=""))
    if "trials" in sa.inspect(op.get_bind()).get_table_names():
        _take_over(op.get_bind())
    op.drop_column("tuner_attempts", "lease_until")


def _take_over(connection: sa.Connection) -> None:
    """Optuna's trials of our studies as rows of `tuner_trials`."""
    from optuna.distributions import json_to_distribution

    def attributes(table: str, ids: str, of: int) -> dict[str, Any]:
        found = connection.execute(sa.text(f"SELECT key, value_json FROM {table} WHERE {ids} = :id"), {"id": of})
        return {key: json.loads(text) for key, text in found}

    ours = {name for (name,) in connection.execute(sa.text("SELECT name FROM tuner_studies"))}
    rows = []
    for study_id, study in connection.execute(sa.text("SELECT study_id, study_name FROM studies")).all():
        if study not in ours:
            continue
        why = attributes("study_user_attributes", "study_id", study_id).get("stopped")
        if why is not None:
            connection.execute(
                sa.text("UPDATE tuner_studies SET state = 'stopped', why = :why WHERE name = :name"),
                {"why": why, "name": study},
            )
        attempts: dict[int, list[Any]] = {}
        mine = sa.text("SELECT * FROM tuner_attempts WHERE study = :study ORDER BY id")
        for attempt in connection.execute(mine, {"study": study}):
            attempts.setdefault(attempt.trial, []).append(attempt)
        trials = sa.text("SELECT trial_id, number, state FROM trials WHERE study_id = :id ORDER BY number")
        for trial_id, number, optunas in connection.execute(trials, {"id": study_id}).all():
            params = {
                name: json_to_distribution(text).to_external_repr(value)
                for name, value, text in connection.execute(
                    sa.text("SELECT param_name, param_value, distribution_json FROM trial_params WHERE trial_id = :id"),
                    {"id": trial_id},
                )
            }
            values = [
                value
                for (value,) in connection.execute(
                    sa.text("SELECT value FROM trial_values WHERE trial_id = :id ORDER BY objective"), {"id": trial_id}
                )
            ]
            facts = attributes("trial_user_attributes", "trial_id", trial_id)
            tried = attempts.get(number, [])
            last, state = (tried[-1] if tried else None), STATES[optunas]
            rows.append(
                {
                    "study": study, "number": number, "state": state, "params": params,
                    "value": values[0] if values else None, "values": values or None,
                    "metrics": facts.get("metrics"), "cost": facts.get("cost"),
                    "attrs": attributes("trial_system_attributes", "trial_id", trial_id),
                    "reason": last.reason if last and state != "complete" else None,
                    "message": last.message if last and state != "complete" else None,
                    "losses": sum(a.state == "lost" for a in tried),
                    "seconds": sum((a.ended_at or a.lease_until) - a.started_at for a in tried),
                    "artifacts": f"{number:04d}" if state == "complete" else None,
                    "lease_until": 0.0, "created_at": tried[0].started_at if tried else 0.0,
                    "started_at": last.started_at if last else None,
                    "ended_at": last.ended_at if last and state != "waiting" else None,
                    "told": state != "waiting",
                }
            )  # fmt: skip
    nullable = {name: sa.JSON(none_as_null=True) for name in ("values", "metrics", "cost")}
    columns = [sa.column(name, nullable.get(name)) for name in (rows[0] if rows else ())]
    plain = {"params": sa.JSON, "attrs": sa.JSON}
    table = sa.table("tuner_trials", *(sa.column(c.name, plain[c.name]) if c.name in plain else c for c in columns))
    if rows:
        connection.execute(table.insert(), rows)
    # A trial under way begins anew: its files have no checksums.
    over = "UPDATE tuner_attempts SET state = 'interrupted', reason = 'lost', ended_at = lease_until WHERE state = 'running'"
    connection.execute(sa.text(over))


def downgrade() -> None:
    op.add_column("tuner_attempts", sa.Column("lease_until", sa.Double, nullable=False, server_default="0"))
    op.drop_column("tuner_attempts", "worker")
    for table in ("tuner_workers", "tuner_trials"):
        op.drop_table(table)
    for column in ("state", "why", "rules", "attrs", "recorded_at"):
        op.drop_column("tuner_studies", column)
