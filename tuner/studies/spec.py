"""What a study shall be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner import __version__
from tuner.space import Space, Value

IDENTITY = (
    "technique", "space", "corpus", "model", "fixed", "sampler", "sampler_options", "min_rate", "pruner", "seed", "objective",
    "warm_start", "confirms", "first_default",
)  # fmt: skip
"""what must agree for a command to go on with a study"""
ADDED = {
    "sampler_options": {},
    "min_rate": 0.0,
    "pruner": "none",
    "stop_when": 0.0,
    "warm_start": None,
    "confirms": None,
    "first_default": False,
    "ngram": None,
    "planned": {},
    "untrusted": False,
}
"""what a study made before these existed has; untrusted: its sampler is code that a bundle names, which nobody here asked for"""
RANDOM = ("infovae", "lagvae")
"""techniques that had random batches when all others had batches by length"""
UNCUT = ("lstm-vae", "double-lstm", "svae")
"""presets that leave sentences whole"""
CUT = 3.0
"""standard deviations above the mean, at which others cut a folder's sentences unless told otherwise"""
OBJECTIVES: dict[str, list[Literal["minimize", "maximize"]]] = {
    "nll": ["minimize"],
    "nll,rate": ["minimize", "maximize"],
    "melbo": ["minimize"],
}
"""what a study optimises, and Optuna's directions; MELBO judges models whose prior is their posteriors' mixture (mim)"""


def judged(objective: str, min_rate: float, metrics: Mapping[str, Any]) -> list[Any]:
    """A trial's value of each of a study's objectives, by its metrics: the first with what its rate falls short of the least one,
    and not a number where the model has none."""
    lowered, *raised = objective.split(",")
    least = math.nan if metrics[lowered] is None else float(metrics[lowered])
    return [least + shortfall(min_rate, metrics["rate"]), *(metrics[key] for key in raised)]


def shortfall(min_rate: float, rate: float | None) -> float:
    """Nats that a rate falls short of the least one; none is 0."""
    return max(min_rate - (rate or 0.0), 0.0)


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A specification as it was stored, with what a study made by an older program had without saying so.

    Before batches were random by default, its batches were by length, and the hyperparameters that no sampler chose had the
    defaults of the space that is stored with it: both are fixed for what is trained from now on.
    """
    facts = {**ADDED, **stored}
    if facts.get("truncation") is None:
        usual = 0.0 if facts["model"] in UNCUT else CUT
        is_whole = facts["corpus"]["name"] == "grammar"  # which is never cut
        facts["truncation"] = 0.0 if is_whole else float(facts["fixed"].get("truncation", usual))
    if "batching" in facts:
        return facts
    fixed = dict(facts["fixed"])
    chosen = fixed.pop("random_batches", facts["technique"] in RANDOM)
    batching = "random" if chosen else "length"
    defaults = {p["name"]: p["default"] for p in facts["space"]["parameters"] if not p["tuned"]}
    return {**facts, "batching": batching, "fixed": {**defaults, "batching": batching, **fixed}}


def usual_of(facts: Mapping[str, Any]) -> dict[str, Value]:
    """A study's hyperparameters where none is chosen or set by hand: the defaults in its plan of training."""
    return {**{p["name"]: p["default"] for p in facts["space"]["parameters"]}, **facts["planned"]}


def fixed_of(facts: Mapping[str, Any]) -> dict[str, Value]:
    """The hyperparameters that were set by hand, without the options."""
    return {key: value for key in usual_of(facts) if (value := facts["fixed"].get(key)) is not None}


def hyperparameters_of(facts: Mapping[str, Any], params: Mapping[str, Value]) -> dict[str, Value]:
    """All hyperparameters of a study's trial for which these were chosen."""
    return {**usual_of(facts), **params, **fixed_of(facts)}


@dataclass(frozen=True)
class Rules:
    """What ends a trial or a study early. They may change while it runs."""

    timeout: float = 0.0
    """seconds that all of a trial's attempts may take together; 0: no limit"""
    deadline: float | None = None
    """Unix time at which the study stops"""
    max_failures: int = 3
    """trials in a row that may fail, diverged ones not counted, before the study stops itself; 0: no limit"""
    max_losses: int = 20
    """workers in a row that a trial may lose without a new epoch before it fails; 0: no limit"""


@dataclass(frozen=True)
class Request:
    """What a study shall be."""

    space: Space
    corpus: str
    model: str
    fixed: Mapping[str, Value]
    """hyperparameters and options set by hand"""
    sampler: str
    seed: int
    trials: int
    sampler_options: Mapping[str, Value] = field(default_factory=dict)
    min_rate: float = 0.0
    """nats; what a trial's rate falls short of it is added to its NLL, so that a collapsed model does not win (PA's own tool)"""
    pruner: str = "none"
    objective: str = "nll"
    """one of `OBJECTIVES`"""
    stop_when: float = 0.0
    """nats; the study ends when the sampler expects to gain less (0: never)"""
    rules: Rules = field(default_factory=Rules)
    warm_start: Mapping[str, Any] | None = None
    """another study's name and its observations (`warmstart.observations`)"""
    confirms: Mapping[str, Any] | None = None
    """the study and the trial whose configuration is trained again (`confirmation`)"""
    first_default: bool = False
    """whether trial 0 has the technique's published values (`Space.published`), and not a sampler's"""

    def specification(self, corpus: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "technique": self.space.technique,
            "space": self.space.plain(),
            "corpus": {key: corpus[key] for key in ("name", "fingerprint", "sentences", "vocabulary", "entropy")},
            "batching": corpus["batching"],
            "truncation": corpus["truncation"],
            "ngram": corpus.get("ngram"),
            "planned": corpus.get("planned", {}),
            "model": self.model,
            "fixed": dict(self.fixed),
            "sampler": self.sampler,
            "sampler_options": dict(self.sampler_options),
            "min_rate": self.min_rate,
            "pruner": self.pruner,
            "stop_when": self.stop_when,
            "warm_start": self.warm_start,
            "confirms": self.confirms,
            "first_default": self.first_default,
            "seed": self.seed,
            "objective": self.objective,
            "version": __version__,
        }
