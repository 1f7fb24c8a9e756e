"""The winner of a study: the one place that decides which trial is its best, and says by what.

By value, the lowest. Where noise is inferred by the lowest mean of a process through all values, whatever sampler proposed them,
and not by the luckiest value. Where a least rate must hold, among those that another seed brings there with a probability of
`SURE` by a process through all rates; where none is that sure, the likeliest. What was found is kept in the study's row
until its complete trials change, so that whoever lists studies fits no process.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tuner import metrics
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow, TrialRow, study_row
from tuner.studies.objectives import OBJECTIVES, shortfall
from tuner.studies.spec import Definition
from tuner.studies.trials import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from tuner.samplers.cube import Array
    from tuner.samplers.gp import Processes

LEAST = 10
"""Number of complete trials below which noise cannot be told from shape."""
FEW = 5
"""Number of complete trials from which on a process tells whether another seed reaches a least rate."""
MOST = 200
"""Largest number of trials that a process sees, the better half and the rest thinned evenly."""
NOISY = 1e-3
"""Variance of a noise, as a share of the values', from which on they are called noisy."""
LOWEST = "lowest value"
SURE = 0.97
"""Probability by a process that another seed reaches the least rate, from which on a trial may win. Of winners that are
asked for so much, whose own luck has a part in it, at least nine in ten do (docs/samplers.md).
"""


@dataclass(frozen=True)
class Found:
    """Number of the winning trial, with the figures by which it wins."""

    number: int
    noise: float | None = None
    """Standard deviation, in nats, of the values that other seeds would have given; None where no noise is inferred."""
    mean: float | None = None
    """Mean of the process at the trial's hyperparameters, in nats; None without noise."""
    probability: float | None = None
    """Probability that another seed reaches the least rate; None without a least rate, and with too few trials to tell."""
    reaches: bool = True
    """True if the trial reaches the least rate: with a probability of `SURE`, or where there are too few trials,
    itself.
    """


@dataclass(frozen=True)
class Winner:
    """The best trial of a study, which it would have trained again."""

    trial: Trial
    found: Found
    min_rate: float

    @property
    def by(self) -> str:
        """The measure by which the trial is the best, in a few words."""
        lowest = LOWEST if self.found.noise is None else "lowest mean"
        if not self.min_rate:
            return lowest
        reach, sure = f"R ≥ {self.min_rate:g}", self.found.probability
        if self.found.reaches:
            return f"{lowest} of those that reach {reach}" + ("" if sure is None else f" (p = {_share(sure)})")
        return f"nearest to {reach}" if sure is None else f"likeliest to reach {reach} (p = {_share(sure)})"

    def plain(self) -> dict[str, Any]:
        """The trial with what made it win, as JSON values."""
        facts = asdict(self.found)
        return {**self.trial.plain(), "by": self.by, **{key: facts[key] for key in ("noise", "mean", "probability")}}

    @property
    def said(self) -> list[str]:
        """Sentences that say why the trial wins; none for the lowest value."""
        found, called, reach = self.found, f"trial {self.trial.number}", f"R ≥ {self.min_rate:g}"
        said = []
        if found.noise is not None:
            said.append(
                f"the values are noisy, with a standard deviation inferred as {found.noise:.2g} nats: by the mean of a process "
                f"through all of them, {found.mean:.2f} there, the winner is {called}"
            )
        if found.probability is not None:
            said.append(
                f"another seed of {called} reaches {reach} with probability {_share(found.probability)}, "
                "by a process through all rates"
            )
        if not found.reaches:
            asked = "" if found.probability is None else f" with the probability of {SURE:g} that a winner must have"
            said.append(f"no trial reaches {reach}{asked}: {called} is the nearest to it")
        return said


def _share(probability: float) -> str:
    """A probability in three digits, rounded down: what falls short of `SURE` is not to be shown as it."""
    return f"{math.floor(1000 * probability) / 1000:.3f}"


def of(database: Database, name: str, definition: Definition) -> Winner | None:
    """The winner of the study of that name and definition; none if it has no complete trial.

    It is what the study's row keeps, or else found anew and kept there.
    """
    row = database.read(lambda session: study_row(session, name))
    kept, results = row.winner, row.results
    if kept is not None and kept["results"] == results:
        found = Found(**kept["found"])
    elif (new := _find(database, name, definition)) is None:
        return None
    else:
        found = new
        _keep(database, name, results, found)
    mine = (TrialRow.study == name, TrialRow.number == found.number)
    trial = database.read(lambda session: session.scalars(select(TrialRow).where(*mine)).one())
    return Winner(Trial.of(trial, 0.0, definition), found, definition.spec.min_rate)


def _keep(database: Database, name: str, results: int, found: Found) -> None:
    """Keeps the winner for the next reader, if no other trial has ended since; a database that cannot be written is no
    error.
    """
    kept = {"results": results, "found": asdict(found)}
    same = update(StudyRow).where(StudyRow.name == name, StudyRow.results == results, StudyRow.results > 0)
    with suppress(DBAPIError):
        database.run(lambda session: session.execute(same.values(winner=kept)), patience=0.0)


def _find(database: Database, name: str, definition: Definition) -> Found | None:
    least = definition.spec.min_rate
    done = (TrialRow.study == name, TrialRow.state == "complete", TrialRow.value.is_not(None))
    rate = TrialRow.metrics["rate"].as_float() if least else TrialRow.value
    query = select(TrialRow.number, TrialRow.value, rate).where(*done).order_by(TrialRow.number)
    rows = database.read(lambda session: session.execute(query).all())
    if not rows:
        return None
    falls = [shortfall(least, rate) if least else 0.0 for *_, rate in rows]
    order = sorted(range(len(rows)), key=lambda i: (falls[i], rows[i][1]))
    first = Found(rows[order[0]][0], reaches=falls[order[0]] == 0)
    searched = {p.name: p.distribution() for p in definition.searched}
    if len(rows) < (FEW if least else LEAST) or not searched or len(OBJECTIVES[definition.spec.objective]) > 1:
        return first
    ranks = [0.0] * len(rows)
    for place, i in enumerate(order):
        ranks[i] = float(place)
    return _by_process(database, name, [(*rows[i], ranks[i]) for i in range(len(rows))], searched, least) or first


