"""Why a study needs no further trial though its budget is not spent."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from tuner.storage.tables import TrialRow
from tuner.studies.objectives import shortfall

if TYPE_CHECKING:
    from tuner.studies.optuna_bridge import History
    from tuner.studies.study import Study

LEAST_PROPOSALS, PROPOSALS_EACH = 3, 2
"""Proposals in a row without a gain: at least so many, and so many for each hyperparameter. One alone may be an
accident of the sampler's draw.
"""
TRIALS_EACH = 5
"""Complete trials for each hyperparameter before a sampler's expectations are evidence."""


def of(study: "Study", history: "History") -> str | None:
    """Why the study may end, if it may; `history` is up to date."""
    if history.is_exhausted:
        return "every combination of its hyperparameters has been tried, so no new trial can be made"
    return without_gain(study, len(history.cube.parts)) if study.spec.stop_when else None


def proposals(parameters: int) -> int:
    """Number of proposals in a row that must be without hope, with so many hyperparameters."""
    return max(LEAST_PROPOSALS, PROPOSALS_EACH * parameters)


def hopeless(gains: Sequence[float | None], left: int, found: Sequence[float], before: float, tolerance: float) -> bool:
    """True if each of some proposals promised less than `tolerance` of all trials left, and they found no more below `before`."""
    promised = [math.inf if gain is None else gain * left for gain in gains]
    return max(promised, default=math.inf) < tolerance and min(found, default=math.inf) >= before - tolerance


def without_gain(study: "Study", parameters: int) -> str | None:
    """A sentence that the sampler expects less than `stop_when` of all trials that are left, if it has said so often
    enough and was right.

    Each of its last proposals must have promised so little that as many as are left would gain less, and those that are over must
    have found no more; and there must be enough complete trials for what it says to mean something. With a least rate, what does
    not reach it is no find, and one must have.
    """
    from tuner.samplers.gp_mcmc import DIAGNOSTICS

    tolerance, least = study.spec.stop_when, study.spec.min_rate
    needed = proposals(parameters)
    mine = TrialRow.study == study.name
    done = (mine, TrialRow.state == "complete")

    def look(session: Any) -> tuple[list[TrialRow], int, int, float | None]:
        under_way = session.scalar(select(func.count()).where(mine, TrialRow.state.in_(("waiting", "running"))))
        query = select(TrialRow).where(mine).order_by(TrialRow.number.desc()).limit(needed + under_way)
        rows = list(session.scalars(query))
        reaching = (TrialRow.metrics["rate"].as_float() >= least,) if least else ()
        before = select(func.min(TrialRow.value)).where(
            *done, *reaching, TrialRow.number < min((row.number for row in rows), default=0)
        )
        count, begun = (session.scalar(select(func.count()).where(*which)) for which in (done, (mine,)))
        return rows, count, begun, session.scalar(before)

    rows, count, begun, before = study.database.read(look)
    left = study.spec.trials - begun
    gains = [row.attrs.get(DIAGNOSTICS, {}).get("expected_gain") for row in rows]
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    found = [row.value or 0.0 for row in complete if shortfall(least, (row.metrics or {}).get("rate")) == 0]
    over = sum(row.state not in ("waiting", "running") for row in rows)
    if count < TRIALS_EACH * parameters or over < needed or before is None:
        return None
    if not hopeless(gains, left, found, before, tolerance):
        return None
    return (
        f"the sampler expected to gain less than {tolerance:g} nats from the {left} trials that are left, by each of its last "
        f"{needed} proposals, and they found no more; with stop_when = 0 it goes on"
    )
