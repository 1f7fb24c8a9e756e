"""Rules for a bundle's record of a study. Whoever wrote it, a database that has taken it in can be read."""

from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import inspect

from tuner import estimators, names
from tuner.metrics import PLAUSIBLE, Metrics
from tuner.ngram import Line
from tuner.numbers import ANY, INDEX, SECONDS, TIMES, WHOLE, Numbers, is_storable
from tuner.storage.tables import TOLD, AttemptRow, EpochRow, StudyRow, TrialRow
from tuner.studies import objectives
from tuner.studies.spec import Definition
from tuner.studies.study import STUDY_STATES
from tuner.studies.trials import SOURCE, SOURCES, STATES

OWN = {
    StudyRow: ("name", "specification", "budget", "state", "why", "rules", "attrs", "created_at"),
    TrialRow: (
        "number", "state", "params", "value", "values", "metrics", "cost", "attrs", "reason", "message", "losses", "seconds",
        "worker", "created_at", "started_at", "ended_at",
    ),
    EpochRow: ("trial", *TOLD, "objective"),
    AttemptRow: ("trial", "seed", "state", "reason", "message", "worker", "host", "pid", "started_at", "ended_at"),
}  # fmt: skip
"""Columns that go into a bundle: all but leases, tokens, revisions and places."""


LISTS = {"trials": TrialRow, "epochs": EpochRow, "attempts": AttemptRow}
ENDED = ("finished", "failed", "lost", "interrupted")
"""States of a packed attempt."""
RANGES: Mapping[str, Numbers] = {
    "created_at": TIMES, "started_at": TIMES, "ended_at": TIMES, "seconds": SECONDS, "budget": INDEX, "number": INDEX,
    "trial": INDEX, "epoch": Numbers(1, INDEX.high), "losses": INDEX, "seed": WHOLE, "pid": INDEX, "active_units": INDEX,
}  # fmt: skip


def refuse(text: str) -> float:
    """Refuses NaN and infinity, which JSON lacks and Python's reader takes."""
    raise ValueError(f"{text} is no number")


def number(text: str) -> float:
    """A number as JSON writes it, if it can be used."""
    return float(text) if float(text) in ANY else refuse(text[:40])


def whole(text: str) -> int:
    return int(text) if len(text) < 20 and int(text) in WHOLE else int(refuse(text[:40]))


def judge(content: Mapping[str, Any]) -> None:
    """Refuses, by any error, a record that could not have been written by `bundle.pack`."""
    study = content["study"]
    for table, rows in ((StudyRow, [study]), *((table, content[key]) for key, table in LISTS.items())):
        columns = inspect(table).columns
        for row in rows:
            if set(row) != set(OWN[table]):
                raise ValueError(f"the columns of {table.__tablename__}")
            for key, value in row.items():
                _judge_column(columns[key], value)
    if not is_storable(content):
        raise ValueError("a text with a NUL or half of a surrogate pair")
    definition = _study(study)
    trials = [trial["number"] for trial in content["trials"]]
    if trials != list(range(len(trials))):
        raise ValueError("the trials are not numbered from 0 on")
    for trial in content["trials"]:
        _trial(trial, definition)
    epochs = [(epoch["trial"], epoch["epoch"]) for epoch in content["epochs"]]
    if len(set(epochs)) < len(epochs):
        raise ValueError("an epoch of a trial stands there twice")
    if not all(attempt["state"] in ENDED for attempt in content["attempts"]):
        raise ValueError("an attempt's state")
    if not {row["trial"] for key in ("epochs", "attempts") for row in content[key]} <= set(trials):
        raise ValueError("epochs or attempts of no trial")


def _study(study: Mapping[str, Any]) -> Definition:
    names.check("the study's name", study["name"], names.LONGEST)
    definition = Definition.of(study["specification"], study["budget"], study["rules"])
    if study["state"] not in STUDY_STATES:
        raise ValueError(f"the study's state {study['state']}")
    corpus, confirms, space = definition.facts.corpus, definition.spec.confirms, definition.facts.space
    if not isinstance(corpus.name, str) or not all(count in INDEX for count in corpus.sentences.values()):
        raise ValueError("the study's corpus")
    if not isinstance(corpus.divided_into, str):
        raise ValueError("the division of the study's corpus")
    if corpus.vocabulary not in INDEX or not (corpus.entropy is None or corpus.entropy in ANY):
        raise ValueError("the study's corpus")
    if confirms is not None and not (isinstance(confirms["study"], str) and confirms["trial"] in INDEX):
        raise ValueError("what the study confirms")
    for split in ("valid", "test"):
        Line.of_study(definition.facts.ngram, split, corpus.token)
    for parameter in space.parameters:
        assert parameter.domain
        if not parameter.accepts(parameter.default):
            raise ValueError(f"the default of {parameter.name}")
    return definition


def _trial(trial: Mapping[str, Any], definition: Definition) -> None:
    space, searched = definition.facts.space, {p.name for p in definition.searched}
    called, done = f"trial {trial['number']}", trial["state"] == "complete"
    if trial["state"] not in STATES or trial["attrs"].get(SOURCE, "sampler") not in SOURCES:
        raise ValueError(f"{called}'s state, or a trial's source")
    for key, value in trial["params"].items():
        if key not in searched:
            raise ValueError(f"{called} has a value of {key}, which its study does not search")
        if not space[key].accepts(value):
            raise ValueError(f"{called} has {key} = {value}, which is not {space[key].domain}")
    metrics = trial["metrics"]
    if done and (
        trial["value"] is None
        or len(trial["values"] or ()) != len(objectives.OBJECTIVES[definition.spec.objective])
        or metrics is None
    ):
        raise ValueError(f"{called} is complete and has no figures")
    if not all(value is None or value in ANY for value in trial["values"] or ()):
        raise ValueError(f"{called}'s values")
    for figures in filter(None, (metrics, (metrics or {}).get("test"))):
        _figures(figures, called)
    if metrics is not None:
        objectives.rank(definition.spec.objective, definition.spec.min_rate, metrics)
    if done and any(metrics.get(key) is None for key in definition.spec.objective.split(",")):
        raise ValueError(f"{called} is complete and lacks what its study is judged by")
    for seconds in ((trial["cost"] or {}).get("seconds") or {}).values():
        if seconds not in SECONDS:
            raise ValueError(f"{called}'s seconds")


def _figures(metrics: Mapping[str, Any], called: str) -> None:
    """Figures of one split, which tables and the sentences about their estimator take in."""
    if not (isinstance(metrics["collapsed"], bool) and isinstance(metrics["estimator"], dict)):
        raise ValueError(f"{called}'s metrics")
    for key, value in metrics.items():
        if key not in ("collapsed", "estimator", "test") and not (value is None or value in ANY):
            raise ValueError(f"{called}'s {key}")
        if value is not None and key in PLAUSIBLE and value < PLAUSIBLE[key][0]:
            raise ValueError(f"{called} has {key} = {value:g}, which is at least {PLAUSIBLE[key][0]:g}")
    for read in (estimators.estimate, estimators.notes_of, lambda found: estimators.estimator_of(found, "")):
        read(cast(Metrics, metrics))


def _judge_column(column: Any, value: object) -> None:
    kind = column.type.python_type
    if kind is object:  # JSON
        fits = isinstance(value, list if column.name == "values" else dict)
    elif kind in (int, float):
        fits = value in RANGES.get(column.name, WHOLE if kind is int else ANY)
    else:
        fits = isinstance(value, kind)
    if not (value is None and column.nullable) and not fits:
        raise ValueError(f"{column.name} = {repr(value)[:40]}")
