"""Why a study needs no further trial though its budget is not spent."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from tuner.storage.tables import TrialRow
from tuner.studies.objectives import shortfall
from tuner.studies.winner import means

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
    return without_gain(study, history) if study.spec.stop_when else None


def proposals(parameters: int) -> int:
    """Number of proposals in a row that must be without hope, with so many hyperparameters."""
    return max(LEAST_PROPOSALS, PROPOSALS_EACH * parameters)


def hopeless(gains: Sequence[float | None], left: int, found: Sequence[float], before: float, tolerance: float) -> bool:
    """True if each of some proposals promised less than `tolerance` of all trials left, and they found no more below `before`."""
    promised = [math.inf if gain is None else gain * left for gain in gains]
    return max(promised, default=math.inf) < tolerance and min(found, default=math.inf) >= before - tolerance


def without_gain(study: "Study", history: "History") -> str | None:
    """A sentence that the sampler expects less than `stop_when` of all trials that are left, if it has said so often
    enough and was right.

    Each of its last proposals must have promised so little that as many as are left would gain less, and those that are over must
    have found no more; and there must be enough complete trials for what it says to mean something. With a least rate, what does
    not reach it is no find, and one must have.
    """
    from tuner.samplers.gp_mcmc import DIAGNOSTICS

    tolerance, parameters = study.spec.stop_when, len(history.cube.parts)
    needed = proposals(parameters)
    mine = TrialRow.study == study.name

    def look(session: Any) -> tuple[list[TrialRow], int, int]:
        count, begun, under_way = (
            session.scalar(select(func.count()).where(mine, *which))
            for which in ((TrialRow.state == "complete",), (), (TrialRow.state.in_(("waiting", "running")),))
        )
        query = select(TrialRow).where(mine).order_by(TrialRow.number.desc()).limit(needed + under_way)
        return list(session.scalars(query)), count, begun

    rows, count, begun = study.database.read(look)
    left = study.spec.trials - begun
    gains = [row.attrs.get(DIAGNOSTICS, {}).get("expected_gain") for row in rows]
    over = sum(row.state not in ("waiting", "running") for row in rows)
    if count < TRIALS_EACH * parameters or over < needed or not hopeless(gains, left, (), 0.0, tolerance):
        return None
    found, first = _finds(study, history), rows[-1].number
    before = [value for number, value in found.items() if number < first]
    last = [value for number, value in found.items() if number >= first]
    if not before or not hopeless(gains, left, last, min(before), tolerance):
        return None
    return (
        f"the sampler expected to gain less than {tolerance:g} nats from the {left} trials that are left, by each of its last "
        f"{needed} proposals, and they found no more; with stop_when = 0 it goes on"
    )


def _finds(study: "Study", history: "History") -> dict[int, float]:
    """Values of the complete trials that reach the least rate, by their numbers; where noise is inferred, a process's means."""
    rate = TrialRow.metrics["rate"].as_float()
    query = select(TrialRow.number, TrialRow.value, TrialRow.params, rate)
    done = (TrialRow.study == study.name, TrialRow.state == "complete", TrialRow.value.is_not(None))
    rows = study.database.read(lambda session: session.execute(query.where(*done)).all())
    held = [row for row in rows if history.cube.holds(row[2])]
    points = np.array([history.cube.encode(params) for _, _, params, _ in held]).reshape(len(held), history.cube.d)
    smoothed = means(points, np.array([value for _, value, _, _ in held]))
    found = [(number, value, rate) for number, value, _, rate in rows]
    if smoothed is not None:
        found = [(row[0], float(mean), row[3]) for row, mean in zip(held, smoothed[0], strict=True)]
    return {number: value for number, value, rate in found if shortfall(study.spec.min_rate, rate) == 0}
