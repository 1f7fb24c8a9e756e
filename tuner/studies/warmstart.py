"""Warm start: a new study begins with what another one has found."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainers.contract import PRESETS
from tuner.errors import Refused
from tuner.metrics import figure as figure_of
from tuner.space import Value
from tuner.storage.database import Database
from tuner.studies.objectives import judged as value_of
from tuner.studies.objectives import limits
from tuner.studies.study import open_study

FROM_Q = "q"
"""Estimator of a study that names none."""

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

JUDGED = ("nll_sentences", "inputless", "batching", "text")
"""Options, and the text, that must agree before two studies' NLLs may be ranked together, whatever estimates them."""


def observations(
    database: Database,
    name: str,
    space: "Mapping[str, BaseDistribution]",
    objective: str = "nll",
    judged: Mapping[str, Value] | None = None,
    min_rate: float = 0.0,
    model: str | None = None,
) -> list[dict[str, Any]]:
    """The parameters and values of a study's complete trials, for a new study over `space` to begin with.

    The values, and what must be 0 at most, are those that the new study would have given them, by the figures that the trials
    have: its objective, its least rate and its estimator need not be the other's. Diverged trials have the worst of them.

    Args:
        judged: what the new study's figures are made by; None: as the other's.
        model: preset of the new study, which may say what makes its figures; None: the other's.

    Raises:
        Refused: if there is no such study, it tunes something else, its trials lack a figure, or none lies in this space.
    """
    from optuna.distributions import check_distribution_compatibility

    from tuner.samplers.cube import Cube
    from tuner.studies.optuna_bridge import has_diverged

    study = open_study(database, name)
    sentences = study.facts.corpus.sentences.get("valid", math.inf)
    own = {**study.spec.fixed, "batching": study.facts.batching, "text": study.facts.text}
    had = _estimator(own, study.spec.model, sentences)
    wanted = had if judged is None else _estimator(judged, model or study.spec.model, sentences)
    for key in JUDGED:
        if had.get(key) != wanted.get(key):
            raise Refused(
                "warm_start",
                repr(name),
                f"was judged with {key} = {had.get(key, 'the default')}, not "
                f"{wanted.get(key, 'the default')}: such figures are not to be ranked together; set the same.",
            )
    figure = _figure(name, had, wanted)
    theirs = {p.name: p.distribution() for p in study.searched}
    if set(theirs) != set(space):
        raise Refused(
            "warm_start",
            repr(name),
            f"tunes {', '.join(sorted(theirs)) or 'nothing'}, not {', '.join(sorted(space)) or 'nothing'}: "
            "name a study over the same hyperparameters.",
        )
    for key, distribution in space.items():
        try:
            check_distribution_compatibility(theirs[key], distribution)
        except ValueError:
            raise Refused(
                "warm_start",
                repr(name),
                f"has {key} as {theirs[key]}, not {distribution}: name a study over the same domains.",
            ) from None
    cube = Cube(space)
    found = []
    trials = [trial for trial in study.trials.all() if cube.holds(trial.params)]
    for trial in trials:
        if trial.state == "complete" and trial.metrics is not None:
            metrics = trial.metrics.copy()
            metrics["nll"] = figure_of(trial.metrics, figure)
            value, limited = value_of(objective, metrics)[0], limits(min_rate, metrics)
            if math.isfinite(value):
                found.append({"params": trial.params, "value": value, **({"constraints": limited} if limited else {})})
    if not found:
        raise Refused(
            "warm_start",
            repr(name),
            "has no finished trial in this study's space with what it is judged by: name another study.",
        )
    worst: dict[str, Any] = {"value": max(each["value"] for each in found)}
    if "constraints" in found[0]:
        rates = [each["constraints"] for each in found]
        worst["constraints"] = {limit: max(each[limit] for each in rates) for limit in rates[0]}
    return found + [{"params": trial.params, **worst} for trial in trials if has_diverged(trial)]


def _estimator(fixed: Mapping[str, Value], model: str, sentences: float) -> dict[str, Value]:
    """Options with those of a preset beside them that say what makes an NLL on so many sentences; 0 of them are all."""
    options = {key: value for key, value in PRESETS.get(model, {}).items() if key in ("nll_samples", "nll_sentences")}
    options |= fixed
    if not 0 < int(options.get("nll_sentences", 0)) < sentences:
        options["nll_sentences"] = 0
    return options


def _figure(name: str, had: Mapping[str, Value], wanted: Mapping[str, Value]) -> str:
    """Key of the other study's figure that is the NLL by the new study's estimator.

    Raises:
        Refused: if none is.
    """
    made, needed = had.get("nll", FROM_Q), wanted.get("nll", FROM_Q)
    if needed == "tempered" and made != FROM_Q:
        return "nll" if made == "tempered" else "nll_tempered"
    for key, default in (("nll", FROM_Q), ("nll_samples", None)):
        theirs, ours = had.get(key, default), wanted.get(key, default)
        if theirs != ours and not (key == "nll" and {theirs, ours} == {FROM_Q, "both"}):
            raise Refused(
                "warm_start",
                repr(name),
                f"was judged with {key} = {theirs or 'the default'}, not {ours or 'the default'}, and its "
                "trials have no other figure: set the same.",
            )
    return "nll"
