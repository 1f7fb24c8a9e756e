"""Studies, trials and workers as the JSON values of the contract."""

import math
from collections.abc import Mapping
from typing import Any

from api.response_cache import time_of
from tuner.estimators import estimate, estimator_of
from tuner.numbers import TIMES
from tuner.space import Parameter, Space
from tuner.studies.queries import UNREADABLE
from tuner.studies.setting import REQUIRED, Number, Setting, Word
from tuner.studies.study import Study
from tuner.studies.trials import OVER, STATES, Trial

BEST = ("number", "value", "params", "given", "metrics", "notes", "by", "noise", "mean", "probability")
"""what a study's summary tells of its best trial"""


def hyperparameter(p: Parameter) -> dict[str, Any]:
    return {
        "name": p.name, "kind": p.type, "low": p.low, "high": p.high, "log": p.log, "step": p.step,
        "choices": list(p.choices), "default": p.default, "optimum": p.paper, "meaning": p.meaning, "unit": p.unit,
        "tuned": p.tuned,
    }  # fmt: skip


def technique(space: Space) -> dict[str, Any]:
    return {
        "name": space.technique,
        "paper": space.paper,
        "formula": space.formula,
        "summary": space.summary,
        "hyperparameters": [hyperparameter(p) for p in space.parameters],
    }


def setting(declared: Setting) -> dict[str, Any]:
    kind, required = declared.kind, declared.default is REQUIRED
    within = kind.within if isinstance(kind, Number) else None
    return {
        "key": declared.name, "label": declared.label, "meaning": declared.meaning, "rule": kind.rule,
        "kind": type(kind).__name__.lower(), "role": declared.role, "required": required, "flag": declared.flag,
        "default": None if required else kind.plain(declared.default),
        "choices": list(kind.choices) if isinstance(kind, Word) else None, "low": within and within.low,
        "high": within and within.high, "whole": within and within.whole,
    }  # fmt: skip


def summary(study: Study, corpus: str, staffed: bool) -> dict[str, Any]:
    """A study in short.

    Args:
        corpus: the name of its corpus here.
        staffed: whether there is any worker.
    """
    counts, winner = study.shown_counts(), study.winner()
    best = None if winner is None else winner.plain()
    unfinished = sum(counts[state] for state in OVER) < study.spec.trials
    return {
        "name": study.name,
        "technique": study.spec.technique,
        "corpus": corpus,
        "model": study.spec.model,
        "sampler": study.spec.sampler,
        "objective": study.spec.objective,
        "seed": study.spec.seed,
        "state": study.shown_state(counts),
        "why": study.why,
        "budget": study.spec.trials,
        "counts": counts,
        "best": None if best is None else {k: best[k] for k in BEST},
        "estimator": None if winner is None else _estimator(winner.trial, study.facts.text),
        "created_at": time_of(study.created_at),
        "revision": study.revision,
        "waiting_for_workers": study.state == "active" and unfinished and not staffed,
    }


def unreadable(name: str, why: str, revision: int, created_at: float = math.inf) -> dict[str, Any]:
    """The same of a study whose record in the database nobody of ours has written."""
    return {
        "name": name, "technique": "", "corpus": "", "model": "", "sampler": "", "objective": "", "seed": 0,
        "state": UNREADABLE, "why": why, "budget": 0, "counts": dict.fromkeys(STATES, 0), "best": None, "estimator": None,
        "created_at": time_of(created_at) if created_at in TIMES else None, "revision": revision, "waiting_for_workers": False,
    }  # fmt: skip


def _estimator(trial: Trial, text: str) -> str | None:
    metrics = trial.metrics or {}
    return estimator_of(metrics, text) if "estimator" in metrics else None


def study(study: Study, corpus: str, staffed: bool) -> dict[str, Any]:
    """A study with what defines it."""
    return {
        **summary(study, corpus, staffed),
        "spec": {**study.spec.plain(), "corpus": corpus},
        "space": [hyperparameter(p) for p in study.facts.space.parameters],
        "entropy": study.facts.corpus.entropy,
        "ngram": study.facts.ngram,
        "front": study.front(),
    }


def trial(found: Trial, attempts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    plain = found.plain()
    if attempts is None:
        return plain
    made = estimate(found.metrics) if found.metrics and "estimator" in found.metrics else None
    return {**plain, "estimate": made, "attempts": [_times(a) for a in attempts]}


def worker(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _times(found).items() if key != "process"}


def _times(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: time_of(value) if key.endswith("_at") else value for key, value in facts.items()}
