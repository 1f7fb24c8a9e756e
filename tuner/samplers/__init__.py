"""Samplers by name. Each is made anew for every trial, its random choices from (study seed, trial number).

So a study that was interrupted, or has several workers, never repeats its random start, and one worker's study is the same
every time.
"""

import hashlib
import importlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuner.errors import Usage

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

DEFAULT = "gp-mcmc"
"""Name of the sampler that is used unless another is named: the paper's, which cannot be told from its cheaper twin
`gp-map` (docs/samplers.md).
"""
START = 4
"""Number of trials before a model of the objective is used (PA's tool starts from 4 points)."""
GIVEN = "fixed_params"
"""Name of Optuna's system attribute of a trial whose parameters were given; it holds them by name."""
VOID = "tuner:void"
"""Name of the system attribute of a trial whose figures do not count, so that a sampler of ours learns nothing from it."""
GRID_POINTS = 5
"""Number of values of a continuous hyperparameter in a grid."""


@dataclass(frozen=True)
class Entry:
    """A sampler of the registry."""

    summary: str
    target: str
    """Class of the sampler, written module:Class."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    whole_study: bool = False
    """True if the seed is the study's, since the sampler derives each trial's choices itself; else each trial has a
    seed of its own.
    """
    extra: str = ""
    """Package to install for the sampler."""
    constrained: bool = True
    """True if the sampler can keep a least rate, or need not because it does not learn."""
    several: bool = True
    """True if the sampler can serve a study of two objectives."""
    evolves: bool = False
    """True if the sampler is random until a population is full."""
    models: bool = False
    """True if the sampler is ours and models the objective: it knows its expected gain and can be told another study's
    trials.
    """


SAMPLERS: dict[str, Entry] = {
    "gp-mcmc": Entry(
        "Gaussian process, Matérn 5/2, hyperparameters marginalised by HMC, averaged EI: the paper's",
        "tuner.samplers.gp_mcmc:GPMCMCSampler",
        {"n_startup": START},
        whole_study=True,
        models=True,
    ),
    "gp-map": Entry(
        "the process of gp-mcmc at the mode of its hyperparameters",
        "tuner.samplers.gp_mcmc:GPMCMCSampler",
        {"n_startup": START, "inference": "map"},
        whole_study=True,
        models=True,
    ),
    "botorch-mcmc": Entry(
        "gp-mcmc by GPyTorch and BoTorch: LogEI; noisy EI with trials under way, noisy hypervolume improvement with "
        "two objectives",
        "tuner.samplers.botorch_mcmc:BoTorchMCMCSampler",
        {"n_startup": START},
        whole_study=True,
        models=True,
        extra="text-vae-tuner[botorch]",
    ),
    "gp": Entry("Optuna's GPSampler", "optuna.samplers:GPSampler", {"n_startup_trials": START}),
    "tpe": Entry(
        "Optuna's TPESampler: tree-structured Parzen estimators, all hyperparameters together",
        "optuna.samplers:TPESampler",
        {"n_startup_trials": START, "multivariate": True, "constant_liar": True},
    ),
    "random": Entry("uniform draws from the search space", "optuna.samplers:RandomSampler"),
    "qmc": Entry(
        "a scrambled Sobol sequence over the search space",
        "optuna.samplers:QMCSampler",
        {"scramble": True, "warn_independent_sampling": False},
        whole_study=True,
    ),
    "grid": Entry(
        f"every combination once, in random order; `points` values of a continuous one ({GRID_POINTS})",
        "tuner.samplers.grid:Grid",
        {"points": GRID_POINTS},
        whole_study=True,
    ),
    "cmaes": Entry(
        "Optuna's CmaEsSampler: evolution strategy, for hundreds of trials",
        "optuna.samplers:CmaEsSampler",
        {"n_startup_trials": START, "warn_independent_sampling": False},
        extra="text-vae-tuner[samplers]",
        constrained=False,
        several=False,
    ),
    "nsga2": Entry(
        "Optuna's NSGAIISampler: genetic, a population of 10, above 200 trials a 20th of the budget; random until it is full",
        "optuna.samplers:NSGAIISampler",
        evolves=True,
    ),
    "botorch": Entry(
        "optuna-integration's BoTorchSampler",
        "optuna_integration:BoTorchSampler",
        {"n_startup_trials": START},
        extra="text-vae-tuner[samplers]",
    ),
}
OWN = ("seed", "search_space", "earlier")
"""Arguments of a sampler that are the study's."""
GENERATIONS, LEAST_POPULATION, MOST_POPULATION = 20, 10, 50
PICKLED = ("cma:", "sepcma:", "cmawm:")
"""Beginnings of the names of notes that hold pickled objects: those of Optuna's CMA-ES."""
MODELS = tuple(name for name, entry in SAMPLERS.items() if entry.models)


