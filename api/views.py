"""Studies, trials and workers as the JSON values of the contract."""

from collections.abc import Mapping
from typing import Any

from api.response_cache import time_of
from tuner.estimators import estimate, estimator_of, text_of
from tuner.space import Parameter, Space
from tuner.studies.study import Study
from tuner.studies.trials import OVER, Trial

BEST = ("number", "value", "params", "given", "metrics", "notes")
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


def summary(study: Study, corpus: str, staffed: bool) -> dict[str, Any]:
    """A study in short.

    Args:
        corpus: the name of its corpus here.
        staffed: whether there is any worker.
    """
    facts, counts, best = study.specification, study.shown_counts(), study.best()
    unfinished = sum(counts[state] for state in OVER) < study.budget
    return {
        "name": study.name,
        "technique": facts["technique"],
        "corpus": corpus,
        "model": facts["model"],
        "sampler": facts["sampler"],
        "objective": facts["objective"],
        "seed": facts["seed"],
        "state": study.shown_state(counts),
        "why": study.why,
        "budget": study.budget,
        "counts": counts,
        "best": None if best is None else {k: getattr(best, k) for k in BEST},
        "estimator": None if best is None else _estimator(best, text_of(facts)),
        "created_at": time_of(study.created_at),
        "revision": study.revision,
        "waiting_for_workers": study.state == "active" and unfinished and not staffed,
    }


def _estimator(trial: Trial, text: str) -> str | None:
    metrics = trial.metrics or {}
    return estimator_of(metrics, text) if "estimator" in metrics else None


def study(study: Study, corpus: str, staffed: bool) -> dict[str, Any]:
    """A study with what defines it."""
    facts, rules = study.specification, study.rules
    return {
        **summary(study, corpus, staffed),
        "space": [hyperparameter(p) for p in study.space.parameters],
        "fixed": facts["fixed"],
        "rules": {
            "timeout": rules.timeout or None,
            "deadline": time_of(rules.deadline),
            "max_failures": rules.max_failures,
            "max_losses": rules.max_losses,
        },
        "pruner": facts["pruner"],
        "first_default": facts["first_default"],
        "min_rate": facts["min_rate"],
        "stop_when": facts["stop_when"],
        "entropy": facts["corpus"]["entropy"],
        "ngram": facts["ngram"],
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
