"""Which hyperparameters matter, by Optuna's PED-ANOVA (Watanabe et al. 2023): it needs no forest and no scikit-learn."""

import math
from contextlib import suppress
from typing import Any

from tuner.analysis.pareto import Columns
from tuner.errors import Usage
from tuner.storage.database import Database
from tuner.studies.study import open_study

LEAST = 4
"""trials, below which a share of variation says nothing"""
MOST = 2000
"""trials that are looked at, of all the study's alike: a second's work; more hardly change a share"""


def of(url: str, name: str, metric: str) -> dict[str, Any]:
    """Each searched hyperparameter's share, for one of `metrics.AXES`; none while there are fewer than four trials."""
    database = Database(url, patience=10.0)
    try:
        columns = Columns(open_study(database, name)).follow()
    finally:
        database.close()
    figures = columns.figures["valid"][metric]
    rows = [row for row, value in enumerate(figures) if math.isfinite(value)]
    rows = rows[:: math.ceil(len(rows) / MOST)] if rows else rows
    found: dict[str, Any] = {"metric": metric, "trials": len(rows), "items": []}
    if len(rows) < LEAST or len({figures[row] for row in rows}) < 2 or not columns.params:
        return found
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    from tuner.metrics import AXES

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    goal = AXES[metric].goal
    study = optuna.create_study(direction="minimize" if goal == "min" else "maximize")
    space = {p.name: p.distribution() for p in columns.study.searched}
    for row in rows:
        params = {key: values[row] for key, values in columns.params.items()}
        with suppress(ValueError):  # out of the domain, as none of a sampler's is
            study.add_trial(create_trial(value=figures[row], params=params, distributions=space))
    try:
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(space))
    except (ValueError, RuntimeError) as error:
        raise Usage(f"the importance for {metric} cannot be told ({error}): wait for more trials.", "metric") from error
    found["items"] = [{"name": key, "importance": float(share)} for key, share in shares.items()]
    return found