def derive(seed: int, number: int, purpose: str) -> int:
    """A 31-bit seed for one trial's one purpose."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def population(budget: int) -> int:
    """Population of an evolutionary sampler in a study of so many trials: ten up to 200, and Optuna's 50 at most."""
    return min(max(budget // GENERATIONS, LEAST_POPULATION), MOST_POPULATION)


def _entry(name: str) -> Entry:
    if name in SAMPLERS:
        return SAMPLERS[name]
    module, colon, attribute = name.partition(":")
    if colon and module and attribute:
        return Entry("your own", name)
    raise Usage(
        f"sampler {name!r} is unknown: choose one of {', '.join(SAMPLERS)}, or your own as module:Class.", "sampler"
    )


def _load(name: str, entry: Entry) -> Any:
    module, _, attribute = entry.target.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GPyTorch's about PyTorch's
            found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        remedy = f"pip install '{entry.extra}'" if entry.extra else "it must be a class that Python can import"
        raise Usage(f"sampler {name!r} cannot be loaded ({error}): {remedy}.") from error
    from optuna.samplers import BaseSampler

    if not (inspect.isclass(found) and issubclass(found, BaseSampler)):
        raise Usage(f"sampler {name!r} is no sampler: {attribute} must be a subclass of optuna.samplers.BaseSampler.")
    return found


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Parameters of a class's constructor; where it hands the rest on, also those of its base."""
    found: dict[str, inspect.Parameter] = {}
    for each in kind.__mro__:
        if "__init__" in vars(each):
            own = inspect.signature(vars(each)["__init__"]).parameters
            found = {**own, **found}
            if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
                break
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in found.items() if name != "self" and p.kind not in kinds}


def options(name: str) -> dict[str, Any]:
    """The options of a sampler with their defaults.

    Raises:
        Usage: if it is unknown, or a package is missing.
    """
    entry = _entry(name)
    free = {key: found.default for key, found in _parameters(_load(name, entry)).items() if key not in OWN}
    return {key: entry.defaults.get(key, default) for key, default in sorted(free.items())}


def create(
    name: str,
    options: Mapping[str, Any],
    seed: int,
    number: int,
    space: "Mapping[str, BaseDistribution]",
    earlier: Sequence[Mapping[str, Any]] = (),
    given: int = 0,
    budget: int = 0,
) -> "BaseSampler":
    """The sampler that proposes trial `number` of a study with this seed over this space, told `earlier` ones of another study.

    Args:
        given: trials so far that it did not propose: Optuna's samplers count them as points of their start, which would have so
            many fewer. Ours see for themselves.
        budget: trials that the study shall have, to which the populations of evolutionary samplers are sized; 0: not known.

    Raises:
        Usage: if the sampler or one of its options is unknown or not allowed, cannot be told, or a package is missing.
    """
    entry = _entry(name)
    kind = _load(name, entry)
    signature = _parameters(kind)
    known = set(signature)
    if earlier and "earlier" not in known:
        raise Usage(
            f"sampler {name!r} knows the trials of its own study alone: warm_start needs {' or '.join(MODELS)}, or none of it."
        )
    told = seed if entry.whole_study else derive(seed, number, "ask"), dict(space), earlier
    own = {key: value for key, value in zip(OWN, told, strict=True) if key in known}
    free = sorted(known - set(own))
    for option in options:
        if option not in free:
            has = ", ".join(free) or "none"
            raise Usage(f"sampler {name!r} has no option {option!r}: it has {has}.", f"sampler_options.{option}")
    sized = {"population_size": population(budget)} if entry.evolves and budget else {}
    settings = {**entry.defaults, **sized, **options, **own}
    if (start := "n_startup_trials") in known:
        count = settings.get(start, signature[start].default)
        if isinstance(count, int):
            settings[start] = count + given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks some options as experimental
        try:
            sampler: BaseSampler = kind(**settings)
        except ImportError as error:
            remedy = f"pip install '{entry.extra}'" if entry.extra else "install what it needs"
            raise Usage(f"sampler {name!r} cannot be loaded ({error}): {remedy}.") from error
        except (TypeError, ValueError) as error:
            raise Usage(f"sampler {name!r} refuses its options: {error}", "sampler_options") from error
    return sampler