def _by_process(
    database: Database,
    name: str,
    rows: Sequence[tuple[int, float, float | None, float]],
    searched: "dict[str, BaseDistribution]",
    least: float,
) -> Found | None:
    """The winner of complete trials, each its number, value, rate and rank; None if too few lie in the space to tell."""
    import numpy as np

    from tuner.samplers.cube import Cube
    from tuner.samplers.observations import thinned

    cube = Cube(searched)
    kept = [rows[i] for i in thinned(np.array([rank for *_, rank in rows]), MOST)]
    chosen = select(TrialRow.number, TrialRow.params).where(
        TrialRow.study == name, TrialRow.number.in_([number for number, *_ in kept])
    )
    found_rows = database.read(lambda session: session.execute(chosen).all())
    params: dict[int, dict[str, Any]] = {row.number: row.params for row in found_rows}
    kept = [row for row in kept if cube.holds(params[row[0]])]
    if len(kept) < (FEW if least else LEAST) or not cube.parts:
        return None
    points = np.array([cube.encode(params[number]) for number, *_ in kept])
    limits = np.array([least - (rate or 0.0) for _, _, rate, _ in kept]) if least else None
    found = judged(points, np.array([value for _, value, *_ in kept]), limits)
    return replace(found, number=kept[found.number][0])


def judged(x: "Array", values: "Array", limits: "Array | None" = None) -> Found:
    """The winner of observations at points x [n, d]; `limits` [n]: a constraint's values, at most 0 where it is kept."""
    import numpy as np

    smoothed = means(x, values)
    scores = values if smoothed is None else smoothed[0]
    kept = np.ones(len(values)) if limits is None else holding(x, limits)
    sure = kept >= SURE
    best = int(np.argmin(np.where(sure, scores, np.inf)) if sure.any() else np.argmax(kept))
    return Found(
        best,
        None if smoothed is None else smoothed[1],
        None if smoothed is None else float(scores[best]),
        None if limits is None else float(kept[best]),
        bool(sure.any()),
    )


@dataclass(frozen=True)
class Smooth:
    """A process through observations, its kernel's parameters at their likeliest, in the unit of the values."""

    processes: "Processes"
    unit: float
    middle: float
    noise: float
    """Variance of the noise, as a share of the values'."""

    def predict(self, points: "Array") -> tuple["Array", "Array"]:
        """Mean and standard deviation of what lies under the noise, at points [m, d]: [m], [m]."""
        means, variances = self.processes.predict(points)
        found: Array = means[0, :, 0] * self.unit + self.middle
        return found, variances[0] ** 0.5 * self.unit

    @property
    def noise_sd(self) -> float:
        """The standard deviation of what another seed would have given."""
        return math.sqrt(self.noise) * self.unit


def smooth(x: "Array", values: "Array") -> Smooth:
    """The process through observations at points x [n, d]."""
    from tuner.samplers.gp import Posterior, Processes, mode, prior_mode
    from tuner.samplers.observations import standardised

    y, unit = standardised(values)
    theta = mode(Posterior(x, y), prior_mode(x.shape[1]))
    return Smooth(Processes.fit(theta[None], x, y), unit, float(values.mean()), math.exp(theta[1]))


def through(x: "Array", values: "Array") -> Smooth:
    """The process through values as trials have them: outliers are cut, and of very many the better half and some
    others are seen.
    """
    from tuner.samplers.observations import thinned, winsorised

    cut = winsorised(values)
    kept = thinned(cut, MOST)
    return smooth(x[kept], cut[kept])


def means(x: "Array", values: "Array") -> tuple["Array", float] | None:
    """The mean at each of observations at points x [n, d] of a process through them, and the noise's standard deviation; None if
    there are too few or no noise is inferred."""
    if len(values) < LEAST or (found := through(x, values)).noise < NOISY:
        return None
    return found.predict(x)[0], found.noise_sd


def holding(x: "Array", limits: "Array") -> "Array":
    """Probability that another evaluation at each of points x [n, d] keeps a constraint, of values `limits` [n] there: [n]."""
    import numpy as np
    from scipy.special import ndtr

    from tuner.samplers.observations import squashed

    fitted = smooth(x, squashed(limits))
    means_, deviations = fitted.predict(x)
    found: Array = ndtr(-means_ / np.sqrt(deviations**2 + fitted.noise_sd**2))
    return found


def front(database: Database, study: str, definition: Definition) -> list[int]:
    """Numbers of the complete trials that none has both a lower value and a higher rate than, from the lowest value on.

    Of equal ones all are in it. If one reaches the least rate, those alone that reach it. None for one objective.
    """
    if len(OBJECTIVES[definition.spec.objective]) == 1:
        return []
    mine = (TrialRow.study == study, TrialRow.state == "complete")
    query = select(TrialRow.number, TrialRow.values).where(*mine).order_by(TrialRow.number)
    found = database.read(lambda s: s.execute(query).all())
    found = [row for row in found if shortfall(definition.spec.min_rate, row[1][1]) == 0] or found
    kept = metrics.front([v[0] for _, v in found], [v[1] for _, v in found], "min", "max")
    return [found[index][0] for index in kept]
