"""Warm start: a new study begins with what another one has found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuner.database import Database
from tuner.errors import Usage
from tuner.estimators import text_of
from tuner.space import Value
from tuner.studies import open_study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

JUDGED = ("nll", "nll_samples", "nll_sentences", "inputless", "batching", "text")
"""options, and the text, that must agree before two studies' NLLs may be ranked together"""


def observations(
    database: Database,
    name: str,
    space: "Mapping[str, BaseDistribution]",
    objective: str = "nll",
    judged: Mapping[str, Value] | None = None,
) -> dict[str, Any]:
    """A study's name with the parameters and values of its complete trials, for a new study over `space` to begin with.

    Raises:
        Usage: if there is no such study, it tunes something else, or nothing of it lies in this space.
    """
    from optuna.distributions import check_distribution_compatibility

    from tuner.samplers.cube import Cube

    study = open_study(database, name)
    if study.specification["objective"] != objective:
        raise Usage(
            f"--warm-start {name!r} is judged by {study.specification['objective']}, not by {objective}: name one of the same."
        )
    fixed = study.specification["fixed"]
    had = {**fixed, "batching": study.specification["batching"], "text": text_of(study.specification)}
    wanted = had if judged is None else judged
    for key in JUDGED:
        if had.get(key) != wanted.get(key):
            raise Usage(
                f"--warm-start {name!r} was judged with {key} = {had.get(key, 'the default')}, not "
                f"{wanted.get(key, 'the default')}: such figures are not to be ranked together; set the same."
            )
    theirs = {p.name: p.distribution() for p in study.space.searched(fixed)}
    if set(theirs) != set(space):
        raise Usage(
            f"--warm-start {name!r} tunes {', '.join(sorted(theirs)) or 'nothing'}, not {', '.join(sorted(space)) or 'nothing'}: "
            "name a study over the same hyperparameters."
        )
    for key, distribution in space.items():
        try:
            check_distribution_compatibility(theirs[key], distribution)
        except ValueError:
            raise Usage(
                f"--warm-start {name!r} has {key} as {theirs[key]}, not {distribution}: name a study over the same domains."
            ) from None
    cube = Cube(space)
    done = [t for t in study.trials() if t.value is not None and cube.holds(t.params)]
    if not done:
        raise Usage(f"--warm-start {name!r} has no finished trial in this study's space: name another study.")
    return {"study": name, "observations": [{"params": t.params, "value": t.value} for t in done]}
