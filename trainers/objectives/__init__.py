"""Techniques: one file each, found by its module's name (`annealed_x.py` is `annealed-x`).

A technique's file defines `Hyperparameters`, a frozen dataclass, and `Technique`, an `Objective`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trainers.errors import BadInput
from trainers.objectives.objective import Objective
from trainers.options import Value, build


def techniques() -> list[str]:
    """Every technique's name."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in modules if name != "objective")


def hyperparameter_names(technique: str) -> list[str]:
    """The fields of a technique's hyperparameters."""
    return [spec.name for spec in fields(_module(technique).Hyperparameters)]


def _module(technique: str) -> Any:
    if technique not in techniques():
        raise BadInput(f"technique {technique!r} is unknown: choose one of {', '.join(techniques())}.")
    return importlib.import_module(f"{__name__}.{technique.replace('-', '_')}")


def create(technique: str, values: Mapping[str, Value]) -> Objective:
    """The technique's objective with these hyperparameters; those not given take their default.

    Raises:
        BadInput: if the technique or a hyperparameter is unknown, or a value breaks its rule.
    """
    module = _module(technique)
    known = hyperparameter_names(technique)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no hyperparameter of {technique}: it has {', '.join(known) or 'none'}.")
    objective: Objective = module.Technique(build(module.Hyperparameters, values))
    objective.given = frozenset(values)
    return objective
