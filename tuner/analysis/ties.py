"""Trials that may be as good as the best one, as far as their estimates tell."""

import json
import math
from collections.abc import Sequence
from statistics import covariance

from trainers.contract import SENTENCES
from tuner.studies.study import Study
from tuner.studies.trials import Trial


def tied(best: Trial, trials: Sequence[Trial], study: Study | None = None) -> list[int]:
    """Trials whose figure the estimates cannot tell from the best one's.

    A difference counts that is above two of its own standard errors and the larger of the two biases' bounds. Both estimates
    correct their bias on the same sentences, so that part of their errors is shared and not in the difference: as much as these
    corrections vary together, where the study has kept them. None where the estimator states no error: S samples from q.
    """
    own = _stated(best)
    if own is None:
        return []
    found: list[int] = []
    kept = None
    for trial in trials:
        other = _stated(trial)
        if other is None or trial.number == best.number:
            continue
        apart, bias = abs(other[0] - own[0]), max(own[2], other[2])
        if apart >= 2 * (own[1] + other[1]) + bias:  # whatever they share
            continue
        shared = 0.0
        if study is not None:
            kept = kept if kept is not None else _corrections(study, best.number)
            shared = _shared(kept, _corrections(study, trial.number))
        if apart < 2 * math.sqrt(max(own[1] ** 2 + other[1] ** 2 - 2 * shared, 0.0)) + bias:
            found.append(trial.number)
    return found


def _stated(trial: Trial) -> tuple[float, float, float] | None:
    """Value, error and bias's bound of a tempered estimate, if it says them."""
    facts = (trial.metrics or {}).get("estimator", {})
    error, bias = facts.get("error"), facts.get("bias")
    return None if trial.value is None or error is None or bias is None else (trial.value, error, bias)


def _corrections(study: Study, number_: int) -> tuple[str, list[list[float]]]:
    """Corrections of a trial's estimate at each level, sentence by sentence, and the fingerprint of the sentences."""
    content = study.files.read(number_, SENTENCES)
    try:
        kept = {} if content is None else json.loads(content).get("valid", {})
        levels = [each["corrections"].values() for each in kept.get("estimates", ()) if "corrections" in each]
        return str(kept.get("fingerprint", "")), [[float(x) for x in level] for each in levels for level in each]
    except (AttributeError, LookupError, TypeError, ValueError):  # in a bundle that another program wrote
        return "", []


def _shared(ours: tuple[str, list[list[float]]], theirs: tuple[str, list[list[float]]]) -> float:
    """The covariance of two estimates: Σ_ab Cov(G_a, G_b)/max(n_a, n_b) over levels, all of the first sentences of one order."""
    return covariance_of(ours[1], theirs[1]) if ours[0] == theirs[0] else 0.0


def covariance_of(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Covariance of two sums of means over levels, all of which are of the first sentences of one order."""
    pairs = [(a, b, min(len(a), len(b))) for a in ours for b in theirs]
    return sum(covariance(a[:n], b[:n]) / max(len(a), len(b)) for a, b, n in pairs if n > 1)
