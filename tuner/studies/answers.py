"""Studies and trials as JSON values: what commands print with --json and what the REST API answers, one shape for both."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from tuner.estimators import estimate, estimator_of
from tuner.metrics import Metrics
from tuner.numbers import TIMES
from tuner.space import Parameter
from tuner.studies import queries
from tuner.studies.queries import UNREADABLE, Takers
from tuner.studies.setting import time_of
from tuner.studies.study import Study as Record
from tuner.studies.table import column
from tuner.studies.trials import STATES, Trial, count_over
from tuner.studies.winner import Winner

BEST = ("number", "run", "value", "params", "given", "metrics", "notes", "by", "noise", "mean", "probability")
"""Keys of a study's best trial that a summary tells."""


class Best(TypedDict):
    """The trial that `tuner confirm` takes."""

    number: int
    run: str
    value: float
    params: dict[str, Any]
    given: dict[str, Any]
    """Hyperparameters that were chosen or set by hand."""
    metrics: Metrics | None
    notes: list[str]
    """Words that qualify its figures: collapsed, off its rate, not resolved."""
    by: str
    """Rule by which it is the best, in a few words: lowest value, lowest mean, or their likes for a least rate."""
    noise: float | None
    """Standard deviation, in nats, that another seed makes in the value, as inferred; null: none."""
    mean: float | None
    """Mean of a process through all values, at its hyperparameters; null without noise."""
    probability: float | None
    """Probability that another seed reaches min_rate; null without one, or for too few trials to tell."""
    said: list[str]
    """The rule and its figures in sentences; none for the lowest value."""


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
    """Remark of its people: plain text, or simple Markdown."""
    tags: list[str]
    estimator: str | None
    created_at: str | None
    """Time of its creation; null where its row cannot be read."""
    revision: int
    waiting_for_workers: bool
    confirms: str | None
    """Name of the study whose trial it confirms; null for a study of its own."""


class Study(Summary):
    """A study with what defines it."""

    spec: dict[str, Any]
    space: list[dict[str, Any]]
    """Hyperparameters that are searched, without values that cannot work."""
    text: str
    """Text that its figures are of: corpus, tokens known, cutting, fingerprint."""
    sentences: dict[str, int]
    """Sentences of the corpus, by split."""
    vocabulary: int
    """Number of types in the corpus's vocabulary: different words, characters or pieces."""
    token: str
    """Noun for a token of the corpus, per which a perplexity is: word, character or piece."""
    entropy: float | None
    ngram: dict[str, Any] | None
    """Figures of a model that counts n-grams; null for a study of an older program."""
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
    counts, best, spec = study.trials.shown_counts(), study.winner(), study.spec
    unfinished = study.state == "active" and count_over(counts) < spec.trials
    return {
        "name": study.name, "technique": spec.technique, "corpus": corpus, "model": spec.model, "sampler": spec.sampler,
        "objective": spec.objective, "seed": spec.seed, "state": study.shown_state(counts), "why": study.why,
        "budget": spec.trials, "counts": counts, "best": None if best is None else _best(best),
        "note": spec.note, "tags": list(spec.tags),
        "estimator": None if best is None else _estimator(best.trial, study.facts.text), "created_at": time_of(study.created_at),
        "revision": study.revision, "waiting_for_workers": unfinished and not takers.takes(study.name),
        "confirms": (spec.confirms or {}).get("study"),
    }  # fmt: skip


def unreadable(name: str, why: str, revision: int, created_at: float) -> Summary:
    """The summary of a study whose row no program of ours has written."""
    return {
        "name": name, "technique": "", "corpus": "", "model": "", "sampler": "", "objective": "", "seed": 0,
        "state": UNREADABLE, "why": why, "budget": 0, "counts": dict.fromkeys(STATES, 0), "best": None, "note": "", "tags": [],
        "estimator": None,
        "created_at": time_of(created_at) if created_at in TIMES else None, "revision": revision, "waiting_for_workers": False,
        "confirms": None,
    }  # fmt: skip


def study(found: Record, corpus: str, takers: Takers) -> Study:
    """A study with what defines it; arguments as of `summary`."""
    facts = found.facts
    return {
        **summary(found, corpus, takers), "spec": {**found.spec.plain(), "corpus": corpus},
        "space": [hyperparameter(p) for p in facts.space.parameters], "text": facts.text,
        "sentences": dict(facts.corpus.sentences), "vocabulary": facts.corpus.vocabulary,
        "token": facts.corpus.token, "entropy": facts.corpus.entropy,
        "ngram": None if facts.ngram is None else dict(facts.ngram), "front": found.front(),
    }  # fmt: skip


def study_here(found: Record) -> Study:
    """A study of a database that is at hand."""
    return study(found, found.facts.corpus.name, queries.takers(found.database))


def whole(found: Record) -> dict[str, Any]:
    """A study of a database with all its trials: what commands print of it."""
    return {**study_here(found), "trials": [each.plain() for each in found.trials.all()]}


def hyperparameter(p: Parameter) -> dict[str, Any]:
    """A hyperparameter with its domain."""
    return {
        "name": p.name, "column": column(p.name), "kind": p.type, "low": p.low, "high": p.high, "log": p.log, "step": p.step,
        "choices": list(p.choices), "default": p.default, "optimum": p.paper, "meaning": p.meaning, "unit": p.unit,
        "tuned": p.tuned, "domain": p.domain,
    }  # fmt: skip


def trial(found: Trial, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A trial with its attempts, and in words what made its NLL."""
    made = estimate(found.metrics) if found.metrics and "estimator" in found.metrics else None
    return {**found.plain(), "estimate": made, "attempts": list(attempts)}


def attempt(plain: dict[str, Any]) -> Attempt:
    """One of `Trials.attempts`, its times as texts."""
    dated = {key: time_of(plain[key]) for key in ("started_at", "ended_at") if plain[key] is not None}
    return cast(Attempt, {**plain, **dated})


def worker(found: Mapping[str, Any]) -> dict[str, Any]:
    """One of `queries.workers`, its times as texts, its process left out."""
    dated = {key: time_of(found[key]) for key in ("started_at", "seen_at")}
    return {key: value for key, value in {**found, **dated}.items() if key != "process"}


def _best(best: Winner) -> Best:
    plain = {**best.plain(), "given": best.trial.given}
    return cast(Best, {**{key: plain[key] for key in BEST}, "said": best.said})


def _estimator(trial: Trial, text: str) -> str | None:
    metrics = trial.metrics or {}
    return estimator_of(metrics, text) if "estimator" in metrics else None
