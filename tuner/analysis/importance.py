"""Importance of hyperparameters by Optuna's PED-ANOVA (Watanabe et al. 2023), which needs no forest and no
scikit-learn.
"""

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import stdev
from typing import TYPE_CHECKING, Any

from tuner.analysis.pareto import Columns
from tuner.errors import Usage
from tuner.metrics import AXES, loss
from tuner.storage.database import Database
from tuner.studies.study import open_study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST = 10
"""Trials below which the shares are chance: of so few, another one changes them all."""
RESAMPLES = 20
"""Times that the trials are drawn again, with replacement, to tell a share's error."""
SEED = 1
"""The seed of the resamples, so that an answer is the same when it is asked for again."""
MOST = 2000
"""Largest number of trials that are looked at, a second's work; more hardly change a share. They are spread over all of
the study.
"""


def of(url: str, name: str, metric: str) -> dict[str, Any]:
    """Each searched hyperparameter's share, for one of `metrics.AXES`, and its standard deviation over resamples of the trials;
    no shares where there are fewer than `least` trials, or where nothing varies."""
    with Database(url, patience=10.0) as database:
        columns = Columns(open_study(database, name)).follow()
    figures = columns.figures["valid"][metric]
    rows = [row for row, value in enumerate(figures) if math.isfinite(value)]
    rows = rows[:: math.ceil(len(rows) / MOST)] if rows else rows
    found: dict[str, Any] = {"metric": metric, "trials": len(rows), "least": LEAST, "items": []}
    if len(rows) < LEAST or len({figures[row] for row in rows}) < 2 or not columns.params:
        return found
    import optuna
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    goal = AXES[metric].goal
    space = {p.name: p.distribution() for p in columns.study.searched}
    trials: list[FrozenTrial] = []
    for row in rows:
        params = {key: values[row] for key, values in columns.params.items()}
        with suppress(ValueError):  # out of the domain, as none of a sampler's is
            trials.append(create_trial(value=loss(figures[row], goal), params=params, distributions=space))
    try:
        shares = _shares(trials, list(space))
    except (ValueError, RuntimeError) as error:
        raise Usage(f"the importance for {metric} cannot be told ({error}): wait for more trials.", "metric") from error
    dice, drawn = random.Random(SEED), []
    for _ in range(RESAMPLES):
        again = dice.choices(trials, k=len(trials))
        if len({trial.value for trial in again}) > 1:  # else Optuna gives all of them one share
            with suppress(ValueError, RuntimeError):
                drawn.append(_shares(again, list(space)))
    found["items"] = [
        {"name": key, "importance": share, "error": stdev(each[key] for each in drawn) if len(drawn) > 1 else None}
        for key, share in shares.items()
    ]
    return found


def _shares(trials: "Sequence[FrozenTrial]", names: list[str]) -> Mapping[str, float]:
    """Shares in what makes values low.

    Raises:
        ValueError, RuntimeError: if these trials tell none.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)
    found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=names)
    return {key: float(share) for key, share in found.items()}
