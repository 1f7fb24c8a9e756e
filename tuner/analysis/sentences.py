"""Estimates that trainers kept of each sentence: every run's, ready to be compared in pairs, with bounds of their
biases.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trainers.contract import SENTENCES
from tuner.analysis.significance import Run, Sentences, name_of
from tuner.analysis.ties import covariance_of
from tuner.errors import Usage
from tuner.estimators import ONE_SIDED, certified_bound
from tuner.studies.study import Study


def of_runs(runs: Sequence[Mapping[str, Any]]) -> list[Sentences]:
    """Estimates that trainers kept of each sentence of a split for a configuration's runs: one item for each estimator
    of all runs.

    Raises:
        Usage: if the runs are of different sentences, or have no estimator in common.
    """
    first = runs[0]
    if any(run["fingerprint"] != first["fingerprint"] for run in runs):
        raise Usage("its runs were evaluated on different sentences.")
    tokens = np.array(first["tokens"], dtype=np.float64)
    every = [{name_of(each["estimator"]): each for each in run["estimates"]} for run in runs]
    names = [name for name in every[0] if all(name in run for run in every)]
    if not names:
        raise Usage("its runs were evaluated by different estimators.")
    return [
        Sentences(
            first["fingerprint"],
            every[0][name]["estimator"],
            tokens,
            tuple(_run(run[name], run.get("tempered")) for run in every),
        )
        for name in names
    ]


def _run(kept: Mapping[str, Any], tempered: Mapping[str, Any] | None) -> Run:
    """A run's kept estimates with the bound of its bias, which a tempered estimate of the same sentences gives best."""
    levels = tuple(np.array(found, dtype=np.float64) for found in kept.get("corrections", {}).values())
    order = np.array(kept.get("order", []), dtype=np.int64)
    found = Run(np.array(kept["nll"], dtype=np.float64), levels, order, _bias(kept["estimator"]))
    beside = None if tempered is None or tempered is kept else _run(tempered, None)
    return found if beside is None or beside.bias is None else replace(found, bias=_above(found, beside, beside.bias))


def _bias(estimator: Mapping[str, Any]) -> float | None:
    """Nats by which an estimate is too high at most: by its certificate if it has one, else as it states."""
    if estimator["proposal"] == "exact":
        return 0.0
    certificate = estimator.get("certificate")
    if certificate is not None:
        return certified_bound(certificate)
    stated = estimator.get("bias")
    return None if stated is None else max(float(stated), 0.0)


def _above(found: Run, tempered: Run, bias: float) -> float:
    """Nats by which samples from q are too high at most: their distance to the tempered estimate plus the bound of its
    bias.
    """
    apart = found.nll - tempered.nll
    order = [*tempered.order, *np.setdiff1d(np.arange(len(apart)), tempered.order)]  # as the corrections have it
    levels = [level.tolist() for level in (apart[order], *tempered.corrections)]
    squares = covariance_of(levels, levels)
    return max(found.estimate - tempered.estimate + bias + ONE_SIDED * math.sqrt(max(squares, 0.0)), 0.0)


def of_trials(study: Study, numbers: Sequence[int], split: str) -> list[Sentences]:
    """Estimates that trainers kept of each sentence of a split for trials of a study, by estimator.

    Raises:
        Usage: if they have kept none of that split, or none that can be read.
    """
    try:
        return of_runs(_kept(study, numbers, split))
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # in a bundle that another program wrote
        raise Usage(f"the figures by sentence of {study.name} cannot be read: train it anew.") from error


def _kept(study: Study, numbers: Sequence[int], split: str) -> list[dict[str, Any]]:
    runs = []
    for number in numbers:
        content = study.files.read(number, SENTENCES)
        kept = {} if content is None else json.loads(content)
        own = _estimates(kept.get(split, {}))
        if not own:
            raise Usage(
                f"trial {study.name}/{number} has kept no {split} figures by sentence: it was trained by an older version, or "
                "its files are gone; train it anew."
            )
        valid = _estimates(kept["valid"])
        runs.append({**kept[split], "estimates": [_certified(each, valid) for each in own]})
    return runs


def _estimates(kept: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Kept estimates, one for each estimator. Older versions kept one, and none of the corrections that a tempered one
    needs.
    """
    if "estimates" in kept:
        return list(kept["estimates"])
    return [] if "temper" in kept.get("estimator", {"temper": None}) else [kept]


def _certified(kept: Mapping[str, Any], valid: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Kept estimates with the certificate of their estimator, which is made on the validation split but holds for the
    model.
    """
    own = kept["estimator"]
    for each in valid:
        facts = each["estimator"]
        if facts.get("certificate") and _reach(facts) == _reach(own):
            return {**kept, "estimator": {**own, "certificate": facts["certificate"]}}
    return dict(kept)


def _reach(estimator: Mapping[str, Any]) -> tuple[Any, ...]:
    """Identity of a certificate's subject: the proposal, its temper, and the most draws of a sentence."""
    levels = map(int, estimator.get("levels", {}))
    return estimator["proposal"], estimator.get("temper"), max(levels, default=estimator["samples"])
