"""Studies and trials as JSON values: what commands print with --json and what the REST API answers, one shape for both."""

import math
from collections.abc import Sequence
from typing import Any, TypedDict, cast

from tuner.estimators import estimate, estimator_of
from tuner.numbers import TIMES
from tuner.space import Parameter
from tuner.studies import queries
from tuner.studies.queries import UNREADABLE, Takers
from tuner.studies.setting import time_of
from tuner.studies.study import Study as Record
from tuner.studies.trials import OVER, STATES, Trial
from tuner.studies.winner import Winner

BEST = ("number", "run", "value", "params", "given", "metrics", "notes", "by", "noise", "mean", "probability")
"""what a summary tells of a study's best trial"""


class Best(TypedDict):
    """The best trial of a study."""

    number: int
    run: str
    value: float
    params: dict[str, Any]
    given: dict[str, Any]
    metrics: dict[str, Any] | None
    notes: list[str]
    by: str
    noise: float | None
    mean: float | None
    probability: float | None
    said: list[str]


class Summary(TypedDict):
    """A study in short."""

    name: str
    technique: str
    corpus: str
    model: str
    sampler: str
    objective: str
    seed: int
    state: str
    why: str | None
    budget: int
    counts: dict[str, int]
    best: Best | None
    note: str
    tags: list[str]
    estimator: str | None
    created_at: str | None
    revision: int
    waiting_for_workers: bool


class Study(Summary):
    """A study with what defines it."""

    spec: dict[str, Any]
    space: list[dict[str, Any]]
    text: str
    sentences: dict[str, int]
    vocabulary: int
    entropy: float | None
    ngram: dict[str, Any] | None
    front: list[int]


class Attempt(TypedDict):
    """One training process of a trial."""

    attempt: int
    worker: str
    host: str
    seed: int
    state: str
    reason: str | None
    message: str | None
    started_at: str
    ended_at: str | None


def summary(study: Record, corpus: str, takers: Takers) -> Summary:
    """A study in short.

    Args:
        corpus: the name of its corpus here.
        takers: the workers that there are.
    """
    counts, best, spec = study.shown_counts(), study.winner(), study.spec
    unfinished = study.state == "active" and sum(counts[state] for state in OVER) < spec.trials
    return {
        "name": study.name, "technique": spec.technique, "corpus": corpus, "model": spec.model, "sampler": spec.sampler,
        "objective": spec.objective, "seed": spec.seed, "state": study.shown_state(counts), "why": study.why,
        "budget": spec.trials, "counts": counts, "best": None if best is None else _best(best),
        "note": spec.note, "tags": list(spec.tags),
        "estimator": None if best is None else _estimator(best.trial, study.facts.text), "created_at": time_of(study.created_at),
        "revision": study.revision, "waiting_for_workers": unfinished and not takers.takes(study.name),
    }  # fmt: skip


def unreadable(name: str, why: str, revision: int, created_at: float = math.inf) -> Summary:
    """The same of a study whose row nobody of ours has written."""
    return {
        "name": name, "technique": "", "corpus": "", "model": "", "sampler": "", "objective": "", "seed": 0,
        "state": UNREADABLE, "why": why, "budget": 0, "counts": dict.fromkeys(STATES, 0), "best": None, "note": "", "tags": [],
        "estimator": None,
        "created_at": time_of(created_at) if created_at in TIMES else None, "revision": revision, "waiting_for_workers": False,
    }  # fmt: skip


def study(found: Record, corpus: str, takers: Takers) -> Study:
    """A study with what defines it; arguments as of `summary`."""
    facts = found.facts
    return {
        **summary(found, corpus, takers), "spec": {**found.spec.plain(), "corpus": corpus},
        "space": [hyperparameter(p) for p in facts.space.parameters], "text": facts.text,
        "sentences": dict(facts.corpus.sentences), "vocabulary": facts.corpus.vocabulary, "entropy": facts.corpus.entropy,
        "ngram": None if facts.ngram is None else dict(facts.ngram), "front": found.front(),
    }  # fmt: skip


def study_here(found: Record) -> Study:
    """A study of a database that is at hand."""
    return study(found, found.facts.corpus.name, queries.takers(found.database))


def whole(found: Record) -> dict[str, Any]:
    """A study of a database with all its trials: what commands print of it."""
    return {**study_here(found), "trials": [each.plain() for each in found.trials()]}


def hyperparameter(p: Parameter) -> dict[str, Any]:
    """A hyperparameter with its domain."""
    return {
        "name": p.name, "kind": p.type, "low": p.low, "high": p.high, "log": p.log, "step": p.step,
        "choices": list(p.choices), "default": p.default, "optimum": p.paper, "meaning": p.meaning, "unit": p.unit,
        "tuned": p.tuned, "domain": p.domain,
    }  # fmt: skip


def trial(found: Trial, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A trial with its attempts, and in words what made its NLL."""
    made = estimate(found.metrics) if found.metrics and "estimator" in found.metrics else None
    return {**found.plain(), "estimate": made, "attempts": list(attempts)}


def attempt(plain: dict[str, Any]) -> Attempt:
    """One of `Study.attempts`, its times as texts."""
    dated = {key: time_of(plain[key]) for key in ("started_at", "ended_at") if plain[key] is not None}
    return cast(Attempt, {**plain, **dated})


def _best(best: Winner) -> Best:
    plain = {**best.plain(), "given": best.trial.given}
    return cast(Best, {**{key: plain[key] for key in BEST}, "said": best.said})


def _estimator(trial: Trial, text: str) -> str | None:
    metrics = trial.metrics or {}
    return estimator_of(metrics, text) if "estimator" in metrics else None
