"""A study's trials as a file for spreadsheets and programs."""

import json

from tuner.estimators import estimator_of
from tuner.metrics import METRICS, flat
from tuner.screen import sheet
from tuner.storage.database import Database
from tuner.studies import answers
from tuner.studies.study import Study, open_study

HEAD = ("number", "state", "source", "value", "seconds", "reason", "message", "run")


def trials(study: Study, form: str) -> str:
    """All trials as JSON, or as CSV with a column for each hyperparameter (`params.…`), figure, and what qualifies it."""
    if form == "json":
        return json.dumps(answers.whole(study), indent=1, ensure_ascii=False) + "\n"
    text, found = study.facts.text, study.trials.all()
    figures = [flat(trial.metrics or {}) for trial in found]
    names = list(dict.fromkeys(name for trial in found for name in trial.hyperparameters))
    keys = list(dict.fromkeys([*METRICS, "collapsed", *(key for each in figures for key in each)]))
    rows = []
    for trial, own in zip(found, figures, strict=True):
        facts, metrics = trial.plain(), trial.metrics or {}
        made = estimator_of(metrics, text) if "estimator" in metrics else None
        chosen = [trial.hyperparameters.get(name) for name in names]
        rows.append([*(facts[key] for key in HEAD), "; ".join(trial.notes), made, *chosen, *map(own.get, keys)])
    return sheet([*HEAD, "notes", "estimator", *(f"params.{name}" for name in names), *keys], rows)


def trials_at(url: str, name: str, form: str) -> str:
    """All trials of a study by its database's address, in a process that has none open."""
    with Database(url, patience=10.0) as database:
        return trials(open_study(database, name), form)
