"""A few trials side by side: what was set, where they differ, what came of it."""

from collections.abc import Collection, Sequence
from typing import Any

from trainers.contract import PRESETS
from tuner import names
from tuner.errors import Usage
from tuner.estimators import estimator_of, mixed
from tuner.metrics import AXES
from tuner.storage.database import Database
from tuner.studies.study import Study, open_study
from tuner.studies.table import figures_of
from tuner.studies.trials import Trial

LEAST, MOST = 2, 6
"""Smallest and largest number of trials that can be compared side by side."""
SHARED = ("technique", "model", "objective", "seed")
"""Settings of a study that count as settings of its trials too."""


def parted(runs: Sequence[str]) -> list[tuple[str, int]]:
    """Studies and numbers of trials named STUDY/NUMBER, each once.

    Raises:
        Usage: if one is no such name, or there are too few or too many.
    """
    found = dict[tuple[str, int], None]()
    for run in runs:
        named = names.trial(run)
        if named is None:
            raise Usage(f"{run[:100]!r} names no trial: write e.g. sfb-grammar-tiny/3.", "run")
        found[named] = None
    if not LEAST <= len(found) <= MOST:
        count = "1 trial is" if len(found) == 1 else f"{len(found)} trials are"
        raise Usage(f"{count} no comparison: name {LEAST} to {MOST} different ones.", "run")
    return list(found)


def of(database: Database, runs: Sequence[str]) -> dict[str, Any]:
    """Trials side by side, as JSON values: a value for each of them in every setting and figure.

    Raises:
        Usage: as `parted`.
        Missing: if there is no such study or trial.
    """
    named = parted(runs)
    studies = {name: open_study(database, name) for name, _ in named}
    pairs = [(studies[name], studies[name].trials.get(number)) for name, number in named]
    by_hand = {key for study, _ in pairs for key in study.spec.fixed}
    settings = [_settings(*pair, by_hand) for pair in pairs]
    figures = [figures_of(trial) for _, trial in pairs]
    if len({study.spec.objective == "melbo" for study, _ in pairs}) > 1:
        figures = [{**found, "value": None} for found in figures]  # one is an NLL, the other MELBO
    made = {
        trial.run: [estimator_of(trial.metrics, study.facts.text)]
        for study, trial in pairs
        if trial.metrics and "estimator" in trial.metrics
    }
    return {
        "runs": [
            {
                "run": t.run,
                "study": study.name,
                "number": t.number,
                "state": t.state,
                "note": t.remark,
                "seconds": t.seconds,
            }
            for study, t in pairs
        ],
        "settings": [
            {"name": name, "values": values, "differs": any(value != values[0] for value in values)}
            for name in dict.fromkeys(key for each in settings for key in each)
            for values in [[each.get(name) for each in settings]]
        ],
        "figures": [
            {"key": key, "label": metric.label, "unit": metric.unit, "goal": metric.goal, "values": values}
            for key, metric in AXES.items()
            for values in [[each[key] for each in figures]]
            if any(value is not None for value in values)
        ],
        "note": mixed(made),
    }


def _settings(study: Study, trial: Trial, by_hand: Collection[str]) -> dict[str, Any]:
    """A trial's settings; by_hand: what one of the compared studies has set, where another has its preset's value."""
    shared = {"text": study.facts.text, **{key: getattr(study.spec, key) for key in SHARED}}
    preset = {key: value for key, value in PRESETS.get(study.spec.model, {}).items() if key in by_hand}
    return {**shared, **preset, **trial.hyperparameters, **study.spec.fixed}
