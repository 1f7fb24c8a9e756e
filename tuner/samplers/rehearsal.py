"""A sampler's options are tried before a study is made: a mistake in them may only show when trials are asked for."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner import samplers
from tuner.errors import Usage

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIALS = 12
"""Number of made-up trials after which the sampler proposes another one."""
EARLY = 4
STARTS = ("n_startup", "n_startup_trials", "population_size")
"""Options that say after how many trials a sampler begins to think; the rehearsal lowers them to `EARLY`."""
LARGEST = 100_000
"""Largest number that an option may have, as a proposal's time and memory grow with most of them."""


def rehearse(
    name: str, options: Mapping[str, Any], space: "Mapping[str, BaseDistribution]", directions: Sequence[str]
) -> None:
    """Has a sampler with these options propose trials of a study that is made up; without options there is nothing to try.

    Raises:
        Usage: if it cannot; it names the option that it is about, if it is one.
    """
    for option, value in options.items():
        if isinstance(value, (int, float)) and not (math.isfinite(value) and abs(value) <= LARGEST):
            raise Usage(
                f"sampler {name!r}: {option} = {value} is not allowed: a number of up to {LARGEST:,}.",
                f"sampler_options.{option}",
            )
    mistake = _mistake(name, options, space, directions) if options and space else None
    if mistake is None:
        return
    what, field = "its options", "sampler_options"
    for option, value in options.items():
        if (alone := _mistake(name, {option: value}, space, directions)) is not None:
            mistake, what, field = alone, f"{option} = {value!r}", f"sampler_options.{option}"
            break
    raise Usage(
        f"sampler {name!r} refuses {what} ({type(mistake).__name__}: {mistake}): give another value, or none.", field
    ) from mistake


def _mistake(
    name: str, options: Mapping[str, Any], space: "Mapping[str, BaseDistribution]", directions: Sequence[str]
) -> Exception | None:
    import optuna
    from optuna.study import StudyDirection

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    soon = {key: min(value, EARLY) if _is_whole(value) and key in STARTS else value for key, value in options.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            study = optuna.create_study(directions=[StudyDirection[d.upper()] for d in directions])
            for number, given in ((0, options), (TRIALS, soon)):
                _make_up(study, number, space, len(directions))
                study.sampler = samplers.create(name, given, 0, number, space)
                trial = study.ask(dict(space))
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
        except Usage as error:
            if isinstance(error.__cause__, (TypeError, ValueError)):  # the options' values, and no name or package
                return error.__cause__
            raise
        except Exception as error:
            return error
    return None


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _make_up(study: Any, count: int, space: "Mapping[str, BaseDistribution]", objectives: int) -> None:
    """Adds so many complete trials to a study."""
    study.sampler = samplers.create("random", {}, 0, 0, space)
    for number in range(count):
        trial = study.ask(dict(space))
        study.tell(trial, [float((7 * number) % 5 + objective) for objective in range(objectives)])
